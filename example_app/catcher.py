"""An SMTP server that delivers everything into an ``Inbox``: nothing ever leaves the machine."""

from __future__ import annotations

import asyncio
import socket
import threading
from types import TracebackType
from typing import Self

from aiosmtpd.smtp import SMTP, Envelope, Session

from .inbox import Inbox


class Catcher:
    """The server, in a thread of its own, on a free port of the loopback interface.

    It listens as soon as it is made; use it as a context manager to serve.
    """

    def __init__(self, inbox: Inbox, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.inbox = inbox
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

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
        """Take a message (a hook of aiosmtpd, hence the name)."""
        content = envelope.content
        if not isinstance(content, bytes):
            return "451 4.3.0 not received as bytes"
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
