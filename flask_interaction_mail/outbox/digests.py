"""Messages that are held for their rate leave in digests, one for each recipient.

``digest_id`` of a recipient names the digest in which they get a message. It stays there when the
digest is done, and names the first one where a digest was sent again. The message is held until
none of its recipients waits, and takes the worst of what became of them. Every function works on
the connection that it is given and leaves the commit to its owner; times are naive UTC.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from ..language import mark
from ..logs import log
from ..storage.json_rows import joined_update, json_table, rows_parameter
from ..storage.tables import DELIVERY, MESSAGE, RECIPIENT
from ..values import ENDED, UNDERWAY, Reason, Status
from .fenced import by_index, lock_messages, lock_rows_only
from .rates import WINDOW, in_digest
from .transitions import ADOPTED, DIGEST_DONE, RELEASED

if TYPE_CHECKING:
    from ..messages.digest_content import Content

SOURCE: Final = "digest"

_WANTED = json_table(DELIVERY.c.id)
_IS_WANTED = DELIVERY.c.id == _WANTED.c.id
_OF_WANTED = RECIPIENT.c.message_id == _WANTED.c.id
_HAS_ITS_MINUTE = sa.and_(DELIVERY.c.reason == Reason.RATE, DELIVERY.c.due_at.is_not(None))
_WAITING = sa.and_(DELIVERY.c.status == Status.HELD, _HAS_ITS_MINUTE)
# The same where rows name the messages. SQLite would take the index of statuses or of addresses,
# and go through all that is held, or that somebody ever got, for each row.
_STILL_WAITS = sa.and_(
    sa.func.coalesce(DELIVERY.c.status, DELIVERY.c.status) == Status.HELD, _HAS_ITS_MINUTE
)
_to = sa.func.coalesce(RECIPIENT.c.address, RECIPIENT.c.address)
_RECIPIENT_WAITS = sa.and_(RECIPIENT.c.status == Status.HELD, RECIPIENT.c.digest_id.is_(None))
_IS_DUE = (
    sa.select(DELIVERY.c.id).where(_WAITING, DELIVERY.c.due_at <= sa.bindparam("now")).limit(1)
)
_HELD = (
    sa.select(DELIVERY.c.id, DELIVERY.c.due_at, RECIPIENT.c.address, RECIPIENT.c.name)
    .join_from(DELIVERY, RECIPIENT, RECIPIENT.c.message_id == DELIVERY.c.id)
    .where(_WAITING, _RECIPIENT_WAITS)
    .order_by(DELIVERY.c.created_at, DELIVERY.c.id)
)
_LOCK = sa.select(DELIVERY.c.id).where(_WAITING).with_for_update(skip_locked=True)
_NOTHING = sa.update(DELIVERY).where(sa.false()).values(size=0)
_CONTENTS = (
    sa.select(MESSAGE.c.subject, MESSAGE.c.created_at, MESSAGE.c.intent)
    .join_from(_WANTED, MESSAGE, MESSAGE.c.id == _WANTED.c.id)
    .order_by(MESSAGE.c.created_at, MESSAGE.c.id)
)
_NAMES = _CONTENTS.with_only_columns(MESSAGE.c.subject, MESSAGE.c.kind)


def _has(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    """Whether some recipient of a message fulfils ``condition``."""
    return sa.exists().where(RECIPIENT.c.message_id == DELIVERY.c.id, condition).correlate(DELIVERY)


def _has_one(*statuses: Status) -> sa.ColumnElement[bool]:
    return _has(RECIPIENT.c.status.in_(statuses))


# -- what leaves -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldMessages:
    """All that is held for one address when its minute is over, oldest first.

    ``fully_locked`` says that this transaction has locked all of it, so that no other worker is
    making a digest of a part.
    """

    address: str
    name: str
    ids: tuple[uuid.UUID, ...]
    fully_locked: bool


def is_due(connection: sa.Connection, now: datetime) -> bool:
    """Whether anybody's minute is over: a look that locks nothing, after ``by_index``."""
    return connection.execute(_IS_DUE, {"now": now}).first() is not None


