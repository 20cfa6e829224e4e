"""The outbox as a queue: claim with a lease, renew, give back, record.

A claim takes a message for a limited time and raises its *fence*; every later write names the
fence it was claimed with, so a worker that was away too long changes nothing. Every function
works on the connection that it is given and leaves the commit to its owner; times are naive UTC.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from . import clock
from .claimed import OPEN, load, still_claimed
from .claimed import Attempt as Attempt
from .claimed import Claimed as Claimed
from .claimed import Verdict as Verdict
from .models import MESSAGE
from .records import record as record
from .values import Reason, Status

log = logging.getLogger("flask_interaction_mail")

_MAX_BEGUN = 3  # claims that began with a message and never ended
_MAX_BYTES = 8_000_000  # of content in one claim, so that big messages do not fill the memory
_PRESENT = {
    "postgresql": sa.func.timezone("utc", sa.func.clock_timestamp()),
    "mysql": sa.func.utc_timestamp(6),
    "mariadb": sa.func.utc_timestamp(6),
}


class Time:
    """The time of the database, which all workers share: clocks of machines may be wrong.

    Between two looks at it time goes on by the monotonic clock, so that a clock that is set
    meanwhile changes nothing. SQLite has no other clock than that of its one machine.
    """

    def __init__(self) -> None:
        self._seen = clock.now()
        self._at = time.monotonic()

    def look(self, connection: sa.Connection) -> datetime:
        """Ask the database on ``connection``."""
        present = _PRESENT.get(connection.dialect.name)
        seen = clock.now() if present is None else connection.scalar(sa.select(present))
        assert isinstance(seen, datetime)  # noqa: S101 - that is what these functions give
        self._seen, self._at = seen, time.monotonic()
        return seen

    def now(self) -> datetime:
        """The present, without asking."""
        return self._seen + timedelta(seconds=time.monotonic() - self._at)


def recover(connection: sa.Connection, now: datetime, *, hold: bool) -> None:
    """Set aside what workers that died, or stood still too long, left in an unknown state.

    With ``hold`` that is all of it, as it may have left already; else only what three workers
    in a row had begun and not ended. The rest is taken over by the next claims: the same bytes
    under the same Message-ID.
    """
    late = MESSAGE.c.lease_until < now  # NULL unless a worker has it
    aside: dict[str, Any] = {"status": Status.HELD, "lease_until": None, "worker": None}
    if hold:
        aside |= {
            "reason": Reason.AMBIGUOUS,
            "detail": "The worker stopped while it was sending: it may have left, or not.",
        }
    else:
        late = sa.and_(late, MESSAGE.c.lost_leases >= _MAX_BEGUN)
        aside |= {
            "reason": Reason.POISON,
            "detail": "Three workers in a row stopped while they were sending this message.",
        }
    # On SQLite this also gives a claim the whole database: who writes first has it, rows are
    # not locked there.
    connection.execute(
        sa.update(MESSAGE).where(MESSAGE.c.status == Status.SENDING, late).values(**aside)
    )


def claim(
    connection: sa.Connection,
    *,
    limit: int,
    worker: str,
    lease: timedelta,
    now: datetime,
    at_once: int = 1,
    hold: bool = False,
) -> list[Claimed]:
    """Take up to ``limit`` messages for ``lease``; no two workers get the same one.

    First come, at most ``at_once``, those whose worker has lost them (unless ``hold``, see
    ``recover``); then, half and half, those that were never tried and those that are to be tried
    again. ``at_once`` is how many the worker begins immediately: should it die, only they may
    have been the reason. This is the first statement of its transaction.
    """
    _lock_rows_only(connection)
    recover(connection, now, hold=hold)
    late = _pick(connection, _late(now), MESSAGE.c.lease_until, min(limit, at_once))
    ids = _within_bytes([*late, *_due(connection, now, limit - len(late))])
    if not ids:
        return []
    taken = {
        "status": Status.SENDING,
        "due_at": None,
        "fence": MESSAGE.c.fence + 1,
        "lease_until": now + lease,
        "worker": worker,
    }
    connection.execute(sa.update(MESSAGE).where(MESSAGE.c.id.in_(ids)).values(**taken))
    claimed, damaged = load(connection, ids)
    for id, problem in damaged.items():
        _quarantine(connection, id, problem)
    begun = [one.id for one in claimed[:at_once]]
    connection.execute(
        sa.update(MESSAGE)
        .where(MESSAGE.c.id.in_(begun))
        .values(lost_leases=MESSAGE.c.lost_leases + 1)
    )
    return claimed


def _lock_rows_only(connection: sa.Connection) -> None:
    if connection.dialect.name in ("mysql", "mariadb"):
        # Never the gaps between rows: that would stop the host's inserts, and lead to deadlocks.
        connection.execute(sa.text("SET TRANSACTION ISOLATION LEVEL READ COMMITTED"))


def _late(now: datetime) -> sa.ColumnElement[bool]:
    return sa.and_(MESSAGE.c.status == Status.SENDING, MESSAGE.c.lease_until < now)


def _due(connection: sa.Connection, now: datetime, limit: int) -> list[tuple[uuid.UUID, int]]:
    """What is to be sent, half of it deferred: neither kind waits for the end of the other."""

    def due(status: Status, most: int) -> list[tuple[uuid.UUID, int]]:
        wanted = sa.and_(MESSAGE.c.status == status, MESSAGE.c.due_at <= now)
        return _pick(connection, wanted, MESSAGE.c.due_at, most)

    half = limit // 2
    again = due(Status.DEFERRED, half)
    fresh = due(Status.QUEUED, limit - len(again))
    if len(again) == half and len(again) + len(fresh) < limit:
        again = due(Status.DEFERRED, limit - len(fresh))
    return [*fresh, *again]


def _pick(
    connection: sa.Connection,
    wanted: sa.ColumnElement[bool],
    order: sa.ColumnElement[Any],
    limit: int,
) -> list[tuple[uuid.UUID, int]]:
    if limit <= 0:
        return []
    rows = connection.execute(
        sa.select(MESSAGE.c.id, MESSAGE.c.size)
        .where(wanted)
        .order_by(order)
        .limit(limit)
        .with_for_update(skip_locked=True)  # locked rows are another worker's
    )
    return [(row.id, row.size or 0) for row in rows]


def _within_bytes(picked: Sequence[tuple[uuid.UUID, int]]) -> list[uuid.UUID]:
    ids: list[uuid.UUID] = []
    total = 0
    for id, size in picked:
        total += size
        if ids and total > _MAX_BYTES:
            break
        ids.append(id)
    return ids


def _quarantine(connection: sa.Connection, id: uuid.UUID, problem: str) -> None:
    log.error("message.poison: %s: %s", id, problem)
    connection.execute(
        sa.update(MESSAGE)
        .where(MESSAGE.c.id == id)
        .values(
            status=Status.HELD,
            reason=Reason.POISON,
            detail=f"This message cannot be sent: {problem}.",
            lease_until=None,
            worker=None,
        )
    )


def renew(
    connection: sa.Connection, claims: Iterable[Claimed], *, lease: timedelta, now: datetime
) -> set[uuid.UUID]:
    """Extend the leases of ``claims``; gives the ids of those that are still this worker's."""
    extend = {"lease_until": now + lease}
    return {
        one.id
        for one in claims
        if connection.execute(sa.update(MESSAGE).where(still_claimed(one)).values(extend)).rowcount
    }


def give_back(
    connection: sa.Connection, claims: Iterable[Claimed], *, due_at: datetime, detail: str | None
) -> None:
    """Return ``claims`` to the queue without an attempt; ``detail`` says why they wait."""
    for one in claims:
        connection.execute(
            sa.update(MESSAGE)
            .where(still_claimed(one))
            .values(
                status=Status.DEFERRED if one.attempts else Status.QUEUED,
                due_at=due_at,
                lease_until=None,
                worker=None,
                lost_leases=0,
                detail=detail,
            )
        )


def next_due(connection: sa.Connection) -> datetime | None:
    """When the next open message becomes due, None where none is open."""
    first = (
        connection.scalar(sa.select(sa.func.min(MESSAGE.c.due_at)).where(MESSAGE.c.status == one))
        for one in OPEN
    )
    return min((due for due in first if due is not None), default=None)
