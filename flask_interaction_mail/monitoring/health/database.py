"""The database: its version, the tables, and whether they can be written."""

from __future__ import annotations

import importlib.util
import uuid
from collections.abc import Iterator
from typing import Any, Final

import sqlalchemy as sa

from ... import clock
from ...config import Migrations
from ...state import State
from ...storage import migrations
from ...storage.database import connected, missing_parts
from ...storage.tables import CHECK, DELIVERY, MESSAGE, TABLES
from .look import Finding, Health

_WITHOUT_DELIVERY: Final = (
    "{lost} of the oldest messages have no row in interaction_mail_delivery, so nobody delivers or "
    "lists them: a migration dropped their status without the step that copies it. Go back to the "
    "backup, and run the migration with that step (see 'Tables and migrations')."
)
_OLDEST: Final = {"sqlite": (3, 35), "postgresql": (13,), "mariadb": (10, 6)}


def database(state: State) -> Finding:
    """The version of the database."""
    with connected(state.database.bind.engine) as connection:
        dialect: Any = connection.dialect
        found = tuple(dialect.server_version_info or ())
        name = "mariadb" if getattr(dialect, "is_mariadb", False) else dialect.name
    version = ".".join(map(str, found[:3]))
    if name not in _OLDEST:
        return Health.WRONG, f"{name} is not supported: use SQLite, PostgreSQL or MariaDB."
    if found < _OLDEST[name]:
        oldest = ".".join(map(str, _OLDEST[name]))
        return Health.WRONG, f"{name} {version} is too old: {oldest} is needed."
    return Health.OK, f"{name} {version}"


def tables(state: State) -> Finding:
    """Tables and their columns."""
    engine, schema = state.database.bind.engine, state.database.schema
    existing = sa.inspect(engine).get_table_names(schema)
    if missing := [table.name for table in TABLES if table.name not in existing]:
        return Health.WRONG, f"missing: {', '.join(missing)}. {_how_to_migrate(state)}"
    with engine.connect() as connection:
        found = missing_parts(connection, schema)
        lost = 0 if found else migrations.without_delivery(connection, schema)
    if lost:
        return Health.WRONG, _WITHOUT_DELIVERY.format(lost=lost)
    compared = importlib.util.find_spec("alembic") is not None
    if compared and not found:
        found = migrations.differences(engine, schema=schema)
    if found:
        return Health.WRONG, f"{' '.join(found)} {_how_to_migrate(state)}"
    if not compared:
        return Health.OK, "all there with their columns (types and indexes: needs Alembic)"
    return Health.OK, "as this version needs them"


def writing(state: State) -> Finding:
    """Whether rows can be written. The attempt is rolled back."""
    try:
        with state.database.writing() as connection:
            for statement in _tries():
                connection.execute(statement)
            transaction = connection.get_nested_transaction() or connection.get_transaction()
            if transaction is not None:
                transaction.rollback()
    except sa.exc.DBAPIError as error:
        return Health.WRONG, (
            f"the database does not take what is written: {error.orig}. The user who runs the "
            "application, and its user in the database, need the right to change the tables "
            "(SQLite: the file and its folder)."
        )
    return Health.OK, "possible"


def _tries() -> Iterator[sa.Executable]:
    for table in TABLES:
        of_no_rows = sa.select(*table.c).where(sa.false())
        yield sa.insert(table).from_select([*table.c], of_no_rows)
    for table in (MESSAGE, DELIVERY):
        yield sa.delete(table).where(sa.false())
        yield sa.update(table).where(sa.false()).values(created_at=table.c.created_at)
    yield sa.insert(CHECK).values(
        id=uuid.uuid4(),
        kind="doctor",
        at=clock.now(),
        by="doctor",
        fingerprint="",
        verdict="passed",
        steps="[]",
    )


def _how_to_migrate(state: State) -> str:
    if state.config.migrations is Migrations.OWN:
        return "Run 'flask interaction-mail db upgrade'."
    return "Run the application's migrations ('flask db migrate', 'flask db upgrade')."
