#!/bin/sh
# requests-oauthlib 2.0.0 with oauthlib 4.0.1, and Authlib 1.9.10 (PyPI), Python 3.11: a client's
# secret goes into HTTP Basic as it is.
#
# A good guess: RFC 6749 §2.3.1 has client id and secret encoded as in a form before they are
# joined by a colon, so "50%+/" arrives as "50%25%2B%2F", and a server by the book decodes it.
# Seen: both send it raw. A server that decodes gets another secret: "+" becomes a blank. Sent in
# the body (client_secret_post) it arrives as it is at every server.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet requests-oauthlib==2.0.0 oauthlib==4.0.1 Authlib==1.9.10 2>/dev/null
cat >tokens.py <<'PY'
import base64
import json
import os
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import unquote_plus

os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"  # the server is on this machine

from authlib.integrations.requests_client import OAuth2Session as Authlib
from oauthlib.oauth2 import BackendApplicationClient
from requests.auth import HTTPBasicAuth
from requests_oauthlib import OAuth2Session

SECRET = "50%+/"


class Tokens(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        scheme, _, given = self.headers["Authorization"].partition(" ")
        login, _, secret = base64.b64decode(given).decode().partition(":")
        print(f"{self.path[1:]}: {scheme} {login}, {secret!r}, decoded {unquote_plus(secret)!r}")
        body = json.dumps({"access_token": "t", "token_type": "Bearer", "expires_in": 60}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 0), Tokens)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}"
OAuth2Session(client=BackendApplicationClient("app")).fetch_token(
    f"{url}/requests-oauthlib", auth=HTTPBasicAuth("app", SECRET)
)
OAuth2Session(client=BackendApplicationClient("app")).fetch_token(
    f"{url}/oauthlib-by-itself", client_id="app", client_secret=SECRET
)
Authlib("app", SECRET).fetch_token(f"{url}/Authlib", grant_type="client_credentials")
PY
venv/bin/python tokens.py | tee seen
cat >expected <<'TXT'
requests-oauthlib: Basic app, '50%+/', decoded '50% /'
oauthlib-by-itself: Basic app, '50%+/', decoded '50% /'
Authlib: Basic app, '50%+/', decoded '50% /'
TXT
diff expected seen && echo "as described"
