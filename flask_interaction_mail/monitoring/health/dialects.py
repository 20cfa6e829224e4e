"""What one kind of database has set: characters and isolation."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from ...state import State
from ...storage.limits import DatabaseLimits
from ...storage.tables import TABLES
from .look import Finding, Health

_FAMILY: Final = ("mysql", "mariadb")
_WANTED: Final = "utf8mb4"
_SPOKEN: Final = sa.text("SELECT @@character_set_connection")
_OTHERS: Final = sa.text(
    "SELECT DISTINCT table_name, character_set_name FROM information_schema.columns"
    " WHERE table_schema = coalesce(:schema, database()) AND table_name IN :ours"
    " AND character_set_name <> :wanted ORDER BY table_name"
).bindparams(sa.bindparam("ours", [table.name for table in TABLES], expanding=True))


def characters(state: State) -> Finding:
    """Whether every script and emoji can be stored."""
    if state.database.dialect_name not in _FAMILY:
        return _encoding(state)
    with state.database.bind.engine.connect() as connection:
        spoken = connection.scalar(_SPOKEN)
        which = {"schema": state.database.schema, "wanted": _WANTED}
        rows = connection.execute(_OTHERS, which).all()
        quote = connection.dialect.identifier_preparer.quote
    if rows:
        old = ", ".join(f"{table} ({found})" for table, found in rows)
        place = f"{quote(state.database.schema)}." if state.database.schema else ""
        convert = f"CONVERT TO CHARACTER SET {_WANTED};"
        alter = " ".join(f"ALTER TABLE {place}{table} {convert}" for table, _ in rows)
        return Health.WRONG, (
            f"not every letter can be stored: {old}. While nothing else runs, say in one session: "
            f"SET foreign_key_checks = 0; {alter} SET foreign_key_checks = 1;"
        )
    if spoken != _WANTED:
        return Health.WRONG, (
            f"the application speaks {spoken} with the database, which lacks letters and emoji: "
            "add charset=utf8mb4 to SQLALCHEMY_DATABASE_URI (...?charset=utf8mb4)."
        )
    return Health.OK, "every script and emoji can be stored"


def _encoding(state: State) -> Finding:
    with state.database.bind.engine.connect() as connection:
        encoding = DatabaseLimits.of(connection).encoding
    if encoding is None:
        return Health.OK, "every script and emoji can be stored"
    return Health.WRONG, (
        f"the database, or the connection to it, has the letters of {encoding} alone. Mail has "
        "all the others, but the outbox shows their numbers, and a key with one is refused: move "
        "to a database that was made with ENCODING 'UTF8' (pg_dump, createdb --encoding=UTF8 "
        "--template=template0, psql), and connect without another client_encoding."
    )


def isolation(state: State) -> Finding:
    """How strictly the application's transactions are kept apart."""
    with state.database.bind.engine.connect() as connection:
        level = connection.get_isolation_level()
    if level == "SERIALIZABLE" and state.database.dialect_name != "sqlite":
        return Health.NOTE, (
            "SERIALIZABLE: the database may refuse any commit that meets another one, also for a "
            "key= that two processes use at once. Try such a transaction again."
        )
    return Health.OK, level.lower()
