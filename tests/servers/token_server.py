"""A token service on loopback that answers as a test wants: shapes that were seen, and worse.

At ``/authorize`` a person agrees, or does not; the code that comes of it is good once, with the
verifier of its challenge (RFC 7636), for the redirect URL that was asked for. A refresh token is
good once as well.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import escape
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from tests.canary import STEM, learn
from tests.servers.answering import answering

CLIENT, SECRET = "crm-client", f"{STEM}-client/secret+1"
TOKEN = f"{STEM}-issued"
# What it hears and nobody else may: the watch is told of each.
_SECRET = {"assertion", "client_assertion", "code_verifier", "refresh_token"}


@dataclass(frozen=True)
class Asked:
    """One request: its path and the fields of its form."""

    path: str
    fields: dict[str, str]
    at: float


Behaviour = Callable[[BaseHTTPRequestHandler, "TokenServer"], None]


@dataclass
class TokenServer:
    """A running one; ``behaviours`` come one after the other, the last of them for ever."""

    port: int = 0
    scheme: str = "http"
    behaviours: list[Behaviour] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    issued: int = 0
    access_token: Callable[[int], str] = f"{TOKEN}-{{}}".format  # by its number
    lasts: int = 3600  # s
    code: str = f"{STEM}-code"  # what its codes begin with
    account: str | None = None  # who agrees, as its ID tokens say
    issuer: str | None = None  # told with each answer of a person (RFC 9207)
    rotates: bool = True  # whether a refresh token is good for one request only
    gives_refresh_tokens: bool = True
    authorizations: list[dict[str, str]] = field(default_factory=list)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)  # to what was asked for
    refresh_tokens: set[str] = field(default_factory=set)  # those that are good
    revoked: list[str] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/token"

    @property
    def authorization_url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/authorize"

    @property
    def revocation_url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/revoke"

    def agree(self, url: str) -> str:
        """What a person does in the browser: gives the URL to which it is sent back."""
        asked = _first(urlsplit(url).query)
        self.authorizations.append(asked)
        code = f"{self.code}-{secrets.token_urlsafe(8)}"
        self.codes[code] = asked
        return self._back(asked, code=code)

    def deny(self, url: str, error: str = "access_denied", said: str = "") -> str:
        """The same for a person who does not."""
        asked = _first(urlsplit(url).query)
        return self._back(asked, error=error, error_description=said)

    def _back(self, asked: dict[str, str], **answer: str) -> str:
        told = answer | {"state": asked["state"]} | ({"iss": self.issuer} if self.issuer else {})
        return f"{asked['redirect_uri']}?{urlencode(told)}"

    def next(self) -> Behaviour:
        with self.lock:
            if len(self.behaviours) > 1:
                return self.behaviours.pop(0)
            return self.behaviours[0] if self.behaviours else issue()


def by_consent(handler: BaseHTTPRequestHandler, server: TokenServer) -> None:
    """Give tokens for a code or a refresh token, once; refuse all else."""
    fields = server.asked[-1].fields
    with server.lock:
        good = _redeemed(server, fields)
    if not good:
        refuse("invalid_grant", f"you sent {fields.get('refresh_token', '')}")(handler, server)
        return
    more: dict[str, Any] = {}
    if server.gives_refresh_tokens and (server.rotates or "code" in fields):
        more["refresh_token"] = f"{STEM}-refresh-{secrets.token_urlsafe(8)}"
        server.refresh_tokens.add(more["refresh_token"])
    if server.account and "code" in fields:
        claims = json.dumps({"email": server.account, "sub": "1"}).encode()
        body = base64.urlsafe_b64encode(claims).rstrip(b"=").decode()
        more["id_token"] = f"eyJhbGciOiJub25lIn0.{body}.c2ln"
    issue(**more)(handler, server)


def _redeemed(server: TokenServer, fields: dict[str, str]) -> bool:
    if fields["grant_type"] == "refresh_token":
        good = fields["refresh_token"] in server.refresh_tokens
        if server.rotates:
            server.refresh_tokens.discard(fields["refresh_token"])
        return good and fields["client_id"] == CLIENT
    asked = server.codes.pop(fields["code"], None)
    if asked is None:
        return False
    digest = hashlib.sha256(fields["code_verifier"].encode()).digest()
    challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    return (challenge, fields["redirect_uri"], fields["client_id"]) == (
        asked.get("code_challenge"),
        asked["redirect_uri"],
        asked["client_id"],
    )


def _first(query: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(query).items()}


def _page(handler: BaseHTTPRequestHandler, server: TokenServer) -> None:
    """Where a person agrees with the one button, and does not with the other."""
    url = f"http://127.0.0.1{handler.path}"
    links = {"Agree": server.agree(url), "Deny": server.deny(url)}
    shown = "".join(
        f'<p><a id="{name.lower()}" href="{escape(to)}">{name}</a></p>'
        for name, to in links.items()
    )
    body = f"<!doctype html><title>Log in</title><h1>Log in</h1>{shown}"
    _say(handler, 200, "text/html", body.encode())


def issue(**changes: Any) -> Behaviour:
    """A new token each time; a member that is None is left out."""

    def act(handler: BaseHTTPRequestHandler, server: TokenServer) -> None:
        with server.lock:
            server.issued += 1
            number = server.issued
        told = {
            "access_token": server.access_token(number),
            "token_type": "Bearer",
            "expires_in": server.lasts,
            **changes,
        }
        told = {name: value for name, value in told.items() if value is not None}
        _say(handler, 200, "application/json", json.dumps(told).encode())

    return act


def refuse(error: str, said: str = "", status: int = 400) -> Behaviour:
    """An error as JSON."""
    return answer(status, json.dumps({"error": error, "error_description": said}))


def answer(status: int, body: str, kind: str = "application/json", **headers: str) -> Behaviour:
    """What is said, as it is."""

    def act(handler: BaseHTTPRequestHandler, _: TokenServer) -> None:
        _say(handler, status, kind, body.encode(), **headers)

    return act


def stall(_: BaseHTTPRequestHandler, server: TokenServer) -> None:
    """Say nothing."""
    server.stopping.wait()


def drip(handler: BaseHTTPRequestHandler, server: TokenServer) -> None:
    """Say a little now and then."""
    handler.send_response(200)
    handler.end_headers()
    while not server.stopping.wait(0.05):
        handler.wfile.write(b" ")


def flood(handler: BaseHTTPRequestHandler, server: TokenServer) -> None:
    """Say very much."""
    handler.send_response(200)
    handler.end_headers()
    while not server.stopping.is_set():
        handler.wfile.write(b'{"a":' * 10_000)


def after(seconds: float, behaviour: Behaviour) -> Behaviour:
    """``behaviour``, later."""

    def act(handler: BaseHTTPRequestHandler, server: TokenServer) -> None:
        server.stopping.wait(seconds)
        behaviour(handler, server)

    return act


def _say(
    handler: BaseHTTPRequestHandler, status: int, kind: str, body: bytes, **headers: str
) -> None:
    handler.send_response(status)
    handler.send_header("Content-Type", kind)
    handler.send_header("Content-Length", str(len(body)))
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


@contextmanager
def token_server(
    *behaviours: Behaviour, tls: ssl.SSLContext | None = None
) -> Iterator[TokenServer]:
    """Run one until the block ends."""
    running = TokenServer(scheme="https" if tls else "http", behaviours=list(behaviours))

    def take(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        if handler.command == "GET":
            _page(handler, running)
            return
        fields = _first(body.decode())
        if handler.path == "/revoke":
            running.revoked.append(fields["token"])
            _say(handler, 200, "application/json", b"")
            return
        for name in _SECRET & fields.keys():
            learn(fields[name])
        running.asked.append(Asked(handler.path, fields, time.monotonic()))
        running.next()(handler, running)

    with answering(take, running.stopping, tls) as running.port:
        yield running
