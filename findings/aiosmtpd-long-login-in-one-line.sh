#!/bin/sh
# aiosmtpd 1.4.6 (PyPI), Python 3.11: a login that is longer than 512 octets with its initial
# response is refused, and taken in two lines.
#
# A good guess: RFC 4954 §4 lets a line with an AUTH response be as long as 12,288 octets, so a
# token of 700 characters, short for OAuth 2, goes along with the command.
# Seen: 500 "Command line too long" above 512 octets (the limit of RFC 5321 for other commands).
# The same response after 334 is taken.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet aiosmtpd==1.4.6 2>/dev/null
cat >login.py <<'PY'
import base64
import smtplib
import socket

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


def welcome(server, session, envelope, mechanism, data):
    return AuthResult(success=True)


server = Controller(
    object(), hostname="127.0.0.1", port=free_port(), authenticator=welcome, auth_require_tls=False
)
server.start()
try:
    for letters in (300, 600):
        response = base64.b64encode(b"\0crm\0" + b"x" * letters).decode()
        with smtplib.SMTP("127.0.0.1", server.port) as client:
            client.ehlo("client.example")
            at_once = client.docmd("AUTH", f"PLAIN {response}")
        with smtplib.SMTP("127.0.0.1", server.port) as client:
            client.ehlo("client.example")
            client.docmd("AUTH", "PLAIN")
            after = client.docmd(response)
        length = len(f"AUTH PLAIN {response}\r\n")
        print(f"{length} octets at once: {at_once[0]} {at_once[1].decode()}; after 334: {after[0]}")
finally:
    server.stop()
PY
venv/bin/python login.py 2>/dev/null | tee seen
cat >expected <<'TXT'
421 octets at once: 235 2.7.0 Authentication successful; after 334: 235
821 octets at once: 500 Command line too long; after 334: 235
TXT
diff expected seen && echo "as described"
