"""What was held for its rate leaves: in one digest for each recipient, whose fate it shares.

A message is handed over to a digest for one of its recipients at a time; it names them itself
(``Intent.gathers``). Every function works on the connection that it is given and leaves the
commit to its owner; times are naive UTC.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from ..messages.digest_content import Content
from ..messages.intent import PURGED, Intent
from ..storage.json_rows import joined_update, json_table, rows_parameter
from ..storage.tables import MESSAGE, RECIPIENT
from ..values import Reason, Status
from .fenced import by_index, lock_rows_only
from .rates import WINDOW

log = logging.getLogger("flask_interaction_mail")

SOURCE: Final = "digest"
_OPEN: Final = (Status.QUEUED, Status.SENDING, Status.DEFERRED, Status.HELD)
_WANTED = json_table(MESSAGE.c.id)

_WAITING = sa.and_(
    MESSAGE.c.status == Status.HELD,
    MESSAGE.c.reason == Reason.RATE,
    MESSAGE.c.due_at.is_not(None),
)
_IS_DUE = sa.select(MESSAGE.c.id).where(_WAITING, MESSAGE.c.due_at <= sa.bindparam("now")).limit(1)
_HELD_FOR = (
    sa.select(MESSAGE.c.id, MESSAGE.c.due_at, RECIPIENT.c.address, RECIPIENT.c.name)
    .join_from(MESSAGE, RECIPIENT, RECIPIENT.c.message_id == MESSAGE.c.id)
    .where(_WAITING, RECIPIENT.c.status == Status.HELD)
    .order_by(MESSAGE.c.created_at, MESSAGE.c.id)
)
_LOCK = sa.select(MESSAGE.c.id).where(_WAITING).with_for_update(skip_locked=True)
_THEIR_ROWS = sa.and_(
    RECIPIENT.c.message_id == _WANTED.c.id, RECIPIENT.c.address == sa.bindparam("whose")
)
_HELD = sa.and_(MESSAGE.c.id == _WANTED.c.id, MESSAGE.c.status == Status.HELD)
_HAND_OVER = (
    joined_update(RECIPIENT)
    .where(_THEIR_ROWS, RECIPIENT.c.status == Status.HELD)
    .values(status=Status.SENDING)
)
_PAIRS = json_table(RECIPIENT.c.message_id, RECIPIENT.c.address)
_ONCE_MORE = (
    joined_update(RECIPIENT)
    .where(
        RECIPIENT.c.message_id == _PAIRS.c.message_id,
        RECIPIENT.c.address == _PAIRS.c.address,
        RECIPIENT.c.status == Status.HELD,
    )
    .values(status=Status.QUEUED)
)
_CONTENTS = (
    sa.select(MESSAGE.c.subject, MESSAGE.c.created_at, MESSAGE.c.intent)
    .join_from(_WANTED, MESSAGE, MESSAGE.c.id == _WANTED.c.id)
    .order_by(MESSAGE.c.created_at, MESSAGE.c.id)
)
_NAMES = _CONTENTS.with_only_columns(MESSAGE.c.subject, MESSAGE.c.kind)
_NOTHING = sa.update(MESSAGE).where(sa.false()).values(size=0)


def _has(*statuses: Status) -> sa.ColumnElement[bool]:
    """Whether a message has a recipient in one of these states."""
    theirs = sa.and_(RECIPIENT.c.message_id == MESSAGE.c.id, RECIPIENT.c.status.in_(statuses))
    return sa.exists().where(theirs).correlate(MESSAGE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathering:
    """What is held for one address whose minute is over, oldest first.

    ``whole`` says whether all of it is locked: nobody else has a part of it.
    """

    address: str
    name: str
    ids: tuple[uuid.UUID, ...]
    whole: bool


def is_due(connection: sa.Connection, now: datetime) -> bool:
    """Whether anybody's minute is over: a look that locks nothing, after ``by_index``."""
    return connection.execute(_IS_DUE, {"now": now}).first() is not None


def gatherings(connection: sa.Connection, now: datetime) -> list[Gathering]:
    """All that is held for those whose minute is over; locked, as far as nobody else has it.

    This is the first statement of its transaction.
    """
    lock_rows_only(connection)
    by_index(connection)
    if connection.dialect.name == "sqlite":
        connection.execute(_NOTHING)  # who writes first has the database: rows cannot be locked
    rows = connection.execute(_HELD_FOR).all()
    ours = set(connection.scalars(_LOCK))  # after the look, so that it may have more but not less
    names: dict[str, dict[uuid.UUID, str]] = {}
    for row in rows:
        names.setdefault(row.address, {}).setdefault(row.id, row.name)
    due = {row.address for row in rows if row.due_at <= now}
    return [
        Gathering(
            address=address,
            name=next(iter(theirs.values())),
            ids=tuple(theirs),
            whole=ours.issuperset(theirs),
        )
        for address, theirs in names.items()
        if address in due
    ]


