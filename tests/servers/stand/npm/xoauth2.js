// Nodemailer's smtp-server that takes one access token, and tells of any other why it does not.
// node xoauth2.js PORT TOKEN
'use strict'
const { SMTPServer } = require('smtp-server')

const [port, token] = process.argv.slice(2)

const server = new SMTPServer({
    authMethods: ['PLAIN', 'XOAUTH2'],
    hideSTARTTLS: true,
    allowInsecureAuth: true,
    onAuth(auth, session, done) {
        if (auth.method === 'XOAUTH2' && auth.accessToken === token) return done(null, { user: auth.username })
        done(null, { data: { status: '401', schemes: 'bearer', scope: 'mail' } })
    },
    onData(stream, session, done) {
        stream.on('end', done).resume()
    },
})
server.on('error', () => {}) // of a connection; the process goes on
server.listen(Number(port), '127.0.0.1')
