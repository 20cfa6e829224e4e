"""How long a message takes, with its commands in one write and with one after the other."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, replace

from flask_interaction_mail.settings.model import MessagingSettings, relay_of
from flask_interaction_mail.settings.secret import Secret
from flask_interaction_mail.transport.base import Envelope
from flask_interaction_mail.transport.smtp.session import Session
from flask_interaction_mail.transport.smtp.transport import SmtpTransport

from .letters import DOMAIN
from .running import Running

_TURNS, _EACH = 9, 10  # turns of so many messages on each of the two connections
_LETTER = Envelope(
    sender=f"crm@{DOMAIN}",
    recipients=(f"reader-0-0@{DOMAIN}",),
    content=b"Subject: tempo\r\n\r\nPlease merge.\r\n",
)


@dataclass(frozen=True)
class Tempo:
    """Milliseconds a message: commands ``together``, and ``in_turn``."""

    together: float
    in_turn: float


class InTurn(SmtpTransport):
    """One command after the other, whatever the server offers."""

    def _opened(self) -> Session:
        session = super()._opened()
        session.offered = replace(session.offered, pipelining=False)
        return session


def tempo(running: Running) -> Tempo:
    """Take turns on two connections, so that what else the machine does meets both alike."""
    relay = relay_of(_settings(running))
    both = SmtpTransport(relay), InTurn(relay)
    took: tuple[list[float], list[float]] = [], []
    try:
        for turn in range(_TURNS + 1):
            for transport, times in zip(both, took, strict=True):
                start = time.perf_counter()
                for _ in range(_EACH):
                    _hand_over(transport)
                if turn:  # the first one opens the connection
                    times.append((time.perf_counter() - start) * 1000 / _EACH)
    finally:
        for transport in both:
            transport.close()
    return Tempo(*map(statistics.median, took))


def _hand_over(transport: SmtpTransport) -> None:
    delivery = transport.deliver(_LETTER)
    if delivery.result != "accepted":
        raise LookupError(f"not taken: {delivery}")


def _settings(running: Running) -> MessagingSettings:
    values = dict(running.settings)
    if "password" in values:
        values["password"] = Secret(values["password"])
    return MessagingSettings(
        smtp_server="127.0.0.1", smtp_port=running.port, encryption="none", **values
    )
