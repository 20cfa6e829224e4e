"""Puts messages into the outbox.

Every function works on the connection that it is given and leaves the commit to its owner.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, Final

import sqlalchemy as sa

from ..messages.message import SUBJECT_LIMIT, NewMessage
from ..storage.json_rows import json_table, rows_parameter
from ..storage.limits import DatabaseLimits
from ..storage.tables import MESSAGE, RECIPIENT
from ..storage.write_conflicts import can_conflict, change_or_skip

# MariaDB's drivers send bytes as hexadecimal digits, twice as long; what is ASCII is its own text.
_TEXTUAL: Final = {"content": sa.bindparam("content_as_text", type_=sa.Text())}
# Statements that stay the same object are compiled, and their keys in the cache made, only once.
_ADD_MESSAGES: Final = sa.insert(MESSAGE)
_ADD_TEXTUAL_MESSAGES: Final = _ADD_MESSAGES.values(_TEXTUAL)
_ADD_RECIPIENTS: Final = sa.insert(RECIPIENT)
_OF_RECIPIENTS: Final = [column for column in RECIPIENT.c if column.key != "digest_id"]
_ADD_GIVEN_RECIPIENTS: Final = sa.insert(RECIPIENT).from_select(
    [column.key for column in _OF_RECIPIENTS], sa.select(json_table(*_OF_RECIPIENTS))
)
_ORIGINS: Final = sa.select(MESSAGE.c.origin).where(MESSAGE.c.id.in_(sa.bindparam("ids")))
# One message with its recipients. For several, psycopg2 would take the recipients of the first.
_ADD_ONE: Final = _ADD_MESSAGES.add_cte(_ADD_GIVEN_RECIPIENTS.cte("recipients"))
_NAME: Final = 255  # characters
_DETAIL: Final = 1000


def fitted(message: NewMessage, limits: DatabaseLimits) -> NewMessage:
    """``message`` as a database with these ``limits`` can store it.

    Mail keeps all letters: its bytes are bytes, and the intent is JSON, which can escape them. In
    what is only shown, a letter that the database lacks becomes its number.

    Raises:
        ContentError: its key or the address of a recipient has a letter that the database lacks.
    """
    if limits.encoding is None:
        return message
    limits.check_letters("key", message.key)
    for recipient in message.recipients:
        limits.check_letters("an address", recipient.address)

    def shown(text: str, limit: int = _NAME) -> str:
        return limits.escape(text)[:limit]

    return replace(
        message,
        intent=replace(message.intent, subject=shown(message.intent.subject, SUBJECT_LIMIT)),
        stored_intent=json.dumps(json.loads(message.stored_intent), separators=(",", ":")),
        detail=message.detail and shown(message.detail, _DETAIL),
        recipients=tuple(
            replace(recipient, name=shown(recipient.name)) for recipient in message.recipients
        ),
        actor=message.actor and shown(message.actor),
        resent_by=message.resent_by and shown(message.resent_by),
    )


def insert(connection: sa.Connection, messages: Sequence[NewMessage]) -> list[NewMessage]:
    """Store ``messages``; gives those that were stored: one whose key is taken is not."""
    fresh = [message for message in messages if message.key is None]
    keyed = _insert_keyed(connection, [message for message in messages if message.key is not None])
    if len(fresh) == 1 and connection.dialect.name == "postgresql":  # only it can
        message = fresh[0]
        connection.execute(_ADD_ONE, message.row() | _as_document(message.recipient_rows()))
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
    return rows_parameter(tuple(row.values()) for row in recipients)


def _insert_keyed(connection: sa.Connection, messages: list[NewMessage]) -> list[NewMessage]:
    if not messages:
        return []
    # The same order in all processes: two transactions with the same keys cannot deadlock.
    ordered = sorted(messages, key=lambda message: message.id)
    if not can_conflict(connection):
        return _add_keyed(connection, ordered)
    return [message for message in ordered if _add_if_free(connection, message)]


def _add_keyed(connection: sa.Connection, ordered: Sequence[NewMessage]) -> list[NewMessage]:
    connection.execute(_insert_unless_taken(connection.dialect.name), _rows(connection, ordered))
    # rowcount is -1 on psycopg and RETURNING is not in MySQL, so the row says who wrote it.
    winners = set(connection.scalars(_ORIGINS, {"ids": [message.id for message in ordered]}))
    return [message for message in ordered if message.origin in winners]


def _add_if_free(connection: sa.Connection, message: NewMessage) -> bool:
    def add() -> bool:
        if connection.dialect.name != "postgresql":
            return bool(_add_keyed(connection, [message]))
        # Not with a second look: at SERIALIZABLE what is read can end the transaction as well.
        adding = _insert_unless_taken("postgresql").returning(MESSAGE.c.id)
        return connection.scalar(adding, message.row()) is not None

    def taken(other: sa.Connection) -> bool:
        return other.scalar(_ORIGINS, {"ids": [message.id]}) is not None

    return bool(change_or_skip(connection, add, already_done=taken))


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
