"""The seam between delivery and the wire: one verb, and what goes through."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, NamedTuple, Protocol

from ..errors import TransportError
from ..outcome import Fault, Reply, Result, Stage
from ..settings.secret import Secret


class Envelope:
    """One message as the wire sees it (RFC 5321 §2.3.1), of ``size`` bytes.

    ``content`` is complete, with canonical CRLF and without dot-stuffing. It may be given as a
    function with its ``size``, so that it is read at the first look, which raises what that raises.
    With ``smtputf8`` its header needs RFC 6531 if it is not ASCII, whoever it is for. ``envid`` is
    what reports about it shall call it (RFC 3461 §4.4), "" to ask for no report.
    """

    __slots__ = ("_content", "_smtputf8", "envid", "recipients", "sender", "size")

    def __init__(
        self,
        *,
        sender: str,
        recipients: tuple[str, ...],
        content: bytes | Callable[[], bytes],
        size: int | None = None,
        smtputf8: bool = False,
        envid: str = "",
    ) -> None:
        self.sender: str = sender
        self.recipients: tuple[str, ...] = recipients
        self.envid: str = envid
        if isinstance(content, bytes):
            size = len(content)
        elif size is None:
            raise TypeError("content that is read later needs its size")
        self.size: int = size
        self._content = content
        self._smtputf8 = smtputf8

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Envelope) and self._values == other._values

    # As of every value that can be changed.
    __hash__: ClassVar[None] = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<Envelope from {self.sender} to {', '.join(self.recipients)}, {self.size:,} bytes>"

    @property
    def _values(self) -> tuple[object, ...]:
        return self.sender, self.recipients, self.content, self.smtputf8, self.envid

    @property
    def content(self) -> bytes:
        content = self._content
        return content if isinstance(content, bytes) else content()

    @property
    def smtputf8(self) -> bool:
        """Whether the header needs RFC 6531.

        What needs it otherwise is an address, and a server without it may have it for the others.
        """
        return self._smtputf8 and not self.content.isascii()

    def to(self, recipients: tuple[str, ...]) -> Envelope:
        """The same for these ``recipients``."""
        return Envelope(
            sender=self.sender,
            recipients=recipients,
            content=self._content,
            size=self.size,
            smtputf8=self._smtputf8,
            envid=self.envid,
        )


class AccessToken(NamedTuple):
    """What a mail server takes instead of a password, for a while (RFC 6749 §1.4).

    ``ends`` is when, naive UTC; None if that was not said. ``scope`` is what it is good for, and
    ``account`` who has agreed to it, if that was said.
    """

    secret: Secret
    ends: datetime | None = None
    scope: str | None = None
    account: str | None = None


@dataclass(slots=True, kw_only=True)  # not frozen, to be made in half the time
class TransportResult:
    """The outcome of one attempt at one message.

    ``verdicts`` maps each envelope recipient to the server's last word on it: its reply to
    RCPT where that refused, else the reply to MAIL or to the content. A recipient about whom
    the server said nothing final is missing. ``reply`` is the reply that decided the message,
    None where the server was silent; ``note`` says in English what happened then, and
    ``fault`` says it in one word. ``trouble`` is there where the refusal is not about the message:
    it names envelope sender, HELO, client or login, and the connection has had nobody accepted.
    Those who are ``left`` found no more room in this transaction and are for the next one; ``room``
    is how many do, as far as this one has shown. Where it was ``crowded`` some of them were refused
    after five others, maybe because of these: they are for the next one even if nobody got this.
    ``slow_refusals`` is true where recipients were refused and their answers took more than 2 s.
    ``provider_id`` is what the provider calls the message, where it says so.
    """

    result: Result
    stage: Stage
    reply: Reply | None
    verdicts: Mapping[str, Reply]
    note: str | None = None
    fault: Fault | None = None
    trouble: TransportError | None = None
    left: tuple[str, ...] = ()
    room: int | None = None
    crowded: bool = False
    slow_refusals: bool = False
    provider_id: str | None = None


class Stopped(TransportError):
    """Delivery was broken off by ``abort`` before anybody could get this message."""


class Transport(Protocol):
    """Sends envelopes over a connection that it opens when needed and keeps.

    One thread at a time uses it, except for ``abort``. A class that derives from this needs
    ``deliver`` alone, if it has no connection to end.
    """

    def deliver(self, envelope: Envelope) -> TransportResult:
        """Try once to hand over ``envelope``; the connection is opened when needed and kept.

        Raises:
            TransportError: the server or the way to it failed, and nobody got the message.
            Stopped: so did ``abort``.
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


# What takes mail in place of every server, or opens that for a connection.
StandIn = Transport | Callable[[], Transport] | None
