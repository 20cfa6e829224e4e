#!/bin/sh
# PyMySQL 1.2.4 (PyPI), Python 3.11: each connection makes a TLS context of its own, also to a
# server on loopback that has no TLS, and before anything is sent.
#
# A good guess: who asks for no TLS pays for none, or once for a pool of connections.
# Seen: the certificates of the system are read again for each connection (some 30 ms of processor
# time where there are 140 of them), unless it has ssl_disabled=True. Through SQLAlchemy that is
# ?ssl_disabled=true in the URL.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet PyMySQL==1.2.4 2>/dev/null
cat >connections.py <<'PY'
import ssl

import pymysql

made = 0
usual = ssl.create_default_context


def counting(*arguments, **options):
    global made
    made += 1
    return usual(*arguments, **options)


ssl.create_default_context = counting
for options in ({}, {"ssl_disabled": True}):
    made = 0
    for _ in range(5):
        pymysql.connect(host="127.0.0.1", user="crm", defer_connect=True, **options)
    print(f"5 connections, {options or 'no options'}: {made} contexts")
PY
venv/bin/python connections.py | tee seen
cat >expected <<'TXT'
5 connections, no options: 5 contexts
5 connections, {'ssl_disabled': True}: 0 contexts
TXT
diff expected seen && echo "as described"
