"""What the host's database can store: how many bytes at once, and which letters."""

from __future__ import annotations

import codecs
import sqlite3
from typing import Final, NamedTuple

import sqlalchemy as sa

from ..errors import ContentError

_OVERHEAD: Final = 64_000  # bytes of an INSERT beside content and intent
_POSTGRESQL_BYTES: Final = 0x3FFFFFFF  # MaxAllocSize, for one value and for one message of a client
_PACKET: Final = sa.text("SELECT @@max_allowed_packet")
_ENCODINGS: Final = sa.text(
    "SELECT current_setting('server_encoding'), current_setting('client_encoding')"
)
_ESCAPED: Final = (b"\\", b"'", b'"', b"\n", b"\r", b"\0", b"\x1a")  # each becomes two bytes
_MYSQL: Final = ("mysql", "mariadb")


class DatabaseLimits(NamedTuple):
    """What a database can store; everything, until it has been asked.

    ``max_bytes`` limits one statement. ``encoding`` is PostgreSQL's name of a character set that
    lacks letters, of the database or of the connection; None where every letter can be stored.
    """

    dialect: str = ""
    max_bytes: int | None = None
    encoding: str | None = None

    @classmethod
    def of(cls, connection: sa.Connection) -> DatabaseLimits:
        """Ask the database behind ``connection``."""
        return cls(connection.dialect.name, _max_bytes(connection), _encoding(connection))

    def check_size(self, content: bytes, intent: str) -> None:
        """Check that one INSERT can store a message with this ``content`` and ``intent``.

        Raises:
            ContentError: it is too large; the text gives its size and the limit.
        """
        # Escaping takes at most two bytes for a byte of content, four for a letter of the intent.
        at_most = 2 * len(content) + 4 * len(intent) + _OVERHEAD
        if self.max_bytes is None or at_most < self.max_bytes:
            return
        needed = _OVERHEAD + self._statement_bytes(content, intent)
        if needed < self.max_bytes:
            return
        setting = " (max_allowed_packet)" if self.dialect in _MYSQL else ""
        raise ContentError(
            f"attachments and texts are too large: with them the message takes {_mb(needed)} in "
            f"the database, which takes {_mb(self.max_bytes)} at once{setting}. Send less, or a "
            "link to it."
        )

    def check_letters(self, what: str, text: str | None) -> None:
        """Check that ``text`` can be stored exactly as it is; ``what`` names it in the error.

        Raises:
            ContentError: the database lacks one of its letters, which the text names.
        """
        if self.encoding is None or text is None:
            return
        try:
            text.encode(self._codec)
        except UnicodeEncodeError as error:
            raise ContentError(
                f"{what} cannot be {text!r:.100}: the letter {error.object[error.start]!r} is not "
                f"in {self.encoding}, the encoding of the database. One in UTF8 has every letter."
            ) from None

    def escape(self, text: str) -> str:
        r"""``text`` with an escape such as ``\u0159`` for each letter that the database lacks."""
        if self.encoding is None:
            return text
        return text.encode(self._codec, "backslashreplace").decode(self._codec)

    @property
    def _codec(self) -> str:
        return (self.encoding and _codec_of(self.encoding)) or "utf-8"

    def _statement_bytes(self, content: bytes, intent: str) -> int:
        text = intent.encode("utf-8", "surrogatepass")
        if self.dialect not in _MYSQL:
            return len(content) + len(text)
        # Content that is not ASCII is sent as hexadecimal digits.
        sent = _escaped_length(content) if content.isascii() else 2 * len(content)
        return sent + _escaped_length(text)


def _max_bytes(connection: sa.Connection) -> int:
    match connection.dialect.name:
        case "mysql" | "mariadb":
            return int(connection.scalar(_PACKET) or _POSTGRESQL_BYTES)
        case "sqlite":
            raw = connection.connection.dbapi_connection
            limit = getattr(raw, "getlimit", None)
            return int(limit(sqlite3.SQLITE_LIMIT_LENGTH)) if limit else _POSTGRESQL_BYTES
        case _:
            return _POSTGRESQL_BYTES


def _encoding(connection: sa.Connection) -> str | None:
    if connection.dialect.name != "postgresql":
        return None
    return next(filter(_codec_of, connection.execute(_ENCODINGS).one()), None)


def _codec_of(encoding: str) -> str | None:
    """Python's name of ``encoding``; None where that has every letter, or takes any byte."""
    if encoding == "UTF8":
        return None
    try:
        return codecs.lookup(encoding.replace("WIN", "cp").replace("KOI8", "koi8_")).name
    except LookupError:
        return None


def _escaped_length(text: bytes) -> int:
    return len(text) + sum(map(text.count, _ESCAPED))


def _mb(size: int) -> str:
    return f"{size / 1_000_000:.1f} MB"
