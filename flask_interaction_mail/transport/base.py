"""The seam between delivery and the wire: one verb, and what goes through it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ..outcome import Delivery


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """One message as the wire sees it (RFC 5321 §2.3.1).

    ``content`` is complete, with canonical CRLF and without dot-stuffing; ``smtputf8`` says
    that an address or a header needs RFC 6531.
    """

    sender: str
    recipients: tuple[str, ...]
    content: bytes
    smtputf8: bool = False


class Transport(Protocol):
    """Sends envelopes over a connection that it opens when needed and keeps."""

    def deliver(self, envelope: Envelope) -> Delivery:
        """Try once to hand over ``envelope``.

        Raises:
            TransportError: the server or the way to it failed before this message was the
                subject; the message may be tried again without counting the attempt.
        """
        ...

    def close(self) -> None:
        """End the connection, politely if it still lives. Never raises."""
        ...

    def abort(self) -> None:
        """Break the connection from another thread; what waits for an answer ends at once."""
        ...
