"""A real SMTP server on loopback that keeps what it gets (aiosmtpd)."""

from __future__ import annotations

import asyncio
import email
import email.policy
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword, Session


@dataclass(frozen=True, slots=True)
class Mail:
    """One message as the server got it."""

    sender: str
    recipients: list[str]
    content: bytes

    @property
    def message(self) -> EmailMessage:
        parsed = email.message_from_bytes(self.content, policy=email.policy.default)
        assert isinstance(parsed, EmailMessage)
        return parsed


@dataclass
class Catcher:
    """The server's memory; ``refuse`` maps an address to the reply to its RCPT."""

    port: int = 0
    mails: list[Mail] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    refuse: dict[str, str] = field(default_factory=dict)
    taken: str = "250 2.0.0 taken"  # the reply to each message
    delay: float = 0  # s that the server thinks about each message
    vanish_after_dot: int = 0  # so many times, the link dies before the answer to the dot

    def wait_for(self, count: int, seconds: float = 60) -> None:
        """Until so many mails are there; fails the test where they do not come."""
        end = time.monotonic() + seconds
        while len(self.mails) < count:
            assert time.monotonic() < end, f"{len(self.mails)} of {count} mails came"
            time.sleep(0.02)

    async def handle_RCPT(
        self, server: Any, session: Session, envelope: Envelope, address: str, options: Any
    ) -> str:
        """Refuse, or take."""
        if reply := self.refuse.get(address):
            return reply
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 ok"

    async def handle_DATA(self, server: Any, session: Session, envelope: Envelope) -> str:
        """Keep the message; then answer, or vanish."""
        self.mails.append(
            Mail(
                envelope.mail_from or "",
                list(envelope.rcpt_tos),
                envelope.original_content or b"",
            )
        )
        if self.delay:
            await asyncio.sleep(self.delay)
        if self.vanish_after_dot:
            self.vanish_after_dot -= 1
            server.transport.abort()
        return self.taken


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def catching(*, login: tuple[str, str] | None = None) -> Iterator[Catcher]:
    """A running server; with ``login`` it offers AUTH, and nothing goes without."""
    catcher = Catcher()

    def check(
        server: Any, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        assert login is not None
        assert isinstance(data, LoginPassword)
        name = data.login.decode()
        catcher.logins.append(name)
        return AuthResult(success=(name, data.password.decode()) == login)

    offered: dict[str, Any] = (
        {"authenticator": check, "auth_require_tls": False} if login is not None else {}
    )
    catcher.port = _free_port()  # the controller cannot tell which port it would be given
    controller = Controller(
        catcher, hostname="127.0.0.1", port=catcher.port, ready_timeout=10, **offered
    )
    controller.start()
    try:
        yield catcher
    finally:
        controller.stop()
