"""A message on its way into the outbox: its identity and its rows."""

from __future__ import annotations

import json
import secrets
import uuid
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from .. import clock
from ..text import storable
from ..values import Notification, Reason, RecipientVerdict, Status
from .intent import Intent
from .route import RouteStep

SUBJECT_LIMIT: Final = 998  # characters of a subject that its row shows; mail has the whole one
_RANDOM = 0xFFF << 64 | (1 << 62) - 1  # which bits of an id are chance
_KEYS = uuid.UUID("3d5d1cf4-6d1e-4f0c-9d0e-52b3c5b1a0f6")


def id_of_key(key: str, number: int = 0) -> uuid.UUID:
    """The id of the message with this key that ``number`` others had before it.

    So two processes that use one key at once mean one row.
    """
    first = uuid.uuid5(_KEYS, key)
    return uuid.uuid5(first, str(number)) if number else first


def earlier(key: str | None, number: int) -> uuid.UUID | None:
    """The id of the message that had ``key`` before the one with this ``number``."""
    return id_of_key(key, number - 1) if key is not None and number else None


def new_id() -> uuid.UUID:
    """A fresh id that grows with time (RFC 9562 §5.7), so that inserts stay at the index's end."""
    milliseconds = int(datetime.now(UTC).timestamp() * 1000) << 80
    version, variant = 7 << 76, 2 << 62
    return uuid.UUID(int=milliseconds | version | variant | secrets.randbits(80) & _RANDOM)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMessage:
    """A message on its way into the outbox; times are naive UTC.

    ``stored_intent`` is the intent as JSON, written when the message was made: what cannot be
    stored is an error of the call, never of the host's commit.
    """

    id: uuid.UUID
    origin: uuid.UUID
    intent: Intent
    stored_intent: str
    status: Status = Status.QUEUED
    reason: Reason | None = None
    detail: str | None = None
    recipients: tuple[RecipientVerdict, ...] = ()
    route: tuple[RouteStep, ...] = ()
    message_id: str | None = None
    envelope_sender: str | None = None
    smtputf8: bool = False
    content: bytes | None = None
    created_at: datetime
    due_at: datetime
    expires_at: datetime | None = None
    key: str | None = None
    pair: str | None = None
    actor: str | None = None
    resend_of: uuid.UUID | None = None
    key_number: int = 0
    resent_by: str | None = None

    def snapshot(self) -> Notification:
        """What the host gets to see of it."""
        return Notification(
            id=self.id,
            message_id=self.message_id,
            kind=self.intent.kind,
            key=self.key,
            status=self.status,
            reason=self.reason,
            subject=self.intent.subject,
            recipients=self.recipients,
            route=tuple(map(str, self.route)),
            created_at=clock.from_db(self.created_at),
            earlier=earlier(self.key, self.key_number),
        )

    def row(self) -> dict[str, Any]:
        """Its row in the message table."""
        return {
            "id": self.id,
            "origin": self.origin,
            "key": self.key,
            "pair": self.pair,
            "kind": self.intent.kind,
            "source": self.intent.source,
            "actor": self.actor,
            "status": self.status,
            "reason": self.reason,
            "detail": self.detail,
            "created_at": self.created_at,
            "due_at": self.due_at if self.status is Status.QUEUED else None,
            "expires_at": self.expires_at,
            "finished_at": self.created_at if self.status.final else None,
            "attempts": 0,
            "fence": 0,
            "lost_leases": 0,
            "subject": storable(self.intent.subject)[:SUBJECT_LIMIT],
            "intent": self.stored_intent,
            "route": json.dumps([step.to_json() for step in self.route]),
            "message_id": self.message_id,
            "envelope_sender": self.envelope_sender,
            "smtputf8": self.smtputf8,
            "content": self.content,
            "size": len(self.content or b""),
            "resend_of": self.resend_of,
            "key_number": self.key_number,
            "resent_by": self.resent_by,
        }

    def recipient_rows(self) -> list[dict[str, Any]]:
        """Its rows in the recipient table."""
        return [
            {
                "message_id": self.id,
                "position": position,
                "field": one.field,
                "name": one.name,
                "address": one.address,
                "status": one.status,
                "reply": one.reply,
            }
            for position, one in enumerate(self.recipients)
        ]


def with_status(message: NewMessage, status: Status, reason: Reason) -> NewMessage:
    """The same message, with it and its open recipients in another status."""
    return replace(
        message,
        status=status,
        reason=reason,
        recipients=tuple(
            replace(one, status=status) if one.status is Status.QUEUED else one
            for one in message.recipients
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Original:
    """A message that is sent again; ``number`` is that of the next one with its key."""

    intent: Intent
    pair: str | None
    actor: str | None
    key: str | None
    number: int
