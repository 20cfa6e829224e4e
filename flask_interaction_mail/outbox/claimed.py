"""What a worker has claimed, and what came of it. Pure."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, NamedTuple

from ..outcome import Result
from ..transport.base import Envelope, TransportResult
from ..values import Reason, Status


class Sizes(NamedTuple):
    """Messages of more than ``over`` bytes of content, and of ``upto`` at most."""

    over: int
    upto: int


_NO_END: Final = 2**31 - 1
ANY: Final = Sizes(-1, _NO_END)
LARGE: Final = Sizes(4_000_000, _NO_END)  # a worker sends one at a time, beside the others
SMALL: Final = Sizes(-1, LARGE.over)


# Nobody changes these three. They are not frozen because one of each is made for every message,
# and that would take twice as long.
@dataclass(slots=True, kw_only=True)
class Claimed:
    """A message that this worker may send until its lease ends.

    Where the server takes few recipients at once, one attempt is several transactions. The
    ``envelope`` is for the next one, ``later`` are the recipients of further ones, and ``deferred``
    those who were refused for now in an earlier one, with the reply. ``goes_on`` is true of all
    but the first. ``crowds`` are the moments at which a crowded transaction has ended. ``bound``
    names the relay by which it may have left before, and by which alone it may go.
    """

    id: uuid.UUID
    fence: int
    attempts: int  # counted attempts so far
    created_at: datetime
    expires_at: datetime | None
    kind: str
    source: str
    actor: str | None
    resent: bool  # an administrator asked for it
    before: Mapping[Status, str | None]  # what became of other recipients, and a reply to one
    lost_before: bool  # another worker had claimed it and stopped
    places: tuple[tuple[int, str], ...]  # position and address of each recipient still to reach
    envelope: Envelope
    due_at: datetime | None = None  # before the first claim, where it was to leave later
    digest: uuid.UUID | None = None  # not done yet: another recipient gets the message in it
    later: tuple[str, ...] = ()
    deferred: tuple[tuple[str, str | None], ...] = ()
    goes_on: bool = False
    crowds: tuple[datetime, ...] = ()
    bound: str | None = None

    @property
    def large(self) -> bool:
        """Whether it takes long to send, and much memory."""
        return self.envelope.size > LARGE.over

    def within(self, room: int) -> Claimed:
        """The same for a server that takes ``room`` recipients in one transaction."""
        recipients = self.envelope.recipients
        if len(recipients) <= room:
            return self
        first = self.envelope.to(recipients[:room])
        return replace(self, envelope=first, later=recipients[room:] + self.later)


@dataclass(slots=True, kw_only=True)
class AttemptResult:
    """What is to be written down about one claimed message.

    With a ``rest`` it is about the recipients of one transaction alone, and the attempt goes on
    with the rest once this is written down. ``room`` is how many recipients the server has shown
    to take. ``ended`` are the messages in a digest that end with it, ``made`` new ones about it,
    once that is recorded.
    """

    claimed: Claimed
    status: Status
    reason: Reason | None
    detail: str | None
    due_at: datetime
    counted: bool  # whether the attempt counts against the schedule
    recipients: Mapping[str, tuple[Status, str | None]]  # address -> status, reply
    attempt: Attempt | None
    rest: Claimed | None = None
    room: int | None = None
    ended: Sequence[uuid.UUID] = ()
    made: Sequence[Any] = ()  # each a NewMessage, which stands above what only claims and records

    @property
    def waits_for_digest(self) -> bool:
        """Whether nobody is left to reach but a recipient who gets it in a digest."""
        return self.status is Status.HELD and self.reason is Reason.RATE

    @property
    def shared(self) -> bool:
        """Whether the server took it for all recipients at once, with one reply."""
        attempt = self.attempt
        if self.status is not Status.SENT or attempt is None or self.claimed.before:
            return False
        if attempt.result != Result.ACCEPTED or attempt.diverted_to or self.claimed.goes_on:
            return False
        return all(reply == attempt.reply for _, reply in self.recipients.values())

    @property
    def binds(self) -> bool:
        """Whether the relay has it, or may have it: it is named then, and no other may try."""
        attempt = self.attempt
        if self.claimed.bound is not None or attempt is None:
            return self.claimed.bound is not None
        return self.status is not Status.DEFERRED or attempt.result == Result.AMBIGUOUS

    @property
    def taken(self) -> bool:
        """Whether the server took it for everyone outside a digest."""
        return self.status is Status.SENT or self.waits_for_digest


@dataclass(slots=True, kw_only=True)
class Attempt:
    """One conversation about one message, for the log."""

    started_at: datetime
    finished_at: datetime
    server: str
    result: str
    stage: str
    reply: str | None
    replies: Mapping[str, str]
    diverted_to: str | None
    provider_id: str | None = None

    @classmethod
    def of(
        cls,
        outcome: TransportResult,
        *,
        started_at: datetime,
        finished_at: datetime,
        server: str,
        diverted_to: str | None,
    ) -> Attempt:
        """The attempt that had this ``outcome``."""
        last = outcome.reply
        said = str(last) if last else outcome.note and str(outcome.note)
        return cls(
            started_at=started_at,
            finished_at=finished_at,
            server=server,
            result=outcome.result,
            stage=outcome.stage,
            reply=said,
            replies={
                address: said if said and reply is last else str(reply)
                for address, reply in outcome.verdicts.items()
            },
            diverted_to=diverted_to,
            provider_id=outcome.provider_id,
        )