def held_and_due(connection: sa.Connection, now: datetime) -> list[HeldMessages]:
    """All that is held for each address whose minute is over; locks what nobody else has locked.

    This is the first statement of its transaction.
    """
    lock_rows_only(connection)
    by_index(connection)
    if connection.dialect.name == "sqlite":
        connection.execute(_NOTHING)  # who writes first has the database: rows cannot be locked
    # Locked before the look: what another worker has put into a digest is committed by then.
    locked = set(connection.scalars(_LOCK))
    rows = connection.execute(_HELD).all()
    names: dict[str, dict[uuid.UUID, str]] = {}
    for row in rows:
        names.setdefault(row.address, {}).setdefault(row.id, row.name)
    due = {row.address for row in rows if row.due_at <= now}
    return [
        HeldMessages(
            address=address,
            name=next(iter(named.values())),
            ids=tuple(named),
            fully_locked=locked.issuperset(named),
        )
        for address, named in names.items()
        if address in due
    ]


def contents(connection: sa.Connection, ids: Iterable[uuid.UUID]) -> list[Content]:
    """What the messages ``ids`` say, oldest first."""
    from ..messages.digest_content import Content  # late: most mail leaves in no digest

    return [Content(*row) for row in connection.execute(_CONTENTS, _rows(ids))]


def names(connection: sa.Connection, ids: Iterable[uuid.UUID]) -> list[tuple[str, str]]:
    """Subject and kind of each of the messages ``ids``, oldest first."""
    return [(row.subject, row.kind) for row in connection.execute(_NAMES, _rows(ids))]


_PAIRS = json_table(RECIPIENT.c.message_id, RECIPIENT.c.address)
_RELEASE_RECIPIENTS = (
    joined_update(RECIPIENT)
    .where(
        RECIPIENT.c.message_id == _PAIRS.c.message_id,
        _to == _PAIRS.c.address,
        _RECIPIENT_WAITS,
    )
    .values(**RELEASED.to(Status.QUEUED))
)
_RELEASE = (
    joined_update(DELIVERY)
    .where(_IS_WANTED, _STILL_WAITS)
    .values(
        **RELEASED.to(Status.QUEUED),
        reason=None,
        detail=None,
        due_at=sa.bindparam("now", type_=DELIVERY.c.due_at.type),
    )
)
_ASSIGN = (
    joined_update(RECIPIENT)
    .where(_OF_WANTED, _to == sa.bindparam("to"), _RECIPIENT_WAITS)
    .values(digest_id=sa.bindparam("digest", type_=RECIPIENT.c.digest_id.type))
)
# A message that waits for another recipient as well goes on waiting.
_END_WAIT = (
    joined_update(DELIVERY)
    .where(_IS_WANTED, _STILL_WAITS, ~_has(_RECIPIENT_WAITS))
    .values(due_at=None, detail=sa.bindparam("why", type_=DELIVERY.c.detail.type))
)
_POSTPONE = (
    joined_update(DELIVERY)
    .where(_IS_WANTED, _STILL_WAITS)
    .values(due_at=sa.bindparam("later", type_=DELIVERY.c.due_at.type))
)


def release(connection: sa.Connection, held: Iterable[HeldMessages], now: datetime) -> None:
    """Send each of these messages to the address that it is held for, as it is."""
    rows = rows_parameter((id, group.address) for group in held for id in group.ids)
    connection.execute(_RELEASE_RECIPIENTS, rows)
    connection.execute(_RELEASE, {**rows, "now": now})


def assign_to_digest(connection: sa.Connection, held: HeldMessages, digest: uuid.UUID) -> None:
    """Put the messages into ``digest``, as far as they are for its address.

    Raises:
        LookupError: some do not wait any more.
    """
    rows = _rows(held.ids)
    assigned = connection.execute(_ASSIGN, {**rows, "to": held.address, "digest": digest})
    if assigned.rowcount < len(held.ids):
        raise LookupError(f"{assigned.rowcount} of {len(held.ids)} messages wait for a digest")
    connection.execute(_END_WAIT, {**rows, "why": in_digest(digest)})


