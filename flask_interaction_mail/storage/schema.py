"""The schema of our tables, for statements on connections of the host.

Our tables name no schema. SQLAlchemy's ``schema_translate_map`` puts one in, statement by
statement, so that the connection itself stays as the host has set it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, cast

import sqlalchemy as sa

_TRANSLATE: Final = "schema_translate_map"  # an option of SQLAlchemy's engines and statements


class SchemaConnection:
    """A connection whose statements find our tables in one schema; otherwise unchanged."""

    def __init__(self, connection: sa.Connection, schema: str | None) -> None:
        self._connection = connection
        self._options = {_TRANSLATE: {None: schema}}

    @property
    def itself(self) -> sa.Connection:
        """The connection, for what SQLAlchemy takes no stand-in for, such as ``inspect``."""
        return self._connection

    def get_execution_options(self) -> Mapping[str, Any]:
        return {**self._connection.get_execution_options(), **self._options}

    def execute(self, statement: Any, parameters: Any = None) -> Any:
        return self._connection.execute(statement, parameters, execution_options=self._options)

    def scalar(self, statement: Any, parameters: Any = None) -> Any:
        return self._connection.scalar(statement, parameters, execution_options=self._options)

    def scalars(self, statement: Any, parameters: Any = None) -> Any:
        return self._connection.scalars(statement, parameters, execution_options=self._options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def in_same_schema(self, other: sa.Connection) -> SchemaConnection:
        """``other``, whose statements find our tables in the same schema."""
        return SchemaConnection(other, self._options[_TRANSLATE][None])


@contextmanager
def second_connection(connection: sa.Connection) -> Iterator[sa.Connection]:
    """Another connection to the same database and schema, in a transaction of its own."""
    with connection.engine.connect() as second:
        yield (
            cast(sa.Connection, connection.in_same_schema(second))
            if isinstance(connection, SchemaConnection)
            else second
        )


def schema_of(connection: sa.Connection) -> str | None:
    """The schema in which statements on ``connection`` find our tables; None for the default."""
    return translations(connection).get(None)


def translations(bind: sa.Engine | sa.Connection) -> Mapping[str | None, str | None]:
    """The schemas that ``bind`` puts in place of those that tables name."""
    return bind.get_execution_options().get(_TRANSLATE) or {}
