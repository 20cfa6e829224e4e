"""Many rows for one statement: given as one JSON document, so that a batch is one round trip.

``given(...)`` stands in a statement like a table; ``document(...)`` is what its parameter gets, and
``update(...)`` changes the rows that are named there. Each database takes a document apart with a
function of its own.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

PARAMETER: Final = "rows"


def given(*columns: sa.ColumnElement[Any]) -> sa.TableValuedAlias:
    """A table of the rows in the parameter ``rows``, with the names and types of ``columns``."""
    named = [sa.column(str(one.key), one.type) for one in columns]
    return _Given(sa.bindparam(PARAMETER, type_=sa.Text()), *named).table_valued(*named)


def update(table: sa.Table) -> sa.Update:
    """An update of rows of ``table`` that are found by those given, and not the other way round."""
    return _Update(table)


def document(rows: Iterable[Sequence[object]]) -> dict[str, str]:
    """The parameter for ``given``: each of ``rows`` in the order of its columns."""
    return {PARAMETER: _encoder.encode(list(rows))}


def _plain(value: object) -> str:
    if isinstance(value, uuid.UUID):
        return value.hex
    if isinstance(value, datetime):
        return value.isoformat(" ", "microseconds")  # as SQLAlchemy stores it in SQLite
    raise TypeError(f"{type(value).__name__} has no place in a row")


_encoder = json.JSONEncoder(default=_plain, separators=(",", ":"), check_circular=False)


class _Given(FunctionElement[Any]):
    """First the parameter, then the columns; only their names and types enter the SQL."""

    inherit_cache = True
    name = "given"


@compiles(_Given, "sqlite")
def _of_sqlite(element: _Given, compiler: SQLCompiler, **kw: Any) -> str:
    rows, *columns = element.clauses
    parts = (f"json_extract(value, '$[{at}]') AS {one.name}" for at, one in enumerate(columns))
    return f"(SELECT {', '.join(parts)} FROM json_each({compiler.process(rows, **kw)}))"  # noqa: S608 - see above


@compiles(_Given, "postgresql")
def _of_postgresql(element: _Given, compiler: SQLCompiler, **kw: Any) -> str:
    rows, *columns = element.clauses
    parts = (
        f"CAST(value->>{at} AS {_type(compiler, one)}) AS {one.name}"
        for at, one in enumerate(columns)
    )
    document = f"CAST({compiler.process(rows, **kw)} AS jsonb)"
    return f"(SELECT {', '.join(parts)} FROM jsonb_array_elements({document}))"  # noqa: S608 - see above


@compiles(_Given, "mysql")
@compiles(_Given, "mariadb")
def _of_mysql(element: _Given, compiler: SQLCompiler, **kw: Any) -> str:
    rows, *columns = element.clauses
    # JSON_TABLE does not know MariaDB's type for UUIDs; a cast does.
    texts = [isinstance(one.type, sa.Uuid) for one in columns]
    read = (
        f"{one.name} {'CHAR(32)' if text else _type(compiler, one) + _letters(one)} PATH '$[{at}]'"
        for at, (one, text) in enumerate(zip(columns, texts, strict=True))
    )
    parts = (
        f"CAST({one.name} AS {_type(compiler, one)}) AS {one.name}" if text else one.name
        for one, text in zip(columns, texts, strict=True)
    )
    table = f"JSON_TABLE({compiler.process(rows, **kw)}, '$[*]' COLUMNS ({', '.join(read)}))"
    return f"(SELECT {', '.join(parts)} FROM {table} AS document)"  # noqa: S608 - see above


class _Update(sa.Update):
    """On MariaDB and MySQL in a fixed order.

    Where the table is small, they would go through all of it, and wait for each row that anybody
    else has locked, or end in a deadlock with him.
    """

    inherit_cache = True


@compiles(_Update, "mysql")
@compiles(_Update, "mariadb")
def _in_order(element: _Update, compiler: SQLCompiler, **kw: Any) -> str:
    tables, rest = compiler.visit_update(element, **kw).split(" SET ", 1)
    table, rows = tables.removeprefix("UPDATE ").split(", ", 1)
    return f"UPDATE {rows} STRAIGHT_JOIN {table} FORCE INDEX (PRIMARY) SET {rest}"  # noqa: S608 - rendered by SQLAlchemy


def _letters(column: Any) -> str:
    # Without it they have those of the database, which may lack some, or be compared otherwise
    # than those of our tables, which MariaDB refuses.
    return " CHARSET utf8mb4 COLLATE utf8mb4_bin" if isinstance(column.type, sa.String) else ""


def _type(compiler: SQLCompiler, column: Any) -> str:
    return compiler.dialect.type_compiler_instance.process(column.type)
