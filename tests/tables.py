"""Tables made quickly, for the thousands of tests that begin with an empty database."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine.mock import MockConnection

# An empty SQLite database, by the names of its tables and columns.
_made: dict[tuple[str, ...], bytes] = {}
_MEMORY = (None, "", ":memory:")
# What makes tables on a server, by its kind and their names and columns.
_scripts: dict[tuple[str, ...], Sequence[str]] = {}


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

    A new database of SQLite is a copy of the first one of this process that got the same tables. A
    server is asked once which tables it has, and gets the others without being asked for each.
    """
    make = make or partial(metadata.create_all, engine)
    path = Path(engine.url.database or "")
    if engine.get_execution_options() or any(one.schema for one in metadata.sorted_tables):
        make()
    elif engine.name != "sqlite":
        _create_missing(metadata, engine)
    elif engine.url.database in _MEMORY and isinstance(engine.pool, sa.StaticPool):
        _fill_memory(metadata, engine, make)
    elif not path.is_absolute() or path.exists():
        make()
    else:
        names = _columns(metadata.sorted_tables)
        if names in _made:
            path.write_bytes(_made[names])
        else:
            make()
            _made[names] = path.read_bytes()


def _fill_memory(metadata: sa.MetaData, engine: sa.Engine, make: Callable[[], None]) -> None:
    with engine.connect() as connection:  # the only one that there is
        database: Any = connection.connection.driver_connection
        names = "memory", *_columns(metadata.sorted_tables)
        if sa.inspect(connection).get_table_names():
            make()
        elif names in _made:
            database.deserialize(_made[names])
        else:
            make()
            _made[names] = database.serialize()


def _create_missing(metadata: sa.MetaData, engine: sa.Engine) -> None:
    with engine.begin() as connection:
        there = set(sa.inspect(connection).get_table_names())
        missing = [table for table in metadata.sorted_tables if table.name not in there]
        cursor = connection.connection.cursor()
        for statement in _statements(metadata, missing, engine.dialect):
            cursor.execute(statement)


def _statements(
    metadata: sa.MetaData, tables: Sequence[sa.Table], dialect: sa.Dialect
) -> Sequence[str]:
    """What makes ``tables``; PostgreSQL takes all of it at once."""
    key = dialect.name, *_columns(tables)
    if key not in _scripts:
        script: list[str] = []
        mock = MockConnection(dialect, lambda ddl, *_, **__: script.append(_sql(ddl, dialect)))
        metadata.create_all(mock, tables, checkfirst=False)
        _scripts[key] = [";".join(script)] if dialect.name == "postgresql" and script else script
    return _scripts[key]


def _sql(ddl: Any, dialect: sa.Dialect) -> str:
    return str(ddl.compile(dialect=dialect))


def _columns(tables: Sequence[sa.Table]) -> tuple[str, ...]:
    return tuple(str(column) for table in tables for column in table.columns)
