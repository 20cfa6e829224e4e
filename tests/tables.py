"""Tables made quickly, for the thousands of tests that begin with an empty database."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import sqlalchemy as sa

# An empty SQLite database, by the names of its tables and columns.
_made: dict[tuple[str, ...], bytes] = {}


@cache
def metadata_of_hosts(schema: str | None, *kind: object) -> sa.MetaData:
    """The metadata with a table of the host's own, ``thing``, of all hosts of a ``kind``.

    The first one of them puts our tables into it, which takes half of the time to make a host.
    """
    metadata = sa.MetaData(schema=schema)
    name = sa.Column("name", sa.String(50), unique=True)
    sa.Table("thing", metadata, sa.Column("id", sa.Integer, primary_key=True), name)
    return metadata


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