def postpone(connection: sa.Connection, held: HeldMessages, now: datetime) -> None:
    """Hold the messages for another minute."""
    connection.execute(_POSTPONE, {**_rows(held.ids), "later": now + WINDOW})


def _rows(ids: Iterable[uuid.UUID]) -> dict[str, str]:
    return rows_parameter((id,) for id in ids)


# -- what becomes of a digest becomes of what is in it -----------------------------------

_TEXT_OF: Final = {  # the worst first
    Status.FAILED: mark("It was in the digest %(digest)s, which failed."),
    Status.SENT: mark("It went out in the digest %(digest)s."),
    Status.CANCELLED: mark("It was in the digest %(digest)s, which was cancelled."),
}
_WORST = DIGEST_DONE.choose(
    (_has_one(Status.FAILED), Status.FAILED),
    (_has_one(Status.SENT), Status.SENT),
    otherwise=Status.CANCELLED,
)
_CONCLUDE = (
    joined_update(DELIVERY)
    .where(
        _IS_WANTED,
        DELIVERY.c.status != _WORST["status"],
        ~_has_one(*UNDERWAY, Status.HELD),
    )
    .values(
        **_WORST,
        reason=Reason.RATE,
        detail=sa.bindparam("why", type_=DELIVERY.c.detail.type),
        finished_at=sa.bindparam("now", type_=DELIVERY.c.finished_at.type),
    )
)
_DONE = sa.update(RECIPIENT).where(
    RECIPIENT.c.digest_id == sa.bindparam("digest"), DIGEST_DONE.possible_for_recipient
)
_MEMBERS = (
    sa.select(RECIPIENT.c.message_id)
    .where(RECIPIENT.c.digest_id == sa.bindparam("digest"))
    .order_by(RECIPIENT.c.message_id)
    .distinct()
)
_DIGEST = DELIVERY.alias("digest")
_UNFINISHED = (
    sa.select(RECIPIENT.c.digest_id, _DIGEST.c.status)
    .join_from(RECIPIENT, _DIGEST, _DIGEST.c.id == RECIPIENT.c.digest_id, isouter=True)
    .where(
        RECIPIENT.c.digest_id.is_not(None),
        RECIPIENT.c.status == Status.HELD,
        sa.or_(_DIGEST.c.id.is_(None), _DIGEST.c.status.in_(ENDED)),
    )
    .distinct()
)
_DIGESTS_AMONG = (
    sa.select(MESSAGE.c.id)
    .join_from(_WANTED, MESSAGE, MESSAGE.c.id == _WANTED.c.id)
    .where(MESSAGE.c.source == SOURCE)
)
_SENT_AGAIN = sa.select(MESSAGE.c.resend_of).where(MESSAGE.c.id == sa.bindparam("digest"))


def members(connection: sa.Connection, digest: uuid.UUID) -> Sequence[uuid.UUID]:
    """The ids of the messages in ``digest``, or in the one of which it was made by a resend."""
    return _members_of(connection, _original(connection, digest))


def _members_of(connection: sa.Connection, original: uuid.UUID) -> Sequence[uuid.UUID]:
    return connection.scalars(_MEMBERS, {"digest": original}).all()


def _original(connection: sa.Connection, digest: uuid.UUID) -> uuid.UUID:
    while (original := connection.scalar(_SENT_AGAIN, {"digest": digest})) is not None:
        digest = original
    return digest


def lock_with_members(
    connection: sa.Connection, ids: Iterable[uuid.UUID], digests: Iterable[uuid.UUID]
) -> None:
    """Lock the messages ``ids`` and all that is in ``digests``, before any of them is written.

    Two workers may each have a digest, and a message that is in the digest of the other. What
    several statements write is locked here in one order as well.
    """
    if connection.dialect.name != "sqlite":  # there a transaction begins with its write
        in_them = (id for digest in digests for id in members(connection, digest))
        lock_messages(connection, {*ids, *in_them})


