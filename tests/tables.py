"""Tables made quickly, for the thousands of tests that begin with an empty database."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import sqlalchemy as sa

# An empty SQLite database, by the names of its tables and columns.
_made: dict[tuple[str, ...], bytes] = {}


def create_all(
    metadata: sa.MetaData, engine: sa.Engine, make: Callable[[], None] | None = None
) -> None:
    """The same as ``metadata.create_all(engine)``, or what a host has in its place.

    A new file of SQLite is a copy of the first one of this process that got the same tables.
    """
    make = make or partial(metadata.create_all, engine)
    path = Path(engine.url.database or "")
    in_schema = engine.get_execution_options() or any(one.schema for one in metadata.sorted_tables)
    if engine.name != "sqlite" or not path.is_absolute() or path.exists() or in_schema:
        make()
        return
    names = tuple(str(column) for table in metadata.sorted_tables for column in table.columns)
    if names in _made:
        path.write_bytes(_made[names])
    else:
        make()
        _made[names] = path.read_bytes()
