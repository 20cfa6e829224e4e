// A plugin for Haraka: some recipients do not exist; each message becomes two files in a folder.
'use strict'
const fs = require('node:fs')
const path = require('node:path')

let count = 0

exports.hook_rcpt = function (next, connection, params) {
    const refused = params[0].user.startsWith('nobody')
    next(refused ? DENY : OK, refused ? 'no such mailbox' : undefined)
}

exports.hook_queue = function (next, connection) {
    const name = path.join(process.env.STAND_KEEP, String(++count))
    const to = connection.transaction.rcpt_to.map((one) => `${one.user}@${one.host}`)
    connection.transaction.message_stream.get_data((content) => {
        fs.writeFileSync(`${name}.eml`, content)
        fs.writeFileSync(`${name}.part`, JSON.stringify(to))
        fs.renameSync(`${name}.part`, `${name}.json`)
        next(OK, 'kept')
    })
}
