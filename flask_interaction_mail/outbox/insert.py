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
from ..storage.driver_rows import add_rows, takes_rows
from ..storage.json_rows import json_table, rows_parameter
from ..storage.limits import DatabaseLimits
from ..storage.tables import DELIVERY, MESSAGE, METADATA, RECIPIENT
from ..storage.write_conflicts import can_conflict, change_or_skip
from ..values import Status

# MariaDB's drivers send bytes as hexadecimal digits, twice as long; what is ASCII is its own text.
_TEXTUAL: Final = {"content": sa.bindparam("content_as_text", type_=sa.Text())}
# Statements that stay the same object are compiled, and their keys in the cache made, only once.
_ADD_MESSAGES: Final = sa.insert(MESSAGE)
_ADD_TEXTUAL_MESSAGES: Final = _ADD_MESSAGES.values(_TEXTUAL)
_ADD_DELIVERIES: Final = sa.insert(DELIVERY)
_ADD_RECIPIENTS: Final = sa.insert(RECIPIENT)
_OF_RECIPIENTS: Final = [column for column in RECIPIENT.c if column.key != "digest_id"]
_ADD_GIVEN_RECIPIENTS: Final = sa.insert(RECIPIENT).from_select(
    [column.key for column in _OF_RECIPIENTS], sa.select(json_table(*_OF_RECIPIENTS))
)
# What is filled when a message is stored, in the order of ``NewMessage.delivery_row``.
_OF_DELIVERIES: Final = [
    *(column for column in DELIVERY.c if not column.nullable),
    *(DELIVERY.c[name] for name in ("reason", "detail", "due_at", "finished_at")),
]
_ADD_GIVEN_DELIVERIES: Final = sa.insert(DELIVERY).from_select(
    [column.key for column in _OF_DELIVERIES], sa.select(json_table(*_OF_DELIVERIES))
)
# In the order of ``NewMessage.row``, which puts the content last.
_OF_MESSAGES: Final = [column for column in MESSAGE.c if column.key != "content"]
_GIVEN_MESSAGES: Final = json_table(*_OF_MESSAGES, sa.column("content", sa.Text()))
_FROM_DOCUMENT: Final = (  # on PostgreSQL
    [*(column.key for column in _OF_MESSAGES), "content"],
    sa.select(
        *(_GIVEN_MESSAGES.c[column.key] for column in _OF_MESSAGES),
        sa.func.convert_to(_GIVEN_MESSAGES.c.content, "UTF8"),
    ),
)
_ADD_GIVEN_MESSAGES: Final = sa.insert(MESSAGE).from_select(*_FROM_DOCUMENT)
_TOGETHER: Final = 200  # messages in one document
_FEW_BYTES: Final = 4_000_000  # of content and intents in one document
_ORIGINS: Final = sa.select(MESSAGE.c.id, MESSAGE.c.origin).where(
    MESSAGE.c.id.in_(sa.bindparam("ids"))
)
_ADD_METADATA: Final = sa.insert(METADATA)
_ADD_GIVEN_METADATA: Final = sa.insert(METADATA).from_select(
    [column.key for column in METADATA.c], sa.select(json_table(*METADATA.c))
)
_OF_DELIVERY: Final = "delivery_"  # begins the names of its parameters, beside a message's
# One message with its recipients. For several, psycopg2 would take the recipients of the first.
_ADD_ONE: Final = _ADD_MESSAGES.add_cte(
    _ADD_DELIVERIES.values(
        {column: sa.bindparam(_OF_DELIVERY + column.key) for column in _OF_DELIVERIES}
    ).cte("delivery"),
    _ADD_GIVEN_RECIPIENTS.cte("recipients"),
)
_UNLESS_TAKEN: Final = " ON CONFLICT (id) DO NOTHING"
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
    for name, value in message.intent.metadata:
        limits.check_letters(f"metadata[{name!r}]", value)

    def shown(text: str, limit: int = _NAME) -> str:
        return limits.escape(text)[:limit]

    return message._replace(
        intent=message.intent._replace(subject=shown(message.intent.subject, SUBJECT_LIMIT)),
        stored_intent=json.dumps(json.loads(message.stored_intent), separators=(",", ":")),
        detail=message.detail and shown(message.detail, _DETAIL),
        recipients=tuple(
            replace(recipient, name=shown(recipient.name)) for recipient in message.recipients
        ),
        actor=message.actor and shown(message.actor),
        sender=message.sender and shown(message.sender, SUBJECT_LIMIT),
        resent_by=message.resent_by and shown(message.resent_by),
    )


def insert(connection: sa.Connection, messages: Sequence[NewMessage]) -> list[NewMessage]:
    """Store ``messages``; gives those that were stored: one whose key is taken is not."""
    fresh = [message for message in messages if message.key is None]
    keyed = _insert_keyed(connection, [message for message in messages if message.key is not None])
    alone = fresh[0] if len(fresh) == 1 and not fresh[0].intent.metadata else None
    if alone and connection.dialect.name == "postgresql":  # only it can
        state = {_OF_DELIVERY + name: value for name, value in alone.delivery_row().items()}
        recipients = _as_document(alone.recipient_rows())
        connection.execute(_ADD_ONE, alone.row() | state | recipients)
        _insert_the_rest(connection, keyed)
    else:
        for start in range(0, len(fresh), _TOGETHER):
            _insert_fresh(connection, fresh[start : start + _TOGETHER])
        _insert_the_rest(connection, [*fresh, *keyed])
    if failed := [message for message in (*fresh, *keyed) if message.status is Status.FAILED]:
        from .tally import add_failed  # late: for those who deliver, and for what is seldom

        add_failed(connection, (message.intent.kind for message in failed), failed[0].created_at)
    return [*fresh, *keyed]


