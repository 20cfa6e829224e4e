"""A real SMTP server on loopback that takes an application's mail, or refuses it as it is told."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from typing import TYPE_CHECKING, Final

from flask import Flask

from ..catcher.server import listening
from ..settings.relay import Encryption
from ..state import State, state_of
from ..transport.base import Envelope
from ..transport.memory import REFUSAL
from ..transport.stand_in import parsed

if TYPE_CHECKING:  # of the extra "testing"
    from aiosmtpd import smtp

_SUPPRESS: Final = "MAIL_SUPPRESS_SEND"
_GLANCE: Final = 0.01  # s


class MailServer:
    """What a running server has taken; ``host`` and ``port`` say where it listens."""

    def __init__(self) -> None:
        self.host = "127.0.0.1"
        self.port = 0
        self.delivered: list[Envelope] = []
        self._refusals: dict[str, tuple[str, int | None]] = {}

    @property
    def messages(self) -> list[EmailMessage]:
        """What it took, parsed, in order. Bcc stands in the envelope alone."""
        return parsed(self.delivered)

    def refuse(self, recipient: str, reply: str = REFUSAL, *, times: int | None = None) -> None:
        """From now on, or for so many ``times``, give ``recipient`` the answer ``reply``.

        With ``550 …`` a message fails, with ``450 …`` it is tried again later. ``250 …`` ends it.
        """
        self._refusals[recipient] = (reply, times)

    def wait_for(self, count: int, *, seconds: float = 10) -> list[EmailMessage]:
        """Wait until ``count`` messages are there, where another thread or process delivers.

        Raises:
            AssertionError: they did not come within ``seconds``.
        """
        end = time.monotonic() + seconds
        while len(self.delivered) < count:
            if time.monotonic() > end:
                came = len(self.delivered)
                raise AssertionError(f"{came} of {count} messages came within {seconds} s.")
            time.sleep(_GLANCE)
        return self.messages

    def clear(self) -> None:
        """Forget what was delivered, and accept everybody from now on."""
        self.delivered.clear()
        self._refusals.clear()

    # The names of hooks are those of aiosmtpd.

    async def handle_RCPT(
        self,
        _server: smtp.SMTP,
        _session: smtp.Session,
        envelope: smtp.Envelope,
        address: str,
        _options: list[str],
    ) -> str:
        """Accept or refuse a recipient."""
        reply = self._answer(address)
        if reply.startswith("2"):
            envelope.rcpt_tos.append(address)
        return reply

    async def handle_DATA(
        self, _server: smtp.SMTP, _session: smtp.Session, envelope: smtp.Envelope
    ) -> str:
        """Keep a message."""
        self.delivered.append(
            Envelope(
                sender=envelope.mail_from or "",
                recipients=tuple(envelope.rcpt_tos),
                content=envelope.original_content or b"",
                smtputf8=envelope.smtp_utf8,
            )
        )
        return "250 2.0.0 taken"

    def _answer(self, address: str) -> str:
        reply, left = self._refusals.get(address, ("", 0))
        if left == 0:
            return "250 2.1.5 accepted"
        self._refusals[address] = (reply, None if left is None else left - 1)
        return reply


@contextmanager
def mail_server(app: Flask | None = None) -> Iterator[MailServer]:
    """Run a server that gets the mail of ``app``, or of the current app, until the block ends.

    Its address is put above all settings, and mail leaves although ``TESTING`` is on.

    Raises:
        ImportError: aiosmtpd is missing, which the extra ``testing`` brings.
        RuntimeError: ``INTERACTION_MAIL_TRANSPORT`` puts something in the place of servers; there
            is no current app, or ``init_app`` was not called for it.
    """
    state = state_of(app)
    if state.config.transport.stands_in:
        raise RuntimeError(
            f"INTERACTION_MAIL_TRANSPORT is {str(state.config.transport)!r}, so no server gets "
            "anything: leave the key out where a test needs one."
        )
    server = MailServer()
    with listening(server, host=server.host) as server.port, _in_force(state, server):
        yield server


@contextmanager
def _in_force(state: State, server: MailServer) -> Iterator[None]:
    config, before = state.app.config, state.app.config.get(_SUPPRESS)
    values = {
        "smtp_server": server.host,
        "smtp_port": server.port,
        "encryption": Encryption.NONE,
        "use_authentication": False,
        "from_domains": (),
        "max_per_minute": 0,
    }
    with state.settings.overriding(values):
        config[_SUPPRESS] = False
        try:
            yield
        finally:
            config[_SUPPRESS] = before