def contents(connection: sa.Connection, ids: Iterable[uuid.UUID]) -> list[Content]:
    """What the messages ``ids`` say, in their order."""
    rows = connection.execute(_CONTENTS, rows_parameter((id,) for id in ids))
    return [Content(*row) for row in rows]


def names(connection: sa.Connection, ids: Iterable[uuid.UUID]) -> list[tuple[str, str]]:
    """Subject and kind of each of the messages ``ids``, in their order."""
    rows = connection.execute(_NAMES, rows_parameter((id,) for id in ids))
    return [(row.subject, row.kind) for row in rows]


def release(connection: sa.Connection, those: Iterable[Gathering], now: datetime) -> None:
    """Send the messages of ``those`` to them as they are."""
    rows = rows_parameter((id, one.address) for one in those for id in one.ids)
    connection.execute(_ONCE_MORE, rows)
    free = {"status": Status.QUEUED, "reason": None, "detail": None, "due_at": now}
    connection.execute(joined_update(MESSAGE).where(_HELD).values(free), rows)


def assign_to_digest(connection: sa.Connection, one: Gathering, digest: uuid.UUID) -> None:
    """The messages of ``one`` are in ``digest`` now, and share its fate."""
    rows = _document_of(one)
    connection.execute(_HAND_OVER, rows | {"whose": one.address})
    # One that waits for somebody else, too, goes on waiting.
    wanted = sa.and_(_HELD, ~_has(Status.HELD))
    said = {"status": Status.SENDING, "due_at": None, "detail": f"It is in the digest {digest}."}
    connection.execute(joined_update(MESSAGE).where(wanted).values(said), rows)


def postpone(connection: sa.Connection, one: Gathering, now: datetime) -> None:
    """Try to gather ``one`` again in a minute."""
    later = joined_update(MESSAGE).where(_HELD).values(due_at=now + WINDOW)
    connection.execute(later, _document_of(one))


def _document_of(one: Gathering) -> dict[str, str]:
    return rows_parameter((id,) for id in one.ids)


# -- what becomes of a digest becomes of what is in it -----------------------------------

_TEXT_OF: Final = {
    Status.SENT: "It went out in the digest {digest}.",
    Status.FAILED: "It was in the digest {digest}, which failed.",
    Status.CANCELLED: "It was in the digest {digest}, which was called back.",
}
_BETTER: Final = (Status.SENDING, Status.FAILED, Status.CANCELLED)  # than these
_STATUS = sa.case(
    (_has(Status.FAILED), Status.FAILED),
    (_has(Status.SENT), Status.SENT),
    else_=Status.CANCELLED,
)


def apply_outcome(
    connection: sa.Connection,
    digest: uuid.UUID,
    status: Status,
    reply: str | None,
    now: datetime,
) -> list[uuid.UUID]:
    """Say of all that is in ``digest`` what became of it; gives the ids.

    A digest that was sent again, after it had failed or was called back, is better news.
    """
    ids = members(connection, [digest])
    its_own = sa.select(RECIPIENT.c.address).where(RECIPIENT.c.message_id == digest)
    whose = connection.scalar(its_own)
    rows = rows_parameter((id,) for id in ids)
    theirs = sa.and_(_THEIR_ROWS, RECIPIENT.c.status.in_(_BETTER))
    connection.execute(
        joined_update(RECIPIENT).where(theirs).values(status=status, reply=reply),
        {**rows, "whose": whose},
    )
    # One that is on its way to somebody else as well gets its state from there.
    done = sa.and_(
        MESSAGE.c.id == _WANTED.c.id,
        MESSAGE.c.lease_until.is_(None),
        MESSAGE.c.status != _STATUS,
        ~_has(*_OPEN),
    )
    said = {"status": _STATUS, "reason": Reason.RATE, "finished_at": now}
    text = _TEXT_OF[status].format(digest=digest)
    connection.execute(joined_update(MESSAGE).where(done).values(said | {"detail": text}), rows)
    return ids


def members(connection: sa.Connection, digests: Iterable[uuid.UUID]) -> list[uuid.UUID]:
    """The ids of the messages in ``digests``, as far as these still have their texts."""
    which = sa.and_(MESSAGE.c.id.in_(list(digests)), MESSAGE.c.source == SOURCE)
    intents = connection.scalars(sa.select(MESSAGE.c.intent).where(which))
    return [uuid.UUID(id) for text in intents for id in _gathered(text)]


def _gathered(text: str) -> tuple[str, ...]:
    if text == PURGED:
        return ()
    try:
        return Intent.from_json(text).gathers
    except ValueError:  # what became of the digest itself has to be written down all the same
        log.error("digest.damaged: what was in it is not known any more")
        return ()