def _insert_fresh(connection: sa.Connection, messages: Sequence[NewMessage]) -> None:
    match connection.dialect.name:
        case "postgresql" if _fit_in_document(messages):
            connection.execute(_ADD_GIVEN_MESSAGES, _document(messages))
        case "mysql" | "mariadb":
            connection.execute(_ADD_TEXTUAL_MESSAGES, _rows(connection, messages))
        case "sqlite" if takes_rows(connection):
            add_rows(connection, MESSAGE, _rows(connection, messages))
        case _:
            connection.execute(_ADD_MESSAGES, _rows(connection, messages))


def _fit_in_document(messages: Sequence[NewMessage]) -> bool:
    return all(map(_is_plain, messages)) and _size(messages) <= _FEW_BYTES


def _document(messages: Iterable[NewMessage]) -> dict[str, str]:
    return rows_parameter(_row_in_letters(message) for message in messages)


def _is_plain(message: NewMessage) -> bool:
    """Whether its content can stand in a JSON document of PostgreSQL."""
    content = message.content or b""
    return content.isascii() and b"\0" not in content


def _size(messages: Iterable[NewMessage]) -> int:
    return sum(len(message.content or b"") + len(message.stored_intent) for message in messages)


def _row_in_letters(message: NewMessage) -> tuple[object, ...]:
    row = message.row()
    if message.content is not None:
        row["content"] = message.content.decode("ascii")
    return tuple(row.values())


def _rows(connection: sa.Connection, messages: Sequence[NewMessage]) -> list[dict[str, Any]]:
    rows = [message.row() for message in messages]
    if connection.dialect.name in ("mysql", "mariadb"):
        for row in rows:
            content = row.pop("content")
            ascii_only = content is not None and content.isascii()
            row["content_as_text"] = content.decode("ascii") if ascii_only else content
    return rows


def _insert_the_rest(connection: sa.Connection, messages: Sequence[NewMessage]) -> None:
    """Store all of ``messages`` but their rows in the message table."""
    for one_by_one, given, rows in (
        (_ADD_DELIVERIES, _ADD_GIVEN_DELIVERIES, [message.delivery_row() for message in messages]),
        (_ADD_RECIPIENTS, _ADD_GIVEN_RECIPIENTS, _recipient_rows(messages)),
        (_ADD_METADATA, _ADD_GIVEN_METADATA, _metadata_rows(messages)),
    ):
        if not rows:
            continue
        if connection.dialect.name == "postgresql":  # each row would be a command by itself there
            connection.execute(given, _as_document(rows))
        elif takes_rows(connection):
            add_rows(connection, one_by_one.table, rows)
        else:
            connection.execute(one_by_one, rows)


def _recipient_rows(messages: Iterable[NewMessage]) -> list[dict[str, Any]]:
    return [row for message in messages for row in message.recipient_rows()]


def _metadata_rows(messages: Iterable[NewMessage]) -> list[dict[str, Any]]:
    return [row for message in messages for row in message.metadata_rows()]


def _as_document(rows: Iterable[dict[str, Any]]) -> dict[str, str]:
    return rows_parameter(tuple(row.values()) for row in rows)


def _insert_keyed(connection: sa.Connection, messages: list[NewMessage]) -> list[NewMessage]:
    if not messages:
        return []
    # The same order in all processes: two transactions with the same keys cannot deadlock.
    ordered = sorted(messages, key=lambda message: message.id)
    if not can_conflict(connection):
        parts = (ordered[at : at + _TOGETHER] for at in range(0, len(ordered), _TOGETHER))
        return [message for part in parts for message in _add_keyed(connection, part)]
    return [message for message in ordered if _add_if_free(connection, message)]


def _add_keyed(connection: sa.Connection, ordered: Sequence[NewMessage]) -> list[NewMessage]:
    stored: Iterable[sa.Row[Any]]
    match connection.dialect.name:
        case "postgresql" if _fit_in_document(ordered):
            stored = connection.execute(_given_unless_taken(), _document(ordered))
        case "sqlite" if takes_rows(connection):
            rows = _rows(connection, ordered)
            if add_rows(connection, MESSAGE, rows, behind=_UNLESS_TAKEN) == len(rows):
                return [*ordered]
            stored = _origins(connection, ordered)
        case dialect:
            # rowcount is -1 on psycopg and RETURNING is not in MySQL, so the row says who wrote it.
            connection.execute(_insert_unless_taken(dialect), _rows(connection, ordered))
            stored = _origins(connection, ordered)
    winners = {(row.id, row.origin) for row in stored}
    return [message for message in ordered if (message.id, message.origin) in winners]


def _origins(connection: sa.Connection, messages: Iterable[NewMessage]) -> Iterable[sa.Row[Any]]:
    return connection.execute(_ORIGINS, {"ids": [message.id for message in messages]})


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


@cache
def _given_unless_taken() -> Any:
    adding = _insert_unless_taken("postgresql").from_select(*_FROM_DOCUMENT)
    return adding.returning(MESSAGE.c.id, MESSAGE.c.origin)
