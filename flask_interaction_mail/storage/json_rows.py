"""Many rows in one JSON document: for a statement that takes them, or from a query.

A statement takes its rows in one parameter, so that a batch is one round trip:
``json_table(...)`` stands in it like a table, ``rows_parameter(...)`` makes the parameter, and
``joined_update(...)`` changes the rows that such a table names.

``JsonQuery`` fetches all rows of a query at once on SQLite. Its driver releases the interpreter
lock for each row and waits to get it back, which takes ten times as long as the row itself while
other threads work.
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

_PARAMETER: Final = "rows"


def json_table(*columns: sa.ColumnElement[Any]) -> sa.TableValuedAlias:
    """A table of the rows in the parameter ``rows``, with the names and types of ``columns``."""
    named = [sa.column(str(column.key), column.type) for column in columns]
    return _JsonTable(sa.bindparam(_PARAMETER, type_=sa.Text()), *named).table_valued(*named)


def rows_parameter(rows: Iterable[Sequence[object]]) -> dict[str, str]:
    """The parameter for a ``json_table``: each row has its values in the order of the columns.

    Raises:
        TypeError: a value has no place in JSON, such as bytes.
    """
    return {_PARAMETER: _encoder.encode(list(rows))}


def joined_update(table: sa.Table) -> sa.Update:
    """An UPDATE of ``table`` joined with a ``json_table``; MySQL reads its rows first."""
    return _JoinedUpdate(table)


class JsonQuery:
    """A query for many rows of a few columns with different names."""

    def __init__(self, statement: sa.Select[Any]) -> None:
        self.statement = statement
        self._columns = [*statement.subquery("answer").c]
        row = sa.func.json_array(*map(_for_json, self._columns))
        self._document = sa.select(sa.func.json_group_array(row, type_=sa.Text()))

    def rows(
        self, connection: sa.Connection, parameters: dict[str, Any], *, few_bytes: bool = True
    ) -> Iterable[Sequence[Any]]:
        """The rows, in the query's order.

        Say ``few_bytes=False`` where the rows are too large for one document. In a document a
        NULL of a binary column becomes empty bytes.
        """
        if connection.dialect.name != "sqlite" or not few_bytes:
            return connection.execute(self.statement, parameters)
        rows = json.loads(connection.execute(self._document, parameters).scalar_one())
        values_of_columns = zip(*rows, strict=True)  # empty without rows
        return zip(
            *(
                _from_json(values, column.type, connection.dialect)
                for values, column in zip(values_of_columns, self._columns, strict=False)
            ),
            strict=True,
        )


# -- values as JSON --------------------------------------------------------------------


def _to_json(value: object) -> str:
    if isinstance(value, uuid.UUID):
        return value.hex
    if isinstance(value, datetime):
        return value.isoformat(" ", "microseconds")  # as SQLAlchemy stores it in SQLite
    raise TypeError(f"{type(value).__name__} has no place in a row")


_encoder = json.JSONEncoder(default=_to_json, separators=(",", ":"), check_circular=False)


def _for_json(column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    return sa.func.hex(column) if isinstance(column.type, sa.LargeBinary) else column


def _from_json(
    values: Iterable[Any], type_: sa.types.TypeEngine[Any], dialect: sa.Dialect
) -> Iterable[Any]:
    """The ``values`` of one column, converted as SQLAlchemy converts those of the driver."""
    if isinstance(type_, sa.LargeBinary):
        return map(bytes.fromhex, values)
    convert = type_.dialect_impl(dialect).result_processor(dialect, None)
    return values if convert is None else map(convert, values)


# -- SQL by dialect --------------------------------------------------------------------


class _JsonTable(FunctionElement[Any]):
    """First the parameter, then the columns; only their names and types enter the SQL."""

    inherit_cache = True
    name = "json_table"


@compiles(_JsonTable, "sqlite")
def _sqlite_table(element: _JsonTable, compiler: SQLCompiler, **kw: Any) -> str:
    rows, *columns = element.clauses
    parts = (
        f"json_extract(value, '$[{position}]') AS {column.name}"
        for position, column in enumerate(columns)
    )
    return f"(SELECT {', '.join(parts)} FROM json_each({compiler.process(rows, **kw)}))"  # noqa: S608 - see above


@compiles(_JsonTable, "postgresql")
def _postgresql_table(element: _JsonTable, compiler: SQLCompiler, **kw: Any) -> str:
    rows, *columns = element.clauses
    parts = (
        f"CAST(value->>{position} AS {_type(compiler, column)}) AS {column.name}"
        for position, column in enumerate(columns)
    )
    document = f"CAST({compiler.process(rows, **kw)} AS jsonb)"
    return f"(SELECT {', '.join(parts)} FROM jsonb_array_elements({document}))"  # noqa: S608 - see above


@compiles(_JsonTable, "mysql")
@compiles(_JsonTable, "mariadb")
def _mysql_table(element: _JsonTable, compiler: SQLCompiler, **kw: Any) -> str:
    rows, *columns = element.clauses
    paths, selected = [], []
    for position, column in enumerate(columns):
        declared, name = _type(compiler, column) + _letters(column), str(column.name)
        if isinstance(column.type, sa.Uuid):  # JSON_TABLE does not know MariaDB's type; CAST does
            selected.append(f"CAST({name} AS {declared}) AS {name}")
            declared = "CHAR(32)"
        else:
            selected.append(name)
        paths.append(f"{name} {declared} PATH '$[{position}]'")
    table = f"JSON_TABLE({compiler.process(rows, **kw)}, '$[*]' COLUMNS ({', '.join(paths)}))"
    return f"(SELECT {', '.join(selected)} FROM {table} AS document)"  # noqa: S608 - see above


class _JoinedUpdate(sa.Update):
    """Read the joined rows first, on MariaDB and MySQL too.

    Left to themselves they scan a small table, and wait for each row that another transaction
    has locked, or deadlock with it.
    """

    inherit_cache = True


@compiles(_JoinedUpdate, "mysql")
@compiles(_JoinedUpdate, "mariadb")
def _mysql_update(element: _JoinedUpdate, compiler: SQLCompiler, **kw: Any) -> str:
    tables, rest = compiler.visit_update(element, **kw).split(" SET ", 1)
    table, rows = tables.removeprefix("UPDATE ").split(", ", 1)
    return f"UPDATE {rows} STRAIGHT_JOIN {table} FORCE INDEX (PRIMARY) SET {rest}"  # noqa: S608 - rendered by SQLAlchemy


def _letters(column: Any) -> str:
    # The database's own character set may lack letters, and MariaDB refuses to compare its
    # collation with that of our tables.
    return " CHARSET utf8mb4 COLLATE utf8mb4_bin" if isinstance(column.type, sa.String) else ""


def _type(compiler: SQLCompiler, column: Any) -> str:
    return compiler.dialect.type_compiler_instance.process(column.type)
