"""The outbox as a queue: claim with a lease, renew, give back, record.

A claim takes a message for a limited time and raises its *fence*; every later write names the
fence it was claimed with, so a worker that was away too long changes nothing. Every function
works on the connection that it is given and leaves the commit to its owner; times are naive UTC.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from .models import ATTEMPT, MESSAGE, RECIPIENT
from .outbox import forget_flask_mail
from .outcome import Delivery
from .transport.base import Envelope
from .values import Reason, Status

_OPEN = (Status.QUEUED, Status.DEFERRED)
_MAX_LOST_LEASES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A message that this worker may send until its lease ends."""

    id: uuid.UUID
    fence: int
    attempts: int  # counted attempts so far
    created_at: datetime
    expires_at: datetime | None
    source: str
    refused_before: bool  # an earlier attempt failed for good for some recipient
    envelope: Envelope


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is to be written down about one claimed message."""

    claimed: Claimed
    status: Status
    reason: Reason | None
    detail: str | None
    due_at: datetime
    counted: bool  # whether the attempt counts against the schedule
    recipients: Mapping[str, tuple[Status, str | None]]  # address -> status, reply
    attempt: Attempt | None


@dataclass(frozen=True, slots=True, kw_only=True)
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
        delivery: Delivery,
        *,
        started_at: datetime,
        finished_at: datetime,
        server: str,
        diverted_to: str | None,
    ) -> Attempt:
        """The attempt that came to ``delivery``."""
        return cls(
            started_at=started_at,
            finished_at=finished_at,
            server=server,
            result=delivery.result,
            stage=delivery.stage,
            reply=str(delivery.reply) if delivery.reply else delivery.note,
            replies={address: str(reply) for address, reply in delivery.verdicts.items()},
            diverted_to=diverted_to,
        )


def recover(connection: sa.Connection, now: datetime, *, hold: bool) -> None:
    """Take back what workers that died, or stood still too long, had claimed.

    Such a message may have left already. With ``hold`` it waits for an administrator; else it
    is sent again, the same bytes under the same Message-ID, at most three times.
    """
    late = sa.and_(MESSAGE.c.status == Status.SENDING, MESSAGE.c.lease_until < now)
    lost = MESSAGE.c.lost_leases + 1
    common = {"lost_leases": lost, "lease_until": None, "worker": None}
    if hold:
        values: dict[str, Any] = {
            "status": Status.HELD,
            "reason": Reason.AMBIGUOUS,
            "detail": "The worker stopped while it was sending: it may have left, or not.",
        }
        connection.execute(sa.update(MESSAGE).where(late).values(**common, **values))
        return
    connection.execute(
        sa.update(MESSAGE)
        .where(late, lost >= _MAX_LOST_LEASES)
        .values(
            **common,
            status=Status.HELD,
            reason=Reason.POISON,
            detail="Three workers in a row stopped while they were sending this message.",
        )
    )
    connection.execute(
        sa.update(MESSAGE).where(late).values(**common, status=Status.QUEUED, due_at=now)
    )


def claim(
    connection: sa.Connection, *, limit: int, worker: str, lease: timedelta, now: datetime
) -> list[Claimed]:
    """Take up to ``limit`` due messages for ``lease``; no two workers get the same one."""
    due = (
        sa.select(MESSAGE.c.id)
        .where(MESSAGE.c.due_at <= now)  # NULL unless open: this alone keeps to the index
        .order_by(MESSAGE.c.due_at)
        .limit(limit)
    )
    if connection.dialect.name != "sqlite":
        # Locked rows are another worker's; on SQLite the UPDATE below is the whole transaction.
        due = due.with_for_update(skip_locked=True)
    taken: dict[str, Any] = {
        "status": Status.SENDING,
        "due_at": None,
        "fence": MESSAGE.c.fence + 1,
        "lease_until": now + lease,
        "worker": worker,
    }
    if connection.dialect.name in ("mysql", "mariadb"):
        ids = list(connection.scalars(due))  # no UPDATE … RETURNING, and no LIMIT in a subquery
        connection.execute(sa.update(MESSAGE).where(MESSAGE.c.id.in_(ids)).values(**taken))
    else:
        ids = list(
            connection.scalars(
                sa.update(MESSAGE)
                .where(MESSAGE.c.id.in_(due.scalar_subquery()))
                .values(**taken)
                .returning(MESSAGE.c.id)
            )
        )
    return _load(connection, ids)


def _load(connection: sa.Connection, ids: Sequence[uuid.UUID]) -> list[Claimed]:
    open_recipients: dict[uuid.UUID, list[str]] = {}
    refused: set[uuid.UUID] = set()
    for message_id, address, status in connection.execute(
        sa.select(RECIPIENT.c.message_id, RECIPIENT.c.address, RECIPIENT.c.status)
        .where(RECIPIENT.c.message_id.in_(ids))
        .order_by(RECIPIENT.c.message_id, RECIPIENT.c.position)
    ):
        if status in _OPEN:
            open_recipients.setdefault(message_id, []).append(address)
        elif status == Status.FAILED:
            refused.add(message_id)
    columns = MESSAGE.c
    rows = connection.execute(
        sa.select(
            columns.id,
            columns.fence,
            columns.attempts,
            columns.created_at,
            columns.expires_at,
            columns.source,
            columns.envelope_sender,
            columns.smtputf8,
            columns.content,
        )
        .where(columns.id.in_(ids))
        .order_by(columns.created_at, columns.id)
    )
    return [
        Claimed(
            id=row.id,
            fence=row.fence,
            attempts=row.attempts,
            created_at=row.created_at,
            expires_at=row.expires_at,
            source=row.source,
            refused_before=row.id in refused,
            envelope=Envelope(
                sender=row.envelope_sender or "",
                # One RCPT per mailbox, however many header fields name it.
                recipients=tuple(dict.fromkeys(open_recipients.get(row.id, ()))),
                content=row.content or b"",
                smtputf8=bool(row.smtputf8),
            ),
        )
        for row in rows
    ]


def renew(
    connection: sa.Connection, claims: Iterable[Claimed], *, lease: timedelta, now: datetime
) -> None:
    """Extend the leases of ``claims`` that are still this worker's."""
    for one in claims:
        connection.execute(
            sa.update(MESSAGE).where(_still_claimed(one)).values(lease_until=now + lease)
        )


