"""What a host's transaction carries for us: messages to store, requests to call back."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import sqlalchemy as sa
from sqlalchemy.orm import Session

from .. import clock
from ..announce import announce_ids, emit, is_heard
from ..messages.message import NewMessage
from ..names import one_line
from ..outbox import messages
from ..storage.write_conflicts import change_or_skip
from ..values import Notification, Reason, Status
from . import session_events
from .contexts import wake
from .deferred import CommitRule, Owner

log = logging.getLogger("flask_interaction_mail")

_SMALL = 4000  # bytes of a message without content
_NAMED = 10  # recipients of one message in a log record
_CROWD = 100  # people in To and Cc of one message, above which somebody has forgotten a loop


@dataclass(eq=False, slots=True)
class StoreMessage:
    """A message that is stored with a transaction."""

    message: NewMessage
    fate: CommitRule = CommitRule.JOIN

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
class CancelMessages:
    """Messages called back with a transaction: named, or all requests for a pair just merged."""

    pair: str | None = None
    ids: Sequence[uuid.UUID] = ()
    reason: Reason = Reason.WITHDRAWN
    fate: CommitRule = CommitRule.JOIN
    size: int = 1000  # bytes, about

    def __str__(self) -> str:
        return f"calling back {', '.join(map(str, self.ids)) or 'the requests for a pair'}"


Work = StoreMessage | CancelMessages


class Writer:
    """Stores the works of one app and tells the world afterwards."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner

    def write(self, connection: sa.Connection, works: Sequence[Work]) -> list[Work]:
        """Put ``works`` into the database; gives those that changed something there."""
        # Not by the message's id: of two works with one key the first must win.
        storing = {work.message.origin: work for work in works if isinstance(work, StoreMessage)}
        stored = messages.insert(connection, [work.message for work in storing.values()])
        done: list[Work] = [storing[message.origin] for message in stored]
        for work in works:
            if isinstance(work, CancelMessages):
                if work.pair is not None:
                    work.ids = messages.waiting_for_pair(connection, work.pair)
                call_back = partial(messages.cancel, connection, work.ids, work.reason, clock.now())
                change_or_skip(connection, call_back)
                done += [work] if work.ids else []
        return done

    def announce(self, works: Sequence[Work]) -> None:
        """Signals and the wake-up, after the commit. Never raises."""
        owner = self._owner
        for work in works:
            if isinstance(work, CancelMessages):
                announce_ids(owner.app, owner.database, work.ids)
            elif is_heard(work.message.status):
                emit(owner.app, work.message.snapshot())
        if any(
            isinstance(work, StoreMessage) and work.message.status is Status.QUEUED
            for work in works
        ):
            wake(owner)


# -- what is handed to a transaction, and waits there --------------------------------------


def register(owner: Owner, work: StoreMessage, *, session: Session | None) -> Notification:
    """Hand ``work`` to the transaction that it belongs to."""
    session_events.register(work, owner, session=session)
    _warn_of_a_crowd(work.message)
    return work.message.snapshot()


def _warn_of_a_crowd(new: NewMessage) -> None:
    visible = sum(one.field != "bcc" for one in new.recipients)
    if visible > _CROWD:
        log.warning(
            "notification.crowd: message %s shows the addresses of %d people to all of them; "
            "call send_notification once for each in a loop, or name them in bcc",
            new.id,
            visible,
        )


def messages_in(session: Session) -> list[NewMessage]:
    """The messages that wait for the commit of ``session``, or for the end of its app context."""
    works = session_events.pending_of(session)
    return [work.message for work in works if isinstance(work, StoreMessage)]


def waiting(session: Session, id: uuid.UUID) -> Notification | None:
    """The notification ``id``, if it waits for the commit of ``session``."""
    return next((one.snapshot() for one in messages_in(session) if one.id == id), None)
