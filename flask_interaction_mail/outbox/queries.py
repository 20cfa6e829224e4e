"""Messages as the panel and the command line show them. Nothing here writes."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from ..messages.route import RouteStep
from ..outcome import Result, Stage
from ..storage.tables import ATTEMPT, DELIVERY, MESSAGE, OUTBOX, RECIPIENT
from ..values import ENDED, Reason, RecipientVerdict, Status
from . import messages, reports, resends
from .in_digest import IN_DIGEST, PARTLY_IN_DIGEST
from .messages import RELAY
from .recipients import recipients_of
from .transitions import CANCELLED, RELEASED

MEMBERS: Final = 100  # messages of a digest that its details name
LISTED = (  # what the list shows of each message, too
    MESSAGE.c.id,
    DELIVERY.c.created_at,
    MESSAGE.c.subject,
    MESSAGE.c.kind,
    DELIVERY.c.status,
    DELIVERY.c.reason,
    DELIVERY.c.detail,
    RELAY,
    DELIVERY.c.returned,
)
_SHOWN = (
    *LISTED,
    MESSAGE.c.source,
    MESSAGE.c.actor,
    # What waits for a relay is looked at again then, and mostly leaves before.
    sa.case((DELIVERY.c.reason.is_distinct_from(Reason.RELAY), DELIVERY.c.due_at)).label("due_at"),
    MESSAGE.c.expires_at,
    DELIVERY.c.finished_at,
    DELIVERY.c.attempts,
    MESSAGE.c.route,
    MESSAGE.c.message_id,
    DELIVERY.c.provider_id,
    MESSAGE.c.envelope_sender,
    DELIVERY.c.size,
    MESSAGE.c.resend_of,
    MESSAGE.c.resent_by,
    IN_DIGEST.label("in_digest"),
    PARTLY_IN_DIGEST.label("partly_in_digest"),
)


# The attempt that stands in the delivery row, as a row of its own would have it.
_ACCEPTED = sa.select(
    DELIVERY.c.id.label("message_id"),
    DELIVERY.c.fence.label("number"),
    DELIVERY.c.started_at,
    DELIVERY.c.finished_at,
    DELIVERY.c.server,
    DELIVERY.c.worker,
    sa.literal(str(Result.ACCEPTED)).label("result"),
    sa.literal(str(Stage.CONTENT)).label("stage"),
    DELIVERY.c.reply,
    sa.null().label("diverted_to"),
    DELIVERY.c.provider_id,
).where(DELIVERY.c.status == Status.SENT, DELIVERY.c.server.is_not(None))


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt, with the columns of its row by name, and the reply to each recipient."""

    row: Mapping[str, Any]
    replies: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Details:
    """All about one message except its content."""

    row: Any
    route: tuple[RouteStep, ...]
    recipients: tuple[RecipientVerdict, ...]
    attempts: tuple[Attempt, ...]
    resends: tuple[resends.Resend, ...]  # newest first
    reports: tuple[reports.Report, ...]  # oldest first
    members: Sequence[Any]  # what went out in it, where it is a digest: id and subject
    has_content: bool

    @property
    def may_cancel(self) -> bool:
        """Whether it can still be cancelled."""
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


def details(connection: sa.Connection, id: uuid.UUID) -> Details | None:
    """All about the message ``id``; None if there is none."""
    row = connection.execute(
        sa.select(*_SHOWN, MESSAGE.c.content.is_not(None).label("has_content"))
        .select_from(OUTBOX)
        .where(MESSAGE.c.id == id)
    ).first()
    if row is None:
        return None
    recipients = recipients_of(connection, [id]).get(id, ())
    return Details(
        row=row,
        route=messages.read_steps(row.route),
        recipients=recipients,
        attempts=_attempts(connection, id, recipients),
        resends=resends.resends_of(connection, id),
        reports=reports.reports_of(connection, id),
        members=_members(connection, id) if row.source == "digest" else (),
        has_content=bool(row.has_content),
    )


def stored(connection: sa.Connection, id: uuid.UUID) -> tuple[bytes | None, str] | None:
    """Content and intent of the message ``id``; None if there is none."""
    row = connection.execute(
        sa.select(MESSAGE.c.content, MESSAGE.c.intent).where(MESSAGE.c.id == id)
    ).first()
    return None if row is None else (row.content, row.intent)


def _members(connection: sa.Connection, digest: uuid.UUID) -> Sequence[Any]:
    in_it = sa.select(RECIPIENT.c.message_id).where(RECIPIENT.c.digest_id == digest)
    named = sa.select(MESSAGE.c.id, MESSAGE.c.subject).where(MESSAGE.c.id.in_(in_it))
    return connection.execute(named.order_by(MESSAGE.c.id).limit(MEMBERS + 1)).all()


def _attempts(
    connection: sa.Connection, id: uuid.UUID, recipients: Iterable[RecipientVerdict]
) -> tuple[Attempt, ...]:
    rows: Sequence[Any] = connection.execute(
        sa.select(*ATTEMPT.c).where(ATTEMPT.c.message_id == id).order_by(ATTEMPT.c.number)
    ).all()
    attempts = [Attempt(row=row._mapping, replies=json.loads(row.verdicts)) for row in rows]
    if accepted := connection.execute(_ACCEPTED.where(DELIVERY.c.id == id)).first():
        replies = {to.address: to.reply for to in recipients if to.reply is not None}
        row = {**accepted._mapping, "verdicts": json.dumps(replies)}
        attempts.append(Attempt(row=row, replies=replies))
    return tuple(attempts)