def apply_outcome(
    connection: sa.Connection,
    digest: uuid.UUID,
    status: Status,
    reply: str | None,
    now: datetime,
) -> list[uuid.UUID]:
    """Write down of all messages in ``digest`` what became of it; gives the ids of those it ends.

    Where a digest had failed or was cancelled, what becomes of it when it is sent again counts.
    """
    original = _original(connection, digest)
    ids = _members_of(connection, original) or _adopt(connection, original)
    if not ids:
        return []
    # Whoever is sending one of them to somebody else either sees this, or is seen below.
    before = lock_messages(connection, ids)
    outcome = _DONE.values(**DIGEST_DONE.to(status), reply=reply)
    connection.execute(outcome, {"digest": original})
    possible = {row.id: row.status for row in before if row.status in DIGEST_DONE.sources}
    _conclude(connection, possible, digest, status, now)
    after = lock_messages(connection, possible)
    ended = [row.id for row in after if row.status != possible[row.id]]
    # One that was sent again, and held for its rate.
    inner = connection.scalars(_DIGESTS_AMONG, _rows(ended)).all() if ended else ()
    for id in inner:
        ended += apply_outcome(connection, id, status, reply, now)
    return ended


def unfinished(connection: sa.Connection) -> dict[uuid.UUID, Status]:
    """The digests that have ended or are gone while something is held for them.

    Each with what became of it; one that is gone has failed.
    """
    return {
        row.digest_id: Status(row.status) if row.status in _TEXT_OF else Status.FAILED
        for row in connection.execute(_UNFINISHED)
    }


def settle(connection: sa.Connection, id: uuid.UUID, now: datetime) -> None:
    """Message ``id`` waits for digests alone: conclude it if they were done meanwhile."""
    its_own = sa.and_(RECIPIENT.c.message_id == id, RECIPIENT.c.digest_id.is_not(None))
    rows = connection.execute(sa.select(RECIPIENT.c.status, RECIPIENT.c.digest_id).where(its_own))
    digests = {row.status: row.digest_id for row in rows}
    status = next((status for status in _TEXT_OF if status in digests), None)
    if status is not None:
        _conclude(connection, [id], digests[status], status, now)


def _conclude(
    connection: sa.Connection,
    ids: Iterable[uuid.UUID],
    digest: uuid.UUID,
    status: Status,
    now: datetime,
) -> None:
    why = _TEXT_OF[status] % {"digest": digest}
    connection.execute(_CONCLUDE, {**_rows(ids), "why": why, "now": now})


def _adopt(connection: sa.Connection, digest: uuid.UUID) -> list[uuid.UUID]:
    """Take over a digest of version 0.1, whose intent names the messages in it; gives their ids.

    Revision 0003 has done it for all of them. A host's own migration has only added the column.
    """
    of_digest = sa.select(MESSAGE.c.intent, RECIPIENT.c.address).where(MESSAGE.c.id == digest)
    row = connection.execute(of_digest.join(RECIPIENT, RECIPIENT.c.message_id == digest)).first()
    ids = [] if row is None else _gathered(row.intent)
    if row is None or not ids:
        return []
    lock_messages(connection, ids)
    in_it = sa.and_(_OF_WANTED, _to == row.address)
    named = joined_update(RECIPIENT).where(in_it).values(digest_id=digest)
    recipients = joined_update(RECIPIENT).where(in_it, ADOPTED.possible_for_recipient)
    left_open = sa.and_(ADOPTED.possible, DELIVERY.c.lease_until.is_(None), _has_one(Status.HELD))
    found = joined_update(DELIVERY).where(_IS_WANTED, left_open)
    held = ADOPTED.to(Status.HELD)
    for statement in (
        named,
        recipients.values(**held),
        found.values(**held, reason=Reason.RATE, finished_at=None),
    ):
        connection.execute(statement, _rows(ids))
    return ids


def _gathered(intent: str) -> list[uuid.UUID]:
    try:
        return [uuid.UUID(id) for id in json.loads(intent).get("gathers", ())]
    # What became of the digest itself has to be written down all the same.
    except (ValueError, TypeError, AttributeError):
        log.error("digest.damaged: what was in it is not known any more")
        return []
