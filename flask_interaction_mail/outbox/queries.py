"""Messages as the panel and the command line show them. Nothing here writes."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ..outcome import Result, Stage
from ..storage.tables import OUTBOX, AttemptRow, DeliveryRow, MessageRow
from ..values import ENDED, RecipientVerdict, Status
from . import messages, resends
from .in_digest import IN_DIGEST, PARTLY_IN_DIGEST
from .recipients import recipients_of
from .transitions import CANCELLED, RELEASED

LISTED = (  # what the list shows of each message, too
    MessageRow.id,
    DeliveryRow.created_at,
    MessageRow.subject,
    MessageRow.kind,
    DeliveryRow.status,
    DeliveryRow.reason,
    DeliveryRow.detail,
)
_SHOWN = (
    *LISTED,
    MessageRow.source,
    MessageRow.actor,
    DeliveryRow.due_at,
    MessageRow.expires_at,
    DeliveryRow.finished_at,
    DeliveryRow.attempts,
    MessageRow.route,
    MessageRow.message_id,
    MessageRow.envelope_sender,
    DeliveryRow.size,
    MessageRow.resend_of,
    MessageRow.resent_by,
    DeliveryRow.fence,
    DeliveryRow.worker,
    DeliveryRow.started_at,
    DeliveryRow.server,
    DeliveryRow.reply,
    IN_DIGEST.label("in_digest"),
    PARTLY_IN_DIGEST.label("partly_in_digest"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt, with the reply to each recipient."""

    row: Any
    replies: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Details:
    """All about one message except its content."""

    row: Any
    route: tuple[str, ...]
    recipients: tuple[RecipientVerdict, ...]
    attempts: tuple[Attempt, ...]
    resends: tuple[resends.Resend, ...]  # newest first
    has_content: bool

    @property
    def may_cancel(self) -> bool:
        """Whether it can still be called back."""
        return self.row.status in CANCELLED.sources and not self.row.in_digest

    @property
    def may_release(self) -> bool:
        """Whether it is held and could leave as it is."""
        held = self.row.status in RELEASED.sources
        return held and self.has_content and not self.row.in_digest

    @property
    def may_resend(self) -> bool:
        """Whether nothing waits any more."""
        return self.row.status in ENDED and not self.row.partly_in_digest


def newest(connection: sa.Connection, limit: int, *, statuses: Sequence[str] = ()) -> Sequence[Any]:
    """The newest messages, those of ``statuses`` alone if there are any."""
    query = sa.select(
        MessageRow.id,
        DeliveryRow.created_at,
        MessageRow.kind,
        DeliveryRow.status,
        DeliveryRow.reason,
        MessageRow.subject,
    ).select_from(OUTBOX)
    if statuses:
        query = query.where(DeliveryRow.status.in_(statuses))
    newest_first = (DeliveryRow.created_at.desc(), DeliveryRow.id.desc())
    return connection.execute(query.order_by(*newest_first).limit(limit)).all()


def details(connection: sa.Connection, id: uuid.UUID) -> Details | None:
    """All about the message ``id``; None if there is none."""
    row = connection.execute(
        sa.select(*_SHOWN, MessageRow.content.is_not(None).label("has_content"))
        .select_from(OUTBOX)
        .where(MessageRow.id == id)
    ).first()
    if row is None:
        return None
    recipients = recipients_of(connection, [id]).get(id, ())
    return Details(
        row=row,
        route=messages.read_route(row.route),
        recipients=recipients,
        attempts=_attempts(connection, row, recipients),
        resends=resends.resends_of(connection, id),
        has_content=bool(row.has_content),
    )


def stored(connection: sa.Connection, id: uuid.UUID) -> tuple[bytes | None, str] | None:
    """Content and intent of the message ``id``; None if there is none."""
    row = connection.execute(
        sa.select(MessageRow.content, MessageRow.intent).where(MessageRow.id == id)
    ).first()
    return None if row is None else (row.content, row.intent)


def _attempts(
    connection: sa.Connection, message: Any, recipients: Iterable[RecipientVerdict]
) -> tuple[Attempt, ...]:
    rows: Sequence[Any] = connection.execute(
        sa.select(*AttemptRow.__table__.c)
        .where(AttemptRow.message_id == message.id)
        .order_by(AttemptRow.number)
    ).all()
    attempts = [Attempt(row=row, replies=json.loads(row.verdicts)) for row in rows]
    if message.status == Status.SENT and message.server is not None:
        attempts.append(_accepted(message, recipients))
    return tuple(attempts)


def _accepted(message: Any, recipients: Iterable[RecipientVerdict]) -> Attempt:
    """The attempt that stands in the delivery row."""
    row = AttemptRow(
        message_id=message.id,
        number=message.fence,
        started_at=message.started_at,
        finished_at=message.finished_at,
        server=message.server,
        worker=message.worker,
        result=Result.ACCEPTED,
        stage=Stage.CONTENT,
        reply=message.reply,
    )
    replies = {to.address: to.reply for to in recipients if to.reply is not None}
    return Attempt(row=row, replies=replies)
