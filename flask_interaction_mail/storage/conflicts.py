"""A host's transaction that has to survive that somebody else was quicker.

Above READ COMMITTED a database may refuse a change to a row that another transaction has changed
since this one began: PostgreSQL then wants the transaction started anew, MariaDB with
``innodb_snapshot_isolation`` throws it away. For our rows neither is the host's affair.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

import sqlalchemy as sa

from .in_schema import beside

_SERIALIZATION_FAILURE: Final = "40001"
_SNAPSHOT: Final = sa.text("SHOW VARIABLES LIKE 'innodb_snapshot_isolation'")
_OFF: Final = sa.text("SET SESSION innodb_snapshot_isolation=OFF")
_ON: Final = sa.text("SET SESSION innodb_snapshot_isolation=ON")

Result = TypeVar("Result")
Look = Callable[[sa.Connection], bool]


def can_conflict(connection: sa.Connection) -> bool:
    """Whether rows that others changed since this transaction began may end it."""
    match connection.dialect.name:
        case "postgresql":
            return connection.get_isolation_level() in ("REPEATABLE READ", "SERIALIZABLE")
        case "mysql" | "mariadb":
            row = connection.execute(_SNAPSHOT).first()  # none before 10.6.18 and in MySQL
            return row is not None and row[1] == "ON"
        case _:
            return False


def survive(
    connection: sa.Connection, change: Callable[[], Result], *, needless: Look | None = None
) -> Result | None:
    """``change`` the database; None where somebody else was quicker, and nothing was changed.

    The transaction goes on in either case. ``needless`` asks on a connection of its own whether
    the change need not be made any more; where it must be made, the failure is raised.
    """
    if not can_conflict(connection):
        return change()
    if connection.dialect.name == "postgresql":
        return _in_savepoint(connection, change, needless)
    return _with_what_is_there_now(connection, change)


def _in_savepoint(
    connection: sa.Connection, change: Callable[[], Result], needless: Look | None
) -> Result | None:
    try:
        with connection.begin_nested():
            return change()
    except sa.exc.DBAPIError as error:
        if _state_of(error.orig) != _SERIALIZATION_FAILURE:
            raise
        # SERIALIZABLE has other reasons as well, and its own snapshot does not tell.
        if needless is not None and not _asked(connection, needless):
            raise
        return None


def _asked(connection: sa.Connection, look: Look) -> bool:
    try:
        with beside(connection) as other:
            return look(other)
    except sa.exc.SQLAlchemyError:  # such as a pool without a second connection
        return False


def _state_of(error: object) -> object:
    # As psycopg and asyncpg name it, and psycopg2; pg8000 has it among its arguments.
    named = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    details: object = next(iter(getattr(error, "args", ())), None)
    return named or (details.get("C") if isinstance(details, dict) else None)


def _with_what_is_there_now(connection: sa.Connection, change: Callable[[], Result]) -> Result:
    # As every MariaDB did before: a change sees the row as it is. What the host reads and writes
    # otherwise keeps the setting.
    connection.execute(_OFF)
    try:
        return change()
    finally:
        if not connection.invalidated:
            connection.execute(_ON)
