#!/bin/sh
# mail-parser 4.8.0 (PyPI), Python 3.11: the text of a message that is attached counts as text of
# the one that it is attached to.
#
# A good guess: message/rfc822 is a unit of its own (RFC 2046 §5.2.1), so `text_plain` holds what
# the sender wrote, and the attached message is among the attachments.
# Seen: it is among the attachments, and its text is in `text_plain` as well, as the texts of
# ordinary attachments are not. A reader of returned mail finds the words of the original among
# those of the server.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet mail-parser==4.8.0 2>/dev/null
cat >parse.py <<'PY'
import mailparser

MAIL = b"""\
From: crm@firm.example
To: ada@firm.example
Subject: outer
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=parts

--parts
Content-Type: text/plain

what was written
--parts
Content-Type: text/plain
Content-Disposition: attachment; filename="notes.txt"

what is in a file
--parts
Content-Type: message/rfc822
Content-Disposition: attachment; filename="old.eml"

From: bob@firm.example
Subject: inner
Content-Type: text/plain

what is in another message
--parts--
"""

mail = mailparser.parse_from_bytes(MAIL)
print("texts:", mail.text_plain)
print("attachments:", [one["filename"] for one in mail.attachments])
PY
venv/bin/python parse.py | tee seen
cat >expected <<'TXT'
texts: ['what was written', 'what is in another message']
attachments: ['notes.txt', 'old.eml']
TXT
diff expected seen && echo "as described"
