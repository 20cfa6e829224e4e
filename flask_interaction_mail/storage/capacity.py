"""How large a message may be for the database that stores it, in one statement with its intent."""

from __future__ import annotations

import sqlite3
from typing import Final

import sqlalchemy as sa

from ..errors import ContentError

_MORE: Final = 64_000  # bytes of everything but content and intent
_POSTGRESQL: Final = 0x3FFFFFFF  # its MaxAllocSize: of a value, and of what a client sends at once
_PACKET: Final = sa.text("SELECT @@max_allowed_packet")
_ESCAPED: Final = (b"\\", b"'", b'"', b"\n", b"\r", b"\0", b"\x1a")  # with a second byte


def limit_of(connection: sa.Connection) -> int:
    """How many bytes the database takes at once."""
    match connection.dialect.name:
        case "mysql" | "mariadb":
            return int(connection.scalar(_PACKET) or _POSTGRESQL)
        case "sqlite":
            raw = connection.connection.dbapi_connection
            get = getattr(raw, "getlimit", None)
            return int(get(sqlite3.SQLITE_LIMIT_LENGTH)) if get else _POSTGRESQL
        case _:
            return _POSTGRESQL


def check(content: bytes, intent: str, dialect: str, limit: int) -> None:
    """See that a message can be stored where ``limit`` bytes are taken at once.

    Raises:
        ContentError: it is too large; the text says how large, and what the limit is.
    """
    # Two bytes for each byte of content, and no more than four for a letter of the intent.
    if 2 * len(content) + 4 * len(intent) + _MORE < limit:
        return
    needed = _MORE + _taken(content, intent, dialect)
    if needed < limit:
        return
    which = " (max_allowed_packet)" if dialect in ("mysql", "mariadb") else ""
    raise ContentError(
        f"attachments and texts are too large: with them the message takes {_mb(needed)} in the "
        f"database, which takes {_mb(limit)} at once{which}. Send less, or a link to it."
    )


def _taken(content: bytes, intent: str, dialect: str) -> int:
    text = intent.encode("utf-8", "surrogatepass")
    if dialect not in ("mysql", "mariadb"):
        return len(content) + len(text)
    # What is not ASCII is sent as hexadecimal digits.
    sent = _escaped(content) if content.isascii() else 2 * len(content)
    return sent + _escaped(text)


def _escaped(text: bytes) -> int:
    return len(text) + sum(map(text.count, _ESCAPED))


def _mb(size: int) -> str:
    return f"{size / 1_000_000:.1f} MB"
