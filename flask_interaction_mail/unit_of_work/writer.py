"""What a host's transaction carries for us: messages to store, requests to call back."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import sqlalchemy as sa

from .. import clock
from ..announce import announce_ids, emit, is_heard
from ..messages.message import NewMessage
from ..names import one_line
from ..outbox import messages
from ..storage.conflicts import survive
from ..values import Reason, Status
from .contexts import wake
from .deferred import Fate, Owner

_SMALL = 4000  # bytes of a message without content
_NAMED = 10  # recipients of one message in a log record


@dataclass(eq=False, slots=True)
class Storing:
    """A message that is stored with a transaction."""

    message: NewMessage
    fate: Fate = Fate.JOIN

    @property
    def size(self) -> int:
        """About how many bytes it takes in memory: the content, and what it was made of."""
        return _SMALL + 3 * len(self.message.content or b"")

    def __str__(self) -> str:
        named = [one.address or one.name for one in self.message.recipients]
        more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
        whom = f"{', '.join(named[:_NAMED])}{more}" or "nobody"
        return f"{self.message.id} ({one_line(self.message.intent.subject)!r} to {one_line(whom)})"


@dataclass(eq=False, slots=True)
class CallingBack:
    """Messages called back with a transaction: named, or all requests for a pair just merged."""

    pair: str | None = None
    ids: Sequence[uuid.UUID] = ()
    reason: Reason = Reason.WITHDRAWN
    fate: Fate = Fate.JOIN
    size: int = 1000  # bytes, about

    def __str__(self) -> str:
        return f"calling back {', '.join(map(str, self.ids)) or 'the requests for a pair'}"


Work = Storing | CallingBack


class Writer:
    """Stores the works of one app and tells the world afterwards."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner

    def write(self, connection: sa.Connection, works: Sequence[Work]) -> list[Work]:
        """Put ``works`` into the database; gives those that changed something there."""
        # Not by the message's id: of two works with one key the first must win.
        storing = {work.message.origin: work for work in works if isinstance(work, Storing)}
        stored = messages.insert(connection, [work.message for work in storing.values()])
        done: list[Work] = [storing[message.origin] for message in stored]
        for work in works:
            if isinstance(work, CallingBack):
                if work.pair is not None:
                    work.ids = messages.waiting_for_pair(connection, work.pair)
                call_back = partial(messages.cancel, connection, work.ids, work.reason, clock.now())
                survive(connection, call_back)
                done += [work] if work.ids else []
        return done

    def announce(self, works: Sequence[Work]) -> None:
        """Signals and the wake-up, after the commit. Never raises."""
        owner = self._owner
        for work in works:
            if isinstance(work, CallingBack):
                announce_ids(owner.app, owner.database, work.ids)
            elif is_heard(work.message.status):
                emit(owner.app, work.message.snapshot())
        if any(
            isinstance(work, Storing) and work.message.status is Status.QUEUED for work in works
        ):
            wake(owner)
