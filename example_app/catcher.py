"""An SMTP server that delivers into an ``Inbox``: nothing ever leaves the machine.

It takes everything, unless it is told what to answer instead: then it behaves like a server with
full mailboxes, unknown users and bad days.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Final, Self

from aiosmtpd.smtp import SMTP, Envelope, Session

from .inbox import Inbox

DROPPED: Final = ""  # in place of an answer: the connection breaks


class Catcher:
    """The server, in a thread of its own, on a free port of the loopback interface.

    It listens as soon as it is made; use it as a context manager to serve.

    - ``refusals`` are its next answers to RCPT for an address; after the last one it is accepted.
    - ``endings`` are the same for the content of a message to that address.
    - ``trouble`` is what it says to every client instead of working, None while it works.
    """

    def __init__(self, inbox: Inbox, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.inbox = inbox
        self.refusals: dict[str, Iterator[str]] = {}
        self.endings: dict[str, Iterator[str]] = {}
        self.trouble: str | None = None
        self._socket = socket.create_server((host, port))
        self.host, self.port = self._socket.getsockname()[:2]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="smtp-catcher")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    async def handle_EHLO(
        self,
        _server: SMTP,
        session: Session,
        _envelope: Envelope,
        hostname: str,
        offered: list[str],
    ) -> list[str]:
        """Greet a client (a hook of aiosmtpd, as the next ones, hence the name)."""
        session.host_name = hostname
        return [self.trouble] if self.trouble else offered

    async def handle_RCPT(
        self,
        _server: SMTP,
        _session: Session,
        envelope: Envelope,
        address: str,
        _options: list[str],
    ) -> str:
        """Accept or refuse a recipient."""
        if refusal := _next(self.refusals, address):
            return refusal
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 recipient accepted"

    async def handle_DATA(self, server: SMTP, _session: Session, envelope: Envelope) -> str:
        """Take or refuse a message."""
        content = envelope.content
        if not isinstance(content, bytes):
            return "451 4.3.0 not received as bytes"
        for ending in (_next(self.endings, address) for address in envelope.rcpt_tos):
            if ending == DROPPED and isinstance(server.transport, asyncio.Transport):
                server.transport.abort()
            if ending is not None:
                return ending
        self.inbox.store(content, sender=envelope.mail_from or "<>", recipients=envelope.rcpt_tos)
        return "250 2.0.0 delivered to the inbox"

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(
            self._loop.create_server(self._protocol, sock=self._socket)
        )
        self._loop.run_forever()
        server.close()
        self._loop.run_until_complete(self._end_sessions())
        self._loop.close()

    def _protocol(self) -> SMTP:
        return SMTP(self, hostname="catcher.example", enable_SMTPUTF8=True, loop=self._loop)

    async def _end_sessions(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await asyncio.sleep(0)  # lets the transports close their sockets


def _next(answers: dict[str, Iterator[str]], address: str) -> str | None:
    return next(answers[address], None) if address in answers else None