def give_back(
    connection: sa.Connection, claims: Iterable[Claimed], *, due_at: datetime, detail: str | None
) -> None:
    """Return ``claims`` to the queue without an attempt; ``detail`` says why they wait."""
    for one in claims:
        connection.execute(
            sa.update(MESSAGE)
            .where(_still_claimed(one))
            .values(
                status=Status.DEFERRED if one.attempts else Status.QUEUED,
                due_at=due_at,
                lease_until=None,
                worker=None,
                detail=detail,
            )
        )


def record(
    connection: sa.Connection, verdicts: Iterable[Verdict], *, worker: str, now: datetime
) -> list[Verdict]:
    """Write down what happened; gives those verdicts whose claim was still in force."""
    kept = [verdict for verdict in verdicts if _record_message(connection, verdict, now)]
    for verdict in kept:
        for address, (status, reply) in verdict.recipients.items():
            connection.execute(
                sa.update(RECIPIENT)
                .where(
                    RECIPIENT.c.message_id == verdict.claimed.id,
                    RECIPIENT.c.address == address,
                    RECIPIENT.c.status.in_(_OPEN),
                )
                .values(status=status, reply=reply)
            )
    attempts = [_attempt_row(verdict, worker) for verdict in kept if verdict.attempt]
    if attempts:
        connection.execute(sa.insert(ATTEMPT), attempts)
    forget_flask_mail(connection, [verdict.claimed.id for verdict in kept])
    return kept


def _record_message(connection: sa.Connection, verdict: Verdict, now: datetime) -> bool:
    changed = connection.execute(
        sa.update(MESSAGE)
        .where(_still_claimed(verdict.claimed))
        .values(
            status=verdict.status,
            reason=verdict.reason,
            detail=verdict.detail,
            due_at=verdict.due_at if verdict.status is Status.DEFERRED else None,
            attempts=MESSAGE.c.attempts + (1 if verdict.counted else 0),
            finished_at=now if verdict.status.final else None,
            lease_until=None,
            worker=None,
        )
    )
    return changed.rowcount == 1


def _attempt_row(verdict: Verdict, worker: str) -> dict[str, Any]:
    attempt = verdict.attempt
    assert attempt is not None  # noqa: S101 - the caller has just looked
    return {
        "message_id": verdict.claimed.id,
        "number": verdict.claimed.fence,
        "started_at": attempt.started_at,
        "finished_at": attempt.finished_at,
        "server": attempt.server,
        "worker": worker,
        "result": attempt.result,
        "stage": attempt.stage,
        "reply": attempt.reply,
        "verdicts": json.dumps(attempt.replies),
        "diverted_to": attempt.diverted_to,
    }


def _still_claimed(one: Claimed) -> sa.ColumnElement[bool]:
    # The fencing token: a claim that was lost meanwhile has another one.
    return sa.and_(
        MESSAGE.c.id == one.id, MESSAGE.c.fence == one.fence, MESSAGE.c.status == Status.SENDING
    )


def next_due(connection: sa.Connection) -> datetime | None:
    """When the next open message becomes due, None where none is open."""
    due: datetime | None = connection.scalar(sa.select(sa.func.min(MESSAGE.c.due_at)))
    return due
