#!/bin/sh
# google-auth 2.63.0 (PyPI), Python 3.11: a service account's assertion is made out to Google's token
# endpoint, whichever one the key names.
#
# A good guess: the assertion's audience is the endpoint that it is sent to (RFC 7523 §3, point 3),
# so a key whose `token_uri` is another server, a proxy or a test's, works there.
# Seen: the request goes to that `token_uri`, and `aud` is https://oauth2.googleapis.com/token. A
# server that checks the audience by the book refuses it.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet google-auth==2.63.0 cryptography 2>/dev/null
cat >assertion.py <<'PY'
import base64
import json
from urllib.parse import parse_qs

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.oauth2 import service_account

key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
    serialization.Encoding.PEM,
    serialization.PrivateFormat.PKCS8,
    serialization.NoEncryption(),
)


class Answer:
    status, headers = 200, {}
    data = b'{"access_token": "token", "token_type": "Bearer", "expires_in": 3600}'


def request(url, body=b"", **_):
    """Stands in for the network."""
    (assertion,) = parse_qs(body.decode())["assertion"]
    claims = json.loads(base64.urlsafe_b64decode(assertion.split(".")[1] + "=="))
    print(f"sent to {url}, made out to {claims['aud']}")
    return Answer()


for endpoint in ("https://oauth2.googleapis.com/token", "https://login.firm.example/token"):
    service_account.Credentials.from_service_account_info(
        {"client_email": "crm@firm.example", "private_key": key.decode(), "token_uri": endpoint},
        scopes=["https://mail.google.com/"],
        subject="ada@firm.example",
    ).refresh(request)
PY
venv/bin/python assertion.py | tee seen
cat >expected <<'TXT'
sent to https://oauth2.googleapis.com/token, made out to https://oauth2.googleapis.com/token
sent to https://login.firm.example/token, made out to https://oauth2.googleapis.com/token
TXT
diff expected seen && echo "as described"
