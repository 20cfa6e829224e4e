"""The content of a large message, which stays in the database until somebody asks for it."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cached_property
from typing import Any, Final

import sqlalchemy as sa

from ..storage.tables import MESSAGE

Reading = Callable[[], AbstractContextManager[sa.Connection]]

_PIECE: Final = 8_000_000  # bytes; less than what MariaDB gives at once by default
_AT = sa.select(
    sa.func.substr(MESSAGE.c.content, sa.bindparam("at"), _PIECE, type_=sa.LargeBinary(_PIECE))
).where(MESSAGE.c.id == sa.bindparam("wanted", type_=MESSAGE.c.id.type))


class Stored:
    """``size`` bytes that are read in pieces, each in a transaction of its own."""

    def __init__(self, reading: Reading, id: uuid.UUID, size: int) -> None:
        self._reading = reading
        self._id = id
        self._size = size

    def __len__(self) -> int:
        return self._size

    def read(self) -> bytes:
        """All of it, kept from then on.

        Raises:
            LookupError: it is gone, or another.
            sqlalchemy.exc.SQLAlchemyError: the database is away.
        """
        return self._content

    @cached_property
    def _content(self) -> bytes:
        pieces: list[bytes] = []
        for at in range(1, self._size + 1, _PIECE):
            parameters: dict[str, Any] = {"wanted": self._id, "at": at}
            with self._reading() as connection:
                pieces.append(connection.scalar(_AT, parameters) or b"")
        content = b"".join(pieces)
        if len(content) != self._size:
            raise LookupError(f"{len(content):,} bytes are stored, {self._size:,} were")
        return content
