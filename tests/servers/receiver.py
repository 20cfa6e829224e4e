"""A web server on loopback that takes webhooks, and answers as a test wants."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from .answering import answering


@dataclass(frozen=True)
class Hook:
    """One POST as it came in; header names are in lower case."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Receiver:
    """A running receiver; ``statuses`` are answered one after the other, then 204."""

    port: int = 0
    statuses: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)  # of each answer
    stalls: bool = False  # instead of an answer
    hooks: list[Hook] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)
    scheme: str = "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/hook?room=1"

    def told(self) -> list[tuple[str, str]]:
        """Which alerts began or were over, in order."""
        return [(hook.json["alert"], hook.json["state"]) for hook in self.hooks]


@contextmanager
def receiving(tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """Run a receiver until the block ends."""
    receiver = Receiver(scheme="https" if tls else "http")

    def answer(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        names = {name.lower(): value for name, value in handler.headers.items()}
        receiver.hooks.append(Hook(handler.path, names, body))
        if receiver.stalls:
            receiver.stopping.wait()
            return
        handler.send_response(receiver.statuses.pop(0) if receiver.statuses else 204)
        for name, value in receiver.headers.items():
            handler.send_header(name, value)
        handler.end_headers()

    with answering(answer, receiver.stopping, tls) as receiver.port:
        yield receiver
