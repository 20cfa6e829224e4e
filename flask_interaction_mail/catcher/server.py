"""An SMTP server that delivers into an ``Inbox``: nothing ever leaves the machine.

It takes everything, unless it is told what to answer instead: then it behaves like a server with
full mailboxes, unknown users and bad days.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from .inbox import Inbox

if TYPE_CHECKING:  # of the extra "testing"
    from aiosmtpd.smtp import SMTP, Envelope, Session

DROPPED: Final = ""  # in place of an answer: the connection breaks


class Catcher:
    """The server, in a thread of its own, on the loopback interface.

    Use it as a context manager to serve. ``port`` 0 stands for a free one, which is known then.

    - ``refusals`` are its next answers to RCPT for an address; after the last one it is accepted.
    - ``endings`` are the same for the content of a message to that address.
    - ``trouble`` is what it says to every client instead of working, None while it works.
    """

    def __init__(self, inbox: Inbox, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.inbox = inbox
        self.refusals: dict[str, Iterator[str]] = {}
        self.endings: dict[str, Iterator[str]] = {}
        self.trouble: str | None = None
        self.host: str = host
        self.port: int = port
        self._running = ExitStack()

    def __enter__(self) -> Self:
        self.port = self._running.enter_context(listening(self, host=self.host, port=self.port))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._running.close()

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


def _next(answers: dict[str, Iterator[str]], address: str) -> str | None:
    return next(answers[address], None) if address in answers else None


@contextmanager
def listening(handler: object, *, host: str = "127.0.0.1", port: int = 0) -> Iterator[int]:
    """Run an SMTP server that asks ``handler``, a handler of aiosmtpd; gives its port.

    Raises:
        ImportError: aiosmtpd is missing, which the extra ``testing`` brings.
        OSError: nothing can listen there.
    """
    smtp = _smtp_class()
    with socket.create_server((host, port)) as listener:
        loop, over = asyncio.new_event_loop(), asyncio.Event()
        answer = partial(smtp, handler, hostname="mail.example", enable_SMTPUTF8=True, loop=loop)
        # A client may connect at once: it waits until this thread accepts it.
        thread = threading.Thread(target=_run, args=(loop, _serve(listener, answer, over)))
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            loop.call_soon_threadsafe(over.set)
            thread.join()


def _run(loop: asyncio.AbstractEventLoop, serving: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=lambda: loop) as runner:  # which ends the sessions at last
        runner.run(serving)


async def _serve(
    listener: socket.socket, answer: Callable[[], asyncio.Protocol], over: asyncio.Event
) -> None:
    accepting = await asyncio.get_running_loop().create_server(answer, sock=listener)
    await over.wait()
    accepting.close()


def _smtp_class() -> type[SMTP]:
    try:
        from aiosmtpd.smtp import SMTP  # late: an extra, which few processes need
    except ImportError as error:
        raise ImportError(
            "a mail server of one's own needs aiosmtpd: "
            "pip install 'flask-interaction-mail[testing]'"
        ) from error
    return SMTP
