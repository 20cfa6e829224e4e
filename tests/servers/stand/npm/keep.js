// A plugin for Haraka: some recipients do not exist; each message becomes two files in a folder.
// One for a recipient who is gone is passed on instead, to be refused there, and so are reports.
'use strict'
const fs = require('node:fs')
const path = require('node:path')

let count = 0

exports.hook_rcpt = function (next, connection, params) {
    const refused = params[0].user.startsWith('nobody')
    if (params[0].user.startsWith('gone')) connection.relaying = true
    next(refused ? DENY : OK, refused ? 'no such mailbox' : undefined)
}

exports.hook_get_mx = function (next) {
    next(OK, { exchange: '127.0.0.1', port: process.env.STAND_SHELF, priority: 0 })
}

exports.hook_queue = function (next, connection) {
    if (connection.relaying) return next()
    const name = path.join(process.env.STAND_KEEP, String(++count))
    const to = connection.transaction.rcpt_to.map((one) => `${one.user}@${one.host}`)
    connection.transaction.message_stream.get_data((content) => {
        fs.writeFileSync(`${name}.eml`, content)
        fs.writeFileSync(`${name}.part`, JSON.stringify(to))
        fs.renameSync(`${name}.part`, `${name}.json`)
        next(OK, 'kept')
    })
}
