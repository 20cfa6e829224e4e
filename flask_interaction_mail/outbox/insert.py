"""A message on its way into the outbox: its identity, its rows, and how they are stored.

Every function works on the connection that it is given and leaves the commit to its owner.
"""

from __future__ import annotations

import json
import secrets
import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from typing import Any, Final

import sqlalchemy as sa

from .. import clock
from ..messages.intent import Intent
from ..messages.route import Step
from ..storage.conflicts import can_conflict, survive
from ..storage.json_rows import document, given
from ..storage.tables import MESSAGE, RECIPIENT
from ..text import storable
from ..values import Notification, Reason, RecipientVerdict, Status

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
    milliseconds = time.time_ns() // 1_000_000 << 80
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
    route: tuple[Step, ...] = ()
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


# MariaDB's drivers send bytes as hexadecimal digits, twice as long; what is ASCII is its own text.
_TEXTUAL: Final = {"content": sa.bindparam("content_as_text", type_=sa.Text())}
# Statements that stay the same object are compiled, and their keys in the cache made, only once.
_ADD_MESSAGES: Final = sa.insert(MESSAGE)
_ADD_TEXTUAL_MESSAGES: Final = _ADD_MESSAGES.values(_TEXTUAL)
_ADD_RECIPIENTS: Final = sa.insert(RECIPIENT)
_ADD_GIVEN_RECIPIENTS: Final = sa.insert(RECIPIENT).from_select(
    list(RECIPIENT.c), sa.select(given(*RECIPIENT.c))
)
_ORIGINS: Final = sa.select(MESSAGE.c.origin).where(MESSAGE.c.id.in_(sa.bindparam("ids")))
# One message with its recipients. For several, psycopg2 would take the recipients of the first.
_ADD_ONE: Final = _ADD_MESSAGES.add_cte(_ADD_GIVEN_RECIPIENTS.cte("recipients"))


def insert(connection: sa.Connection, messages: Sequence[NewMessage]) -> list[NewMessage]:
    """Store ``messages``; gives those that were stored: one whose key is taken is not."""
    fresh = [message for message in messages if message.key is None]
    keyed = _insert_keyed(connection, [message for message in messages if message.key is not None])
    if len(fresh) == 1 and connection.dialect.name == "postgresql":  # only it can
        one = fresh[0]
        connection.execute(_ADD_ONE, one.row() | _as_document(one.recipient_rows()))
        _insert_recipients(connection, keyed)
    else:
        if fresh:
            textual = connection.dialect.name in ("mysql", "mariadb")
            add = _ADD_TEXTUAL_MESSAGES if textual else _ADD_MESSAGES
            connection.execute(add, _rows(connection, fresh))
        _insert_recipients(connection, [*fresh, *keyed])
    return [*fresh, *keyed]


def _rows(connection: sa.Connection, messages: Sequence[NewMessage]) -> list[dict[str, Any]]:
    rows = [message.row() for message in messages]
    if connection.dialect.name in ("mysql", "mariadb"):
        for row in rows:
            content = row.pop("content")
            ascii_only = content is not None and content.isascii()
            row["content_as_text"] = content.decode("ascii") if ascii_only else content
    return rows


def _insert_recipients(connection: sa.Connection, messages: Sequence[NewMessage]) -> None:
    rows = [row for message in messages for row in message.recipient_rows()]
    if not rows:
        return
    if connection.dialect.name == "postgresql":  # each row would be a command by itself there
        connection.execute(_ADD_GIVEN_RECIPIENTS, _as_document(rows))
    else:
        connection.execute(_ADD_RECIPIENTS, rows)


def _as_document(recipients: Iterable[dict[str, Any]]) -> dict[str, str]:
    return document(tuple(row.values()) for row in recipients)


def _insert_keyed(connection: sa.Connection, messages: list[NewMessage]) -> list[NewMessage]:
    if not messages:
        return []
    # One lock order in all processes: two transactions with the same keys cannot deadlock.
    ordered = sorted(messages, key=lambda message: message.id)
    if not can_conflict(connection):
        return _add_keyed(connection, ordered)
    return [one for message in ordered if (one := _add_if_free(connection, message))]


def _add_keyed(connection: sa.Connection, ordered: Sequence[NewMessage]) -> list[NewMessage]:
    connection.execute(_insert_unless_taken(connection.dialect.name), _rows(connection, ordered))
    # rowcount is -1 on psycopg and RETURNING is not in MySQL, so the row says who wrote it.
    winners = set(connection.scalars(_ORIGINS, {"ids": [message.id for message in ordered]}))
    return [message for message in ordered if message.origin in winners]


def _add_if_free(connection: sa.Connection, message: NewMessage) -> NewMessage | None:
    def add() -> bool:
        if connection.dialect.name != "postgresql":
            return bool(_add_keyed(connection, [message]))
        # Not with a second look: at SERIALIZABLE what is read can end the transaction as well.
        adding = _insert_unless_taken("postgresql").returning(MESSAGE.c.id)
        return connection.scalar(adding, message.row()) is not None

    def taken(other: sa.Connection) -> bool:
        return other.scalar(_ORIGINS, {"ids": [message.id]}) is not None

    return message if survive(connection, add, needless=taken) else None


@cache
def _insert_unless_taken(dialect: str) -> Any:
    # A plain unique constraint on the key would break the host's commit. Of the dialects only
    # the one in use is imported: PostgreSQL's alone costs the others 20 ms.
    match dialect:
        case "mysql" | "mariadb":
            from sqlalchemy.dialects import mysql

            adding = mysql.insert(MESSAGE).values(_TEXTUAL)
            return adding.on_duplicate_key_update(id=MESSAGE.c.id)
        case "postgresql":
            from sqlalchemy.dialects import postgresql

            return postgresql.insert(MESSAGE).on_conflict_do_nothing(index_elements=["id"])
        case _:
            from sqlalchemy.dialects import sqlite

            return sqlite.insert(MESSAGE).on_conflict_do_nothing(index_elements=["id"])


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
