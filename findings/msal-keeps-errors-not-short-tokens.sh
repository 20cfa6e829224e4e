#!/bin/sh
# msal 1.39.0 (PyPI), Python 3.11: what a token endpoint says once can be what msal goes on saying,
# and a token of five minutes is asked for again each time.
#
# A good guess: a token is kept while it is valid, and a refusal is asked about again at the next
# call, so that a secret that was put right works at once.
# Seen: a token whose `expires_in` is 300 is not kept at all, one of 301 is. After an error (400,
# 429 or 503) the next calls ask nobody and give the same error again, though the endpoint would
# answer with a token now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet msal==1.39.0 2>/dev/null
cat >tokens.py <<'PY'
import json

import msal

PLACE = "https://login.example/firm"
ENDPOINTS = {
    "issuer": PLACE,
    "authorization_endpoint": f"{PLACE}/authorize",
    "token_endpoint": f"{PLACE}/token",
}


class Answer:
    def __init__(self, status, body):
        self.status_code, self.text, self.headers = status, json.dumps(body), {}

    def raise_for_status(self):
        if self.status_code >= 400:
            raise LookupError(self.status_code)


class Endpoint:
    """Stands in for the network: `answers` are for one request each, the last one for all."""

    def __init__(self, *answers):
        self.answers, self.asked = answers, 0

    def get(self, url, **_):
        return Answer(200, ENDPOINTS)

    def post(self, url, **_):
        self.asked += 1
        return self.answers[min(self.asked, len(self.answers)) - 1]

    def close(self):
        pass


def three_times(*answers):
    endpoint = Endpoint(*answers)
    application = msal.ConfidentialClientApplication(
        "app", client_credential="secret", oidc_authority=PLACE, http_client=endpoint
    )
    got = []
    for _ in range(3):
        try:
            said = application.acquire_token_for_client(["mail/.default"])
            got.append(said.get("access_token") or said["error"])
        except Exception as error:
            got.append(type(error).__name__)
    return f"asked {endpoint.asked} time(s), got {', '.join(got)}"


def token(seconds):
    return Answer(200, {"access_token": "token", "token_type": "Bearer", "expires_in": seconds})


for seconds in (300, 301):
    print(f"a token of {seconds} s:", three_times(token(seconds)))
for status, error in ((400, "invalid_client"), (429, "slow_down"), (503, "try_later")):
    print(f"{status}, then a token:", three_times(Answer(status, {"error": error}), token(3600)))
PY
venv/bin/python tokens.py | tee seen
cat >expected <<'TXT'
a token of 300 s: asked 3 time(s), got token, token, token
a token of 301 s: asked 1 time(s), got token, token, token
400, then a token: asked 1 time(s), got invalid_client, invalid_client, invalid_client
429, then a token: asked 1 time(s), got slow_down, slow_down, slow_down
503, then a token: asked 1 time(s), got MsalServiceError, MsalServiceError, MsalServiceError
TXT
diff expected seen && echo "as described"
