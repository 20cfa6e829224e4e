"""The seam between delivery and the wire: one verb for many messages, and what goes through."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Protocol

from ..errors import TransportError
from ..outcome import Delivery


@dataclass(slots=True, kw_only=True)  # not frozen, to be made in half the time
class Envelope:
    """One message as the wire sees it (RFC 5321 §2.3.1).

    ``content`` is complete, with canonical CRLF and without dot-stuffing; ``smtputf8`` says
    that an address or a header needs RFC 6531.
    """

    sender: str
    recipients: tuple[str, ...]
    content: bytes
    smtputf8: bool = False


class Stopped(TransportError):
    """Delivery was broken off by ``abort`` before anybody could get this message."""


# A TransportError as the outcome: the server or the way to it failed, and nobody got the message.
Outcome = Delivery | TransportError
# Gives the next message without waiting; None where nothing is waiting right now.
Pull = Callable[[], Envelope | None]


class Transport(Protocol):
    """Sends envelopes over a connection that it opens when needed and keeps."""

    def deliver_all(self, pull: Pull) -> Generator[Outcome]:
        """Hand over what ``pull`` gives until it gives None, each message tried once.

        Yields one outcome a message, in the order of pulling. A message may be pulled before
        the outcome of the one before is known; where that is closed early, or raises because of
        a fault of the program, what was pulled and has no outcome was not begun, except for the
        first of it.
        """
        ...

    def farewell(self) -> None:
        """Say goodbye and do not wait for the answer, as ``close`` will. Never raises."""
        ...

    def close(self) -> None:
        """End the connection, politely if it still lives. Never raises."""
        ...

    def abort(self) -> None:
        """Break the connection from another thread; what waits for an answer ends at once."""
        ...
