"""Many rows of one query: fetched at once, also where a driver would fetch them one by one.

SQLite's driver gives up the interpreter lock for each row, and waits until it gets it back: beside
threads at work that takes ten times as long as the row itself. There the rows come as one JSON
document.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa


class Query:
    """A query for many rows of a few columns with different names."""

    def __init__(self, statement: sa.Select[Any]) -> None:
        self.statement = statement
        self._columns = [*statement.subquery("answer").c]
        row = sa.func.json_array(*map(_in_json, self._columns))
        self._document = sa.select(sa.func.json_group_array(row, type_=sa.Text()))

    def rows(
        self, connection: sa.Connection, parameters: dict[str, Any], *, few_bytes: bool = True
    ) -> Iterable[Sequence[Any]]:
        """The rows, in their order; without ``few_bytes`` they are too large for a document.

        Bytes that are NULL come as such, or as none.
        """
        if connection.dialect.name != "sqlite" or not few_bytes:
            return connection.execute(self.statement, parameters)
        rows = json.loads(connection.execute(self._document, parameters).scalar_one())
        columns = zip(*rows, strict=True)
        return zip(
            *(
                _read(values, column.type, connection.dialect)
                for values, column in zip(columns, self._columns, strict=False)  # no rows: none
            ),
            strict=True,
        )


def _in_json(column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    return sa.func.hex(column) if isinstance(column.type, sa.LargeBinary) else column


def _read(
    values: Iterable[Any], type_: sa.types.TypeEngine[Any], dialect: sa.Dialect
) -> Iterable[Any]:
    """``values`` of one column as the driver's would be read."""
    if isinstance(type_, sa.LargeBinary):
        return map(bytes.fromhex, values)
    read = type_.dialect_impl(dialect).result_processor(dialect, None)
    return values if read is None else map(read, values)
