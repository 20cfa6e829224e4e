"""Rows for SQLite, handed to its driver as they are.

SQLAlchemy looks at each value of each row, which takes as long as SQLite does; around a statement
for one row it does more than SQLite.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from operator import attrgetter
from typing import Any, Final

import sqlalchemy as sa

from .schema import schema_of

Row = Mapping[str, object]


def takes_rows(connection: sa.Connection) -> bool:
    """Whether ``add_rows`` and ``change_rows`` know the driver behind ``connection``."""
    return connection.dialect.name == "sqlite" and connection.dialect.positional


def add_rows(
    connection: sa.Connection, table: sa.TableClause, rows: Sequence[Row], *, behind: str = ""
) -> int:
    """Add ``rows``, which all have the same columns, to ``table``; gives how many were added.

    ``behind`` is what follows in the statement, such as what to do with a row that is there.
    """
    adding = _adding(connection.dialect, schema_of(connection), table, tuple(rows[0]))
    added = connection.exec_driver_sql(f"{adding}{behind}", [_plain(row) for row in rows])
    return int(added.rowcount)


def change_rows(
    connection: sa.Connection, table: sa.TableClause, changes: Sequence[tuple[Row, Row]]
) -> int:
    """Set values in rows of ``table``; gives how many there were.

    Each of ``changes`` has the values, and where: the same columns as the first.
    """
    values, where = map(tuple, changes[0])
    changing = _changing(connection.dialect, schema_of(connection), table, values, where)
    rows = [(*_plain(new), *_plain(its)) for new, its in changes]
    return int(connection.exec_driver_sql(changing, rows).rowcount)


@lru_cache(maxsize=32)
def _adding(
    dialect: sa.Dialect, schema: str | None, table: sa.TableClause, columns: Iterable[str]
) -> str:
    bare = sa.table(table.name, *map(sa.column, columns), schema=schema)
    return str(sa.insert(bare).compile(dialect=dialect))


@lru_cache(maxsize=32)
def _changing(
    dialect: sa.Dialect,
    schema: str | None,
    table: sa.TableClause,
    columns: Iterable[str],
    where: Iterable[str],
) -> str:
    bare = sa.table(table.name, *map(sa.column, (*columns, *where)), schema=schema)
    given: dict[str, Any] = {column: sa.bindparam(f"new_{column}") for column in columns}
    its = [bare.c[column] == sa.bindparam(f"its_{column}") for column in where]
    return str(sa.update(bare).values(given).where(*its).compile(dialect=dialect))


def _plain(row: Row) -> tuple[object, ...]:
    """The values of ``row`` as SQLAlchemy's types store them in SQLite."""
    written = _WRITTEN  # looked up once; and nothing is called for most values, which are plain
    return tuple(
        [written[type(value)](value) if type(value) in written else value for value in row.values()]
    )


@lru_cache(maxsize=4)  # the messages of a batch have theirs in common
def _instant(value: datetime) -> str:
    return value.isoformat(" ", "microseconds")


_WRITTEN: Final[dict[type, Callable[[Any], object]]] = {
    uuid.UUID: attrgetter("hex"),
    datetime: _instant,
}
