"""Our tables in a schema: statements on connections that are the host's and go elsewhere.

The tables name no schema of their own, so that a translation puts one in for each statement; the
connection itself stays as the host has set it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, cast

import sqlalchemy as sa

_TRANSLATE: Final = "schema_translate_map"  # an option of SQLAlchemy's engines and statements


class InSchema:
    """A connection whose statements go to our tables in one schema; all else is as it was."""

    def __init__(self, connection: sa.Connection, schema: str | None) -> None:
        self._connection = connection
        self._options = {_TRANSLATE: {None: schema}}

    def execute(self, statement: Any, parameters: Any = None) -> Any:
        return self._connection.execute(statement, parameters, execution_options=self._options)

    def scalar(self, statement: Any, parameters: Any = None) -> Any:
        return self._connection.scalar(statement, parameters, execution_options=self._options)

    def scalars(self, statement: Any, parameters: Any = None) -> Any:
        return self._connection.scalars(statement, parameters, execution_options=self._options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def beside(self, other: sa.Connection) -> InSchema:
        """``other``, for the same tables."""
        return InSchema(other, self._options[_TRANSLATE][None])


@contextmanager
def beside(connection: sa.Connection) -> Iterator[sa.Connection]:
    """Another connection to the database of ``connection``, for the same tables."""
    with connection.engine.connect() as other:
        yield (
            cast(sa.Connection, connection.beside(other))
            if isinstance(connection, InSchema)
            else other
        )


def translations(bind: sa.Engine | sa.Connection) -> Mapping[str | None, str | None]:
    """The schemas that ``bind`` puts in place of those that tables name."""
    return bind.get_execution_options().get(_TRANSLATE) or {}
