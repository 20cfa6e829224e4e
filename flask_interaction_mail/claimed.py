"""What a worker has claimed, and what it says about it afterwards."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from .models import MESSAGE, RECIPIENT
from .outcome import Delivery
from .transport.base import Envelope
from .values import Reason, Status

OPEN = (Status.QUEUED, Status.DEFERRED)
# What drivers and types raise at a value that does not belong into its column.
_UNREADABLE = (ValueError, TypeError, LookupError, sa.exc.StatementError)


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


def still_claimed(one: Claimed) -> sa.ColumnElement[bool]:
    """The fencing token: a claim that was lost meanwhile has another one."""
    return sa.and_(
        MESSAGE.c.id == one.id, MESSAGE.c.fence == one.fence, MESSAGE.c.status == Status.SENDING
    )


def load(
    connection: sa.Connection, ids: Sequence[uuid.UUID]
) -> tuple[list[Claimed], dict[uuid.UUID, str]]:
    """The messages with these ids in this order, and for each that cannot be sent the reason.

    One damaged row does not take the others with it.
    """
    try:
        return _load(connection, ids)
    except _UNREADABLE as error:
        if len(ids) == 1:
            return [], {ids[0]: f"its row cannot be read ({type(error).__name__})"}
    claimed: list[Claimed] = []
    damaged: dict[uuid.UUID, str] = {}
    for id in ids:
        one, problem = load(connection, [id])
        claimed += one
        damaged |= problem
    return claimed, damaged


def _load(
    connection: sa.Connection, ids: Sequence[uuid.UUID]
) -> tuple[list[Claimed], dict[uuid.UUID, str]]:
    open_recipients, refused = _recipients(connection, ids)
    claimed: list[Claimed] = []
    damaged: dict[uuid.UUID, str] = {}
    for row in _rows(connection, ids):
        addresses = open_recipients.get(row.id, ())
        if not row.content or not addresses:
            damaged[row.id] = "it has no content" if addresses else "nobody is left to send it to"
            continue
        claimed.append(_claimed(row, addresses, refused_before=row.id in refused))
    place = {id: number for number, id in enumerate(ids)}
    return sorted(claimed, key=lambda one: place[one.id]), damaged


def _recipients(
    connection: sa.Connection, ids: Sequence[uuid.UUID]
) -> tuple[dict[uuid.UUID, list[str]], set[uuid.UUID]]:
    """Who is still to be reached by each message, and which messages somebody refused."""
    open_recipients: dict[uuid.UUID, list[str]] = {}
    refused: set[uuid.UUID] = set()
    for message_id, address, status in connection.execute(
        sa.select(RECIPIENT.c.message_id, RECIPIENT.c.address, RECIPIENT.c.status)
        .where(RECIPIENT.c.message_id.in_(ids))
        .order_by(RECIPIENT.c.message_id, RECIPIENT.c.position)
    ):
        if status in OPEN:
            open_recipients.setdefault(message_id, []).append(address)
        elif status == Status.FAILED:
            refused.add(message_id)
    return open_recipients, refused


def _rows(connection: sa.Connection, ids: Sequence[uuid.UUID]) -> Iterable[sa.Row[Any]]:
    columns = MESSAGE.c
    return connection.execute(
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
        ).where(columns.id.in_(ids))
    )


def _claimed(row: Any, addresses: Iterable[str], *, refused_before: bool) -> Claimed:
    return Claimed(
        id=row.id,
        fence=row.fence,
        attempts=row.attempts,
        created_at=row.created_at,
        expires_at=row.expires_at,
        source=row.source,
        refused_before=refused_before,
        envelope=Envelope(
            sender=row.envelope_sender or "",
            recipients=tuple(dict.fromkeys(addresses)),  # one RCPT per mailbox, however often named
            content=row.content,
            smtputf8=bool(row.smtputf8),
        ),
    )
