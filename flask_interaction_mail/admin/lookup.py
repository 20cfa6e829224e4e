"""What the pages of the outbox show, read from the tables. Nothing here writes."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from .. import outbox
from ..models import AttemptRow, MessageRow
from ..values import RecipientVerdict, Status
from .filters import Filters, place_text

PAGE = 50  # messages
BATCH = 500  # messages of an export that are read at once
_HEAD = 2048  # bytes of a message; From stands among its first fields
_LISTED = (
    MessageRow.id,
    MessageRow.created_at,
    MessageRow.subject,
    MessageRow.kind,
    MessageRow.status,
    MessageRow.reason,
    MessageRow.detail,
)
_EXPORTED = (
    *_LISTED,
    MessageRow.finished_at,
    MessageRow.attempts,
    MessageRow.message_id,
    sa.func.substr(MessageRow.content, 1, _HEAD, type_=sa.LargeBinary()).label("head"),
)
_SHOWN = (
    *_LISTED,
    MessageRow.source,
    MessageRow.actor,
    MessageRow.due_at,
    MessageRow.expires_at,
    MessageRow.finished_at,
    MessageRow.attempts,
    MessageRow.route,
    MessageRow.message_id,
    MessageRow.envelope_sender,
    MessageRow.size,
    MessageRow.resend_of,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One line of the list."""

    row: Any
    recipients: tuple[RecipientVerdict, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some lines of the list, newest first; ``older`` is the place of the next page, or ""."""

    lines: tuple[Listed, ...]
    older: str


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
    resent_as: tuple[uuid.UUID, ...]
    has_content: bool

    @property
    def may_cancel(self) -> bool:
        """Whether it can still be called back."""
        return self.row.status in outbox.CANCELLABLE

    @property
    def may_release(self) -> bool:
        """Whether it is held and could leave as it is."""
        return self.row.status == Status.HELD and self.has_content

    @property
    def may_resend(self) -> bool:
        """Whether nothing more happens to it by itself."""
        return Status(self.row.status).final


def page(connection: sa.Connection, filters: Filters) -> Page:
    """A page of the list."""
    return _listing(connection, filters, _LISTED, PAGE)


def batch(connection: sa.Connection, filters: Filters) -> Page:
    """A longer page, with what an export says of each message."""
    return _listing(connection, filters, _EXPORTED, BATCH)


def _listing(
    connection: sa.Connection, filters: Filters, columns: Sequence[Any], size: int
) -> Page:
    rows = connection.execute(
        sa.select(*columns)
        .where(*filters.conditions())
        .order_by(MessageRow.created_at.desc(), MessageRow.id.desc())
        .limit(size + 1)
    ).all()
    shown = rows[:size]
    recipients = outbox.recipients_of(connection, [row.id for row in shown])
    return Page(
        lines=tuple(Listed(row=row, recipients=recipients.get(row.id, ())) for row in shown),
        older=place_text((shown[-1].created_at, shown[-1].id)) if len(rows) > size else "",
    )


def details(connection: sa.Connection, id: uuid.UUID) -> Details | None:
    """All about the message ``id``; None if there is none."""
    row = connection.execute(
        sa.select(*_SHOWN, MessageRow.content.is_not(None).label("has_content")).where(
            MessageRow.id == id
        )
    ).first()
    if row is None:
        return None
    return Details(
        row=row,
        route=outbox.read_route(row.route),
        recipients=outbox.recipients_of(connection, [id]).get(id, ()),
        attempts=_attempts(connection, id),
        resent_as=_resent_as(connection, id),
        has_content=bool(row.has_content),
    )


def stored(connection: sa.Connection, id: uuid.UUID) -> tuple[bytes | None, str] | None:
    """Content and intent of the message ``id``; None if there is none."""
    row = connection.execute(
        sa.select(MessageRow.content, MessageRow.intent).where(MessageRow.id == id)
    ).first()
    return None if row is None else (row.content, row.intent)


def _attempts(connection: sa.Connection, id: uuid.UUID) -> tuple[Attempt, ...]:
    rows: Sequence[Any] = connection.execute(
        sa.select(*AttemptRow.__table__.c)
        .where(AttemptRow.message_id == id)
        .order_by(AttemptRow.number)
    ).all()
    return tuple(Attempt(row=row, replies=json.loads(row.verdicts)) for row in rows)


def _resent_as(connection: sa.Connection, id: uuid.UUID) -> tuple[uuid.UUID, ...]:
    found = connection.scalars(
        sa.select(MessageRow.id)
        .where(MessageRow.resend_of == id)
        .order_by(MessageRow.created_at)
        .limit(20)
    )
    return tuple(found)
