"""The outbox as a place to keep messages: put in (see ``insert``), look up, call back.

Every function works on the connection that it is given and leaves the commit to its owner.
What happens between ``queued`` and a final status is in ``claim``.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from .. import clock
from ..messages.intent import PURGED
from ..messages.message import earlier
from ..messages.route import RouteStep
from ..storage.tables import MESSAGE as MESSAGE
from ..storage.tables import RECIPIENT as RECIPIENT
from ..values import Notification, Reason, RecipientVerdict, Status
from .insert import insert as insert

# What an administrator or a host may still call back, or let go again.
CANCELLABLE = (Status.QUEUED, Status.DEFERRED, Status.HELD)
FINAL = (Status.SENT, Status.FAILED, Status.SUPPRESSED, Status.CANCELLED)  # nothing waits any more


def has_message_id(connection: sa.Connection, message_id: str) -> bool:
    """Whether a message bears ``message_id``."""
    found = sa.select(MESSAGE.c.id).where(MESSAGE.c.message_id == message_id).limit(1)
    return connection.scalar(found) is not None


def load(connection: sa.Connection, ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, Notification]:
    """Snapshots of the messages with these ids, as far as they exist."""
    wanted = list(ids)
    columns = MESSAGE.c
    rows = connection.execute(
        sa.select(
            columns.id,
            columns.message_id,
            columns.kind,
            columns.key,
            columns.key_number,
            columns.status,
            columns.reason,
            columns.subject,
            columns.route,
            columns.created_at,
        ).where(columns.id.in_(wanted))
    ).all()
    recipients = recipients_of(connection, wanted)
    return {row.id: _snapshot(row, recipients.get(row.id, ())) for row in rows}


def recipients_of(
    connection: sa.Connection, ids: Iterable[uuid.UUID]
) -> dict[uuid.UUID, tuple[RecipientVerdict, ...]]:
    """The recipients of each of these messages, in their order."""
    found: dict[uuid.UUID, list[RecipientVerdict]] = {}
    for row in connection.execute(
        sa.select(RECIPIENT)
        .where(RECIPIENT.c.message_id.in_(list(ids)))
        .order_by(RECIPIENT.c.message_id, RECIPIENT.c.position)
    ):
        found.setdefault(row.message_id, []).append(
            RecipientVerdict(
                address=row.address,
                name=row.name,
                field=row.field,
                status=Status(row.status),
                reply=row.reply,
            )
        )
    return {id: tuple(verdicts) for id, verdicts in found.items()}


def _snapshot(row: Any, recipients: tuple[RecipientVerdict, ...]) -> Notification:
    return Notification(
        id=row.id,
        message_id=row.message_id,
        kind=row.kind,
        key=row.key,
        status=Status(row.status),
        reason=Reason.stored(row.reason),
        subject=row.subject,
        recipients=recipients,
        route=read_route(row.route),
        created_at=clock.from_db(row.created_at),
        earlier=earlier(row.key, row.key_number),
    )


def read_route(text: str) -> tuple[str, ...]:
    """The sentences of a stored route."""
    return tuple(str(RouteStep.from_json(step)) for step in json.loads(text))


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """The latest request for a pair by one requester."""

    id: uuid.UUID
    status: Status
    reason: Reason | None
    message_id: str | None
    created_at: datetime


_LATEST_REQUEST: Final = (
    sa.select(
        MESSAGE.c.id,
        MESSAGE.c.status,
        MESSAGE.c.reason,
        MESSAGE.c.message_id,
        MESSAGE.c.created_at,
    )
    .where(
        MESSAGE.c.pair == sa.bindparam("pair"),
        MESSAGE.c.actor.is_not_distinct_from(sa.bindparam("actor")),
    )
    .order_by(MESSAGE.c.created_at.desc(), MESSAGE.c.id.desc())
    .limit(1)
)


def latest_request(connection: sa.Connection, pair: str, actor: str | None) -> Earlier | None:
    """The newest merge request for ``pair`` that ``actor`` caused, if there is one."""
    row = connection.execute(_LATEST_REQUEST, {"pair": pair, "actor": actor}).first()
    if row is None:
        return None
    return Earlier(
        id=row.id,
        status=Status(row.status),
        reason=Reason.stored(row.reason),
        message_id=row.message_id,
        created_at=row.created_at,
    )


def waiting_for_pair(connection: sa.Connection, pair: str) -> list[uuid.UUID]:
    """The requests for ``pair`` that have not left yet."""
    return list(
        connection.scalars(
            sa.select(MESSAGE.c.id).where(MESSAGE.c.pair == pair, MESSAGE.c.status.in_(CANCELLABLE))
        )
    )


def cancel(
    connection: sa.Connection, ids: Iterable[uuid.UUID], reason: Reason, now: datetime
) -> list[uuid.UUID]:
    """Call back those of ``ids`` that have not left; gives the ids that were called back.

    With a digest all that is in it is called back.
    """
    cancelled = []
    for id in sorted(ids):
        changed = connection.execute(
            sa.update(MESSAGE)
            .where(MESSAGE.c.id == id, MESSAGE.c.status.in_(CANCELLABLE))
            .values(
                status=Status.CANCELLED, reason=reason, detail=None, due_at=None, finished_at=now
            )
        )
        if changed.rowcount == 1:
            cancelled.append(id)
    if cancelled:
        forget_flask_mail(connection, cancelled)
        connection.execute(
            sa.update(RECIPIENT)
            .where(RECIPIENT.c.message_id.in_(cancelled), RECIPIENT.c.status.in_(CANCELLABLE))
            .values(status=Status.CANCELLED)
        )
        cancelled += _cancel_gathered(connection, cancelled, now)
    return cancelled


def _cancel_gathered(
    connection: sa.Connection, ids: Sequence[uuid.UUID], now: datetime
) -> list[uuid.UUID]:
    digest = sa.and_(MESSAGE.c.id.in_(ids), MESSAGE.c.source == "digest")
    digests = connection.scalars(sa.select(MESSAGE.c.id).where(digest)).all()
    if not digests:
        return []
    from . import digests as gathering  # late: for those who deliver

    gathered = (
        gathering.apply_outcome(connection, id, Status.CANCELLED, None, now) for id in digests
    )
    return [id for ids in gathered for id in ids]


def forget_flask_mail(connection: sa.Connection, ids: Sequence[uuid.UUID]) -> None:
    """Drop the bodies of those messages among ``ids`` that came through Flask-Mail and are done.

    What other extensions send holds links that let somebody in, such as password resets.
    """
    connection.execute(
        sa.update(MESSAGE)
        .where(
            MESSAGE.c.id.in_(ids),
            MESSAGE.c.source == "flask_mail",
            MESSAGE.c.status.in_((Status.SENT, Status.FAILED, Status.CANCELLED)),
        )
        .values(intent=PURGED, content=None)
    )


def release(connection: sa.Connection, ids: Iterable[uuid.UUID], now: datetime) -> list[uuid.UUID]:
    """Let go what is held, unchanged: same bytes, same Message-ID, due at once."""
    released = []
    for id in sorted(ids):
        changed = connection.execute(
            sa.update(MESSAGE)
            .where(
                MESSAGE.c.id == id, MESSAGE.c.status == Status.HELD, MESSAGE.c.content.is_not(None)
            )
            .values(
                status=Status.QUEUED,
                reason=None,
                detail=None,
                due_at=now,
                lost_leases=0,
                finished_at=None,
            )
        )
        if changed.rowcount == 1:
            released.append(id)
    if released:
        connection.execute(
            sa.update(RECIPIENT)
            .where(RECIPIENT.c.message_id.in_(released), RECIPIENT.c.status == Status.HELD)
            .values(status=Status.QUEUED)
        )
    return released
