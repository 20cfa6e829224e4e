// Nodemailer's smtp-server with its defaults; each message becomes two files in a folder.
// node smtp-server.js PORT FOLDER
'use strict'
const fs = require('node:fs')
const path = require('node:path')
const { SMTPServer } = require('smtp-server')

const [port, folder] = process.argv.slice(2)
let count = 0

const server = new SMTPServer({
    authOptional: true,
    onRcptTo(address, session, done) {
        if (!address.address.startsWith('nobody')) return done()
        done(Object.assign(new Error('no such mailbox'), { responseCode: 550 }))
    },
    onData(stream, session, done) {
        const name = path.join(folder, String(++count))
        const to = session.envelope.rcptTo.map((one) => one.address)
        const file = fs.createWriteStream(`${name}.eml`)
        stream.pipe(file).on('finish', () => {
            fs.writeFileSync(`${name}.part`, JSON.stringify(to))
            fs.renameSync(`${name}.part`, `${name}.json`)
            done()
        })
    },
})
server.on('error', () => {}) // of a connection; the process goes on
server.listen(Number(port), '127.0.0.1')
