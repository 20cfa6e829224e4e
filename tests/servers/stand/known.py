"""What is known of each server, in a sentence or two for the page."""

from __future__ import annotations

PARTLY = "to one who is gone and one who is not"
# Whose reports about which letters do not say what became of the recipient.
UNTOLD = {"haraka": (PARTLY,)}

KNOWN = {
    "postfix": "From the eleventh refused recipient of a connection each costs a second; at the"
    " twenty-first it ends the connection.",
    "haraka": "Refuses what stands behind a final dot, so nothing is sent there. Writes each reply"
    " by itself.",
    "smtp-server": "Nothing that would have to be respected.",
    "aiosmtpd": "Does not offer PIPELINING; every command waits for its answer.",
    "maildev": "Takes mail for every address, so none is refused.",
    "exim": "Refuses every recipient after the tenth bad one of a transaction, and ends a"
    " connection after about ten commands that are not mail. As Debian ships it, it has no"
    " SMTPUTF8.",
    "opensmtpd": "No PIPELINING. Takes 100 messages on a connection, then answers 452 and stays"
    " open.",
    "dovecot": "Passes on what its relay answers, and as slowly.",
    "sendmail": "From the fourth refused recipient of a transaction each costs a second. Cuts the"
    " eighth bit of addresses off, so it does not offer SMTPUTF8.",
    "courier": "Answers more and more slowly after refusals: 8, 16, 30 seconds. Takes five"
    " connections from one machine. Writes each reply by itself. Puts new boundaries into messages"
    " with attachments; the parts stay.",
    "qpsmtpd": "Writes each reply by itself.",
}
