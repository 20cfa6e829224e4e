"""Which letters the database has: a PostgreSQL database in another encoding than UTF8 has few."""

from __future__ import annotations

import codecs
from typing import Final

import sqlalchemy as sa

from ..errors import ContentError

_ENCODINGS: Final = sa.text(
    "SELECT current_setting('server_encoding'), current_setting('client_encoding')"
)


def encoding_of(connection: sa.Connection) -> str | None:
    """The encoding that limits what is stored, by PostgreSQL's name; None where none does."""
    if connection.dialect.name != "postgresql":
        return None
    return next(filter(_codec, connection.execute(_ENCODINGS).one()), None)


def check(what: str, text: str | None, encoding: str) -> None:
    """See that ``text`` can be stored to the letter.

    Raises:
        ContentError: it cannot; ``what`` names it.
    """
    try:
        (text or "").encode(_codec(encoding) or "utf-8")
    except UnicodeEncodeError as error:
        raise ContentError(
            f"{what} cannot be {text!r:.100}: the letter {error.object[error.start]!r} is not in "
            f"{encoding}, the encoding of the database. One in UTF8 has every letter."
        ) from None


def spelt(text: str, encoding: str) -> str:
    """``text`` with the number of each letter that there is not."""
    codec = _codec(encoding) or "utf-8"
    return text.encode(codec, "backslashreplace").decode(codec)


def _codec(encoding: str) -> str | None:
    """Python's name of ``encoding``; None where it has every letter, or takes any byte."""
    if encoding == "UTF8":
        return None
    try:
        return codecs.lookup(encoding.replace("WIN", "cp").replace("KOI8", "koi8_")).name
    except LookupError:
        return None
