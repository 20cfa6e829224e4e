"""A token service on loopback that answers as a test wants: shapes that were seen, and worse."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs

from tests.canary import STEM
from tests.servers.answering import answering

CLIENT, SECRET = "crm-client", f"{STEM}-client/secret+1"
TOKEN = f"{STEM}-issued"


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
    lasts: int = 3600  # s
    stopping: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/token"

    def next(self) -> Behaviour:
        with self.lock:
            if len(self.behaviours) > 1:
                return self.behaviours.pop(0)
            return self.behaviours[0] if self.behaviours else issue()


def issue(**changes: Any) -> Behaviour:
    """A new token each time; a member that is None is left out."""

    def act(handler: BaseHTTPRequestHandler, server: TokenServer) -> None:
        with server.lock:
            server.issued += 1
            number = server.issued
        told = {
            "access_token": f"{TOKEN}-{number}",
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
        fields = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        running.asked.append(Asked(handler.path, fields, time.monotonic()))
        running.next()(handler, running)

    with answering(take, running.stopping, tls) as running.port:
        yield running
