"""Requests that have reached nobody: which they are, and those that cannot go to the default To.

Functions work on the given connection; its owner commits. Times are naive UTC.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from ..messages.intent import PURGED, REDIRECT
from ..messages.redirected import Missed
from ..storage.tables import DELIVERY, MESSAGE, OUTBOX, RECIPIENT
from ..values import Kind, Status
from .messages import REDIRECTED_AS
from .recipients import OWN_STATUS, REPLY
from .reports import ERASED, reports_of

LATELY: Final = timedelta(days=1)  # for which a lost request is an alert

_AGAIN: Final = MESSAGE.alias("again")
_OTHERS: Final = ("notice", "digest")  # of which nothing is made, whatever their kind is
_OVER: Final = (Status.SENT, Status.FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """A request that has reached nobody, and whom it missed.

    ``final`` says that it cannot be sent anew: it went to the default To already, or its text is
    not kept any more. It is not wanted after ``expires_at``.
    """

    missed: Sequence[Missed]
    message_id: str | None
    expires_at: datetime | None
    final: bool


def find(connection: sa.Connection, id: uuid.UUID) -> Lost | None:
    """The message ``id``, if it is a request of which no recipient is left.

    None once it was dealt with: it went to the default To or was counted as lost, the contacts were
    merged, or it was called back. The caller has locked it.
    """
    columns = (
        *(MESSAGE.c.kind, MESSAGE.c.source, MESSAGE.c.message_id, MESSAGE.c.expires_at),
        *(MESSAGE.c.intent, DELIVERY.c.status, DELIVERY.c.closed, DELIVERY.c.lost_at),
        REDIRECTED_AS,
    )
    found = sa.select(*columns).select_from(OUTBOX).where(MESSAGE.c.id == id)
    row = connection.execute(found).first()
    if row is None or row.kind != Kind.REQUEST or row.source in _OTHERS or row.status not in _OVER:
        return None
    if row.closed or row.lost_at or row.redirected_as:
        return None
    missed = _missed(connection, id)
    if not missed:
        return None
    final = row.source == REDIRECT or row.intent == PURGED
    return Lost(missed=missed, message_id=row.message_id, expires_at=row.expires_at, final=final)


def came_back(connection: sa.Connection, ids: Sequence[uuid.UUID]) -> Sequence[uuid.UUID]:
    """Those of ``ids`` of which a report has come already that somebody did not get it."""
    bounced = sa.select(DELIVERY.c.id).where(DELIVERY.c.returned == Status.BOUNCED)
    return connection.scalars(bounced.where(DELIVERY.c.id.in_(ids))).all() if ids else ()


def note(connection: sa.Connection, id: uuid.UUID, now: datetime) -> None:
    """The request ``id`` cannot go to the default To: tell an administrator."""
    connection.execute(sa.update(DELIVERY).where(DELIVERY.c.id == id).values(lost_at=now))


def count(connection: sa.Connection, now: datetime, most: int) -> int:
    """How many requests were lost within a day and not dealt with since, up to ``most``."""
    since = sa.select(DELIVERY.c.id).where(
        DELIVERY.c.lost_at > now - LATELY,
        DELIVERY.c.closed.is_(None),
        ~sa.exists().where(_AGAIN.c.resend_of == DELIVERY.c.id),
    )
    counted = sa.select(sa.func.count()).select_from(since.limit(most).subquery())
    return connection.scalar(counted) or 0


def _missed(connection: sa.Connection, id: uuid.UUID) -> Sequence[Missed]:
    """Those who did not get the message ``id``; nobody if anybody has got it, or still may."""
    columns = RECIPIENT.c
    rows = connection.execute(
        sa.select(
            columns.position,
            columns.address,
            columns.returned,
            columns.report,
            OWN_STATUS.label("status"),
            REPLY.label("reply"),
        )
        .join_from(RECIPIENT, DELIVERY, DELIVERY.c.id == columns.message_id)
        .where(columns.message_id == id)
        .order_by(columns.position)
    ).all()
    missed = [row for row in rows if row.status == Status.FAILED or _bounced(row)]
    passed_over = (Status.SUPPRESSED, Status.CANCELLED)
    if len(missed) < sum(row.status not in passed_over for row in rows):
        return ()
    bounced = {row.position for row in missed if row.status != Status.FAILED}
    if bounced & _reached(connection, id):
        return ()
    return [
        Missed(row.address, (row.report if _bounced(row) else row.reply) or "")
        for row in missed
        if row.address != ERASED
    ]


def _bounced(row: Any) -> bool:
    return bool(row.status == Status.SENT and row.returned == Status.BOUNCED)


def _reached(connection: sa.Connection, id: uuid.UUID) -> set[int]:
    """The places of recipients where only somebody behind the address has not got it.

    The same address was delivered to, or passed on to others.
    """
    entries = [entry for report in reports_of(connection, id) for entry in report.entries]
    alive = {e.position for e in entries if e.state in (Status.DELIVERED, Status.PASSED_ON)}
    own = {e.position for e in entries if e.state is Status.BOUNCED and not e.behind}
    return {place for place in alive - own if place is not None}
