"""Changes in a host's transaction that give way when another transaction made them first.

Above READ COMMITTED a database may refuse to change a row that another transaction has changed
since this one began. PostgreSQL then wants the transaction restarted; MariaDB rolls it back if
``innodb_snapshot_isolation`` is on. A host need not care about either for our rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

import sqlalchemy as sa

from .schema import second_connection

_SERIALIZATION_FAILURE: Final = "40001"  # the SQLSTATE
_SNAPSHOT: Final = sa.text("SHOW VARIABLES LIKE 'innodb_snapshot_isolation'")
_OFF: Final = sa.text("SET SESSION innodb_snapshot_isolation=OFF")
_ON: Final = sa.text("SET SESSION innodb_snapshot_isolation=ON")

Result = TypeVar("Result")
Look = Callable[[sa.Connection], bool]


def can_conflict(connection: sa.Connection) -> bool:
    """Whether a row that others changed since this transaction began may end it."""
    match connection.dialect.name:
        case "postgresql":
            return connection.get_isolation_level() in ("REPEATABLE READ", "SERIALIZABLE")
        case "mysql" | "mariadb":
            row = connection.execute(_SNAPSHOT).first()  # none before 10.6.18 and in MySQL
            return row is not None and row[1] == "ON"
        case _:
            return False


def change_or_skip(
    connection: sa.Connection, change: Callable[[], Result], *, already_done: Look | None = None
) -> Result | None:
    """Call ``change``; None, with nothing changed, where another transaction was first.

    The transaction goes on in either case. ``already_done`` looks through a second connection
    whether the other transaction made this very change; if not, the failure is raised.
    """
    if not can_conflict(connection):
        return change()
    if connection.dialect.name == "postgresql":
        return _in_savepoint(connection, change, already_done)
    return _without_snapshot(connection, change)


def _in_savepoint(
    connection: sa.Connection, change: Callable[[], Result], already_done: Look | None
) -> Result | None:
    try:
        with connection.begin_nested():
            return change()
    except sa.exc.DBAPIError as error:
        if _sqlstate(error.orig) != _SERIALIZATION_FAILURE:
            raise
        # SERIALIZABLE fails for other reasons too, and our own snapshot cannot show the new row.
        if already_done is not None and not _is_done(connection, already_done):
            raise
        return None


def _is_done(connection: sa.Connection, already_done: Look) -> bool:
    try:
        with second_connection(connection) as second:
            return already_done(second)
    except sa.exc.SQLAlchemyError:  # such as a pool without a second connection
        return False


def _sqlstate(error: object) -> object:
    # psycopg and asyncpg, then psycopg2; pg8000 has it among its arguments.
    named = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    details: object = next(iter(getattr(error, "args", ())), None)
    return named or (details.get("C") if isinstance(details, dict) else None)


def _without_snapshot(connection: sa.Connection, change: Callable[[], Result]) -> Result:
    # The change sees the newest row, as in every MariaDB before 10.6.18. The host's own
    # statements keep the setting.
    connection.execute(_OFF)
    try:
        return change()
    finally:
        if not connection.invalidated:
            connection.execute(_ON)
