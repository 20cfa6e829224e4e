"""What a worker has claimed, and what it says about it afterwards."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from ..transport.base import Envelope, TransportResult
from ..values import Reason, Status
from .sizes import LARGE


# Nobody changes these three. They are not frozen because one of each is made for every message,
# and that would take twice as long.
@dataclass(slots=True, kw_only=True)
class Claimed:
    """A message that this worker may send until its lease ends.

    Where the server takes few recipients at once, one attempt is several transactions: the
    ``envelope`` is that of the next one, ``later`` those who are for further ones, and
    ``deferred`` those who were refused for now in one before, with the reply. ``goes_on`` is true
    of all but the first. ``crowds`` are the moments at which a crowded one has ended.
    """

    id: uuid.UUID
    fence: int
    attempts: int  # counted attempts so far
    created_at: datetime
    expires_at: datetime | None
    source: str
    actor: str | None
    resent: bool  # an administrator asked for it
    before: Mapping[Status, str | None]  # what became of other recipients, and a reply to one
    lost_before: bool  # another worker had it, and did not end
    places: tuple[tuple[int, str], ...]  # position and address of whom it is still to reach
    envelope: Envelope
    later: tuple[str, ...] = ()
    deferred: tuple[tuple[str, str | None], ...] = ()
    goes_on: bool = False
    crowds: tuple[datetime, ...] = ()

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

    With a ``rest`` it is about the recipients of one transaction alone, and that goes on once it
    is written down; ``room`` is what was learned of the server. ``unreached`` says that it was only
    for addresses that the server cannot take.
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
    unreached: bool = False


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

    @classmethod
    def of(
        cls,
        delivery: TransportResult,
        *,
        started_at: datetime,
        finished_at: datetime,
        server: str,
        diverted_to: str | None,
    ) -> Attempt:
        """The attempt that came to ``delivery``."""
        last = delivery.reply
        said = str(last) if last else delivery.note
        return cls(
            started_at=started_at,
            finished_at=finished_at,
            server=server,
            result=delivery.result,
            stage=delivery.stage,
            reply=said,
            replies={
                address: said if said and reply is last else str(reply)
                for address, reply in delivery.verdicts.items()
            },
            diverted_to=diverted_to,
        )
