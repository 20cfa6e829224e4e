"""A message that is about to be stored: its id and its rows."""

from __future__ import annotations

import json
import secrets
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from .. import clock
from ..text import storable
from ..values import Notification, Party, Reason, RecipientVerdict, Status
from .intent import Intent
from .route import RouteStep

SUBJECT_LIMIT: Final = 998  # characters of subject and sender in a row; the mail has all
_RANDOM = 0xFFF << 64 | (1 << 62) - 1  # the random bits of an id
_KEYS = uuid.UUID("3d5d1cf4-6d1e-4f0c-9d0e-52b3c5b1a0f6")


def id_of_key(key: str, number: int = 0) -> uuid.UUID:
    """The id of the message with this key after ``number`` earlier ones.

    Two processes that use one key at the same time so mean the same row.
    """
    first = uuid.uuid5(_KEYS, key)
    return uuid.uuid5(first, str(number)) if number else first


def earlier(key: str | None, number: int) -> uuid.UUID | None:
    """The id of the previous message with ``key``; None for the first one, or without a key."""
    return id_of_key(key, number - 1) if key is not None and number else None


def new_id() -> uuid.UUID:
    """A new id that grows with time (RFC 9562 §5.7), so that rows are added at an index's end."""
    milliseconds = int(datetime.now(UTC).timestamp() * 1000) << 80
    version, variant = 7 << 76, 2 << 62
    return uuid.UUID(int=milliseconds | version | variant | secrets.randbits(80) & _RANDOM)


class NewMessage(NamedTuple):
    """A message that is about to be stored; times are naive UTC.

    ``stored_intent`` is the intent as JSON. It is written when the message is made, so that an
    intent that cannot be stored fails the call and not the host's commit.
    """

    id: uuid.UUID
    origin: uuid.UUID
    intent: Intent
    stored_intent: str
    created_at: datetime
    due_at: datetime
    status: Status = Status.QUEUED
    reason: Reason | None = None
    detail: str | None = None
    recipients: tuple[RecipientVerdict, ...] = ()
    route: tuple[RouteStep, ...] = ()
    message_id: str | None = None
    sender: str | None = None  # From, for people
    envelope_sender: str | None = None
    smtputf8: bool = False
    content: bytes | None = None
    expires_at: datetime | None = None
    key: str | None = None
    pair: str | None = None
    actor: str | None = None
    resend_of: uuid.UUID | None = None
    key_number: int = 0
    resent_by: str | None = None

    def snapshot(self) -> Notification:
        """The message as the host sees it."""
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
            priority=self.intent.priority,
            metadata=dict(self.intent.metadata),
        )

    def row(self) -> dict[str, Any]:
        """Its row in the message table, in the order of the columns, with the content last."""
        return {
            "id": self.id,
            "origin": self.origin,
            "key": self.key,
            "pair": self.pair,
            "kind": self.intent.kind,
            "source": self.intent.source,
            "actor": self.actor,
            "created_at": self.created_at,
            "expires_at": self.expires_at,
            "subject": storable(self.intent.subject)[:SUBJECT_LIMIT],
            "intent": self.stored_intent,
            "route": json.dumps([step.to_json() for step in self.route]),
            "message_id": self.message_id,
            "sender": self.sender and storable(self.sender)[:SUBJECT_LIMIT],
            "envelope_sender": self.envelope_sender,
            "smtputf8": self.smtputf8,
            "resend_of": self.resend_of,
            "key_number": self.key_number,
            "resent_by": self.resent_by,
            "content": self.content,
        }

    def delivery_row(self) -> dict[str, Any]:
        """Its row in the delivery table."""
        return {
            "id": self.id,
            "status": self.status,
            "created_at": self.created_at,
            "priority": self.intent.priority.rank,
            "attempts": 0,
            "fence": 0,
            "lost_leases": 0,
            "size": len(self.content or b""),
            "reason": self.reason,
            "detail": self.detail,
            "due_at": self.due_at if self.status is Status.QUEUED else None,
            "finished_at": self.created_at if self.status.final else None,
        }

    def recipient_rows(self) -> list[dict[str, Any]]:
        """Its rows in the recipient table."""
        return [
            {
                "message_id": self.id,
                "position": position,
                "field": recipient.field,
                "name": recipient.name,
                "address": recipient.address,
                "status": recipient.status,
                "reply": recipient.reply,
            }
            for position, recipient in enumerate(self.recipients)
        ]

    def metadata_rows(self) -> list[dict[str, Any]]:
        """Its rows in the table of metadata."""
        return [
            {"message_id": self.id, "name": name, "value": value}
            for name, value in self.intent.metadata
        ]


def with_status(message: NewMessage, status: Status, reason: Reason) -> NewMessage:
    """``message`` with another status, for itself and its queued recipients."""
    return message._replace(
        status=status,
        reason=reason,
        recipients=tuple(
            replace(recipient, status=status) if recipient.status is Status.QUEUED else recipient
            for recipient in message.recipients
        ),
    )


class Original(NamedTuple):
    """A message to resend; ``number`` counts the messages with its key so far."""

    intent: Intent
    pair: str | None
    actor: str | None
    key: str | None
    number: int


def elsewhere(original: Original, address: str) -> Original:
    """``original`` as a copy for ``address`` alone.

    It stands for itself: whoever asks for the key, the pair of contacts or the digest of the
    original does not mean the copy.
    """
    source = "resend" if original.intent.source == "digest" else original.intent.source
    intent = original.intent._replace(
        to=(Party("", address),), cc=(), bcc=(), locations=(), source=source
    )
    return original._replace(intent=intent, pair=None, key=None, number=0)


def with_step(message: NewMessage, step: RouteStep) -> NewMessage:
    """``message`` with ``step`` ahead of its route."""
    return message._replace(route=(step, *message.route))
