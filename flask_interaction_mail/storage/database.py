"""The host's database, for our own short transactions: settings, delivery, the panel.

What belongs to the host's own transaction goes through ``unit_of_work`` instead.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from functools import cached_property
from typing import Any, Final, cast

import sqlalchemy as sa
from flask import Flask, current_app, has_app_context
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.engine.reflection import ObjectKind
from sqlalchemy.orm import Session, scoped_session
from sqlalchemy.pool import StaticPool

from ..errors import InteractionMailError, TablesMissing
from ..text import one_line
from .limits import DatabaseLimits
from .schema import SchemaConnection, translations
from .tables import MESSAGE, TABLES

# Arguments with which a session gives its connection to our tables. A session that reads from
# replicas sends an UPDATE to the database that takes writes; a bare table does not tell it.
BIND_ARGUMENTS: Final[dict[str, Any]] = {"clause": sa.update(MESSAGE)}

# Errors of a database that may answer again later.
AWAY: Final = (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.TimeoutError)
# MariaDB: too many connections, shutdown, disk or table full, lock or deadlock, read only.
_TRANSIENT: Final = frozenset((1021, 1040, 1053, 1114, 1205, 1213, 1290))
_IN_ERROR: Final = 3  # a transaction's status in libpq (PQTRANS_INERROR)


class DatabaseBusy(InteractionMailError):
    """The one connection of an in-memory database is in the host's transaction: try later."""


class Database:
    """The engine behind the extension's tables: the default bind of the host."""

    def __init__(self, app: Flask, db: SQLAlchemy) -> None:
        self._app = app
        self._db = db
        self.tables_seen: bool = False
        self.limits: DatabaseLimits = DatabaseLimits()  # known as soon as the tables have been seen

    @cached_property
    def _engines(self) -> Mapping[str | None, sa.Engine | sa.Connection]:
        # Flask-SQLAlchemy has them only inside an app context, and each new context would run the
        # host's teardown functions. The mapping stays the same object.
        with context_of(self._app):
            return self._db.engines

    @property
    def bind(self) -> sa.Engine | sa.Connection:
        """The engine that the host's session uses for our tables.

        A Connection where a host's tests join their sessions into one transaction.

        Raises:
            RuntimeError: Flask-SQLAlchemy is not initialised for the app.
        """
        return self._engines[None]

    @cached_property
    def schema(self) -> str | None:
        """The schema of our tables: that of the host's metadata, as the engine translates it.

        None means the database's default schema. Translations by a session do not count.
        """
        named = self._db.metadata.schema
        schema: str | None = translations(self.bind).get(named, named)
        return schema

    def in_schema(self, connection: sa.Connection) -> sa.Connection:
        """``connection``, which may be the host's, for statements on our tables in their schema."""
        if isinstance(connection, SchemaConnection):
            return connection
        if translations(connection).get(None) == self.schema:
            return connection
        return cast(sa.Connection, SchemaConnection(connection, self.schema))

    @property
    def dialect_name(self) -> str:
        """``sqlite``, ``postgresql``, ``mysql`` or ``mariadb``."""
        return self.bind.dialect.name

    @property
    def in_memory(self) -> bool:
        """Whether all sessions share one connection, as with SQLite in memory."""
        return isinstance(self.bind.engine.pool, StaticPool)

    @property
    def single_connection(self) -> bool:
        """Whether all threads share one connection."""
        return self.in_memory or isinstance(self.bind, sa.Connection)

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A connection to read on; nothing is committed.

        Raises:
            TablesMissing: the tables are not there yet.
        """
        bind = self.bind
        with self._borrowed_connection() if _is_taken(bind) else connected(bind) as connection:
            self.check_tables(connection)
            yield self.in_schema(connection)

    def connection_of(self, session: Session) -> sa.Connection | None:
        """The connection of the host's transaction, to read on; None where it has failed."""
        connection = usable_connection(session)
        return None if connection is None else self.in_schema(connection)

    @contextmanager
    def reading_in(self, session: Session) -> Iterator[sa.Connection]:
        """The connection of the host's transaction, or one of ours where that has failed.

        Raises:
            TablesMissing: the tables are not there yet.
        """
        if (connection := self.connection_of(session)) is None:
            with self.reading() as own:
                yield own
        else:
            self.check_tables(connection)
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A connection in a transaction of its own, committed at the end.

        Raises:
            DatabaseBusy: SQLite in memory, whose one connection is in another transaction.
            TablesMissing: the tables are not there yet.
        """
        bind = self.bind
        if _is_taken(bind):
            # Our commit would commit the host's work, and returning the connection to the pool
            # would roll it back.
            raise DatabaseBusy(
                "the only connection of the in-memory database is in another transaction; "
                "end that first, or use a database in a file"
            )
        with connected(bind) as connection, _transaction(connection):
            self.check_tables(connection)
            yield self.in_schema(connection)

    def refuse_own_lock(self, session: Session) -> None:
        """Make sure that a transaction of our own does not wait for that of ``session``.

        Raises:
            InteractionMailError: it has written to SQLite, and not committed.
        """
        if self.dialect_name != "sqlite" or isinstance(self.bind, sa.Connection):
            return
        connection = usable_connection(session) if session.in_transaction() else None
        own = connection and connection.connection.dbapi_connection
        if _in_transaction(own) or _is_taken(self.bind):
            raise InteractionMailError(
                "db.session has written to SQLite and not committed, so that nobody else can "
                "write: commit it first, or roll it back."
            )

    def check_tables(self, connection: sa.Connection) -> None:
        """Check, once, that all tables and columns exist.

        Otherwise the first statement on a missing one would end the host's transaction.

        Raises:
            TablesMissing: a table is missing, or a column.
        """
        if self.tables_seen:
            return
        if missing := missing_parts(connection, self.schema):
            cure, otherwise = "Bring the tables up to date", ""
            if len(missing) == len(TABLES):
                where = f" from the schema {self.schema}" if self.schema else ""
                missing = [f"The tables of Flask-Interaction-Mail are missing{where}."]
                cure, otherwise = "Make them", " with db.create_all() where there are none yet,"
            raise TablesMissing(
                f"{' '.join(missing)} {cure} with the application's migrations (flask db migrate, "
                f"flask db upgrade),{otherwise} or with: flask interaction-mail db upgrade"
            )
        self.limits = DatabaseLimits.of(connection)
        self.tables_seen = True

    def _borrowed_connection(self) -> sa.Connection:
        """The one connection in memory, to read on without an end to its open transaction."""
        raw = _raw_of_static_pool(self.bind)
        return sa.create_engine("sqlite://", creator=lambda: _Borrowed(raw)).connect()


def context_of(app: Flask) -> AbstractContextManager[object]:
    """An app context of ``app``: the current one, or a new one."""
    if has_app_context() and current_app._get_current_object() is app:  # type: ignore[attr-defined]
        return nullcontext()
    return app.app_context()


class _Borrowed:
    """A DBAPI connection that neither ends the transaction of its owner nor closes."""

    def __init__(self, raw: object) -> None:
        self._raw = raw

    def commit(self) -> None: ...

    def rollback(self) -> None: ...

    def close(self) -> None: ...

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)


def _open(engine: sa.Engine) -> sa.Connection:
    try:
        return engine.connect()
    except sa.exc.OperationalError as error:
        if not _refuses_transactions(engine, str(error.orig)):
            raise
        raise InteractionMailError(
            "PgBouncer is in statement mode between the application and PostgreSQL, where no "
            "transaction is possible: set pool_mode = session (or transaction) for this database."
        ) from error


def _refuses_transactions(engine: sa.Engine, message: str) -> bool:
    """Whether the error ``message`` comes from PgBouncer in statement mode."""
    if engine.driver == "psycopg2" and "server closed the connection" in message:
        # psycopg2 drops PgBouncer's sentence, and says the same of a server that was restarted.
        return _takes_statements_only(engine)
    return "statement pooling mode" in message


def _takes_statements_only(engine: sa.Engine) -> bool:
    """Whether a statement succeeds by itself, but not within a transaction."""
    dialect, succeeded = engine.dialect, 0
    try:
        arguments, named = dialect.create_connect_args(engine.url)
        with closing(dialect.connect(*arguments, **named)) as raw:
            raw.autocommit = True
            for statement in ("SELECT 1", "BEGIN"):
                raw.cursor().execute(statement)
                succeeded += 1
    except dialect.loaded_dbapi.Error:
        return succeeded == 1
    return False


@contextmanager
def connected(bind: sa.Engine | sa.Connection) -> Iterator[sa.Connection]:
    """A connection of ``bind`` in no transaction of others, unless ``bind`` is a connection."""
    if isinstance(bind, sa.Connection):  # a host's tests join their sessions into one transaction
        yield bind
        return
    with _open(bind) as connection:
        raw = connection.connection.dbapi_connection
        if _in_transaction(raw):
            # A COMMIT failed, and SQLAlchemy pooled the connection with its open transaction.
            raw.rollback()  # type: ignore[union-attr]  # not None: it has just been asked
        yield connection


def missing_parts(connection: sa.Connection, schema: str | None) -> list[str]:
    """One sentence for each of our tables and columns that ``schema`` lacks."""
    if isinstance(connection, SchemaConnection):
        connection = connection.itself
    reflected = sa.inspect(connection).get_multi_columns(
        schema, [table.name for table in TABLES], kind=ObjectKind.ANY
    )
    present = {
        name: {column["name"] for column in columns} for (_, name), columns in reflected.items()
    }
    missing = []
    for table in TABLES:
        if (columns := present.get(table.name)) is None:
            missing.append(f"The table {table.name} is missing.")
            continue
        missing += [
            f"The column {table.name}.{column.name} is missing."
            for column in table.c
            if column.name not in columns
        ]
    return missing


def in_short(error: Exception) -> str:
    """The first line of ``error``, so without the statement and the row that SQLAlchemy quotes."""
    return one_line(f"{type(error).__name__}: {error}".partition("\n")[0])


def is_away(error: Exception) -> bool:
    """Whether the same statement may succeed later, when the database is back or not so busy."""
    if isinstance(error, DatabaseBusy | TablesMissing | sa.exc.TimeoutError):
        return True
    if not isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError):
        return isinstance(error, sa.exc.DBAPIError) and error.connection_invalidated
    code = getattr(error.orig, "sqlite_errorcode", None)
    if code is not None:
        return bool(code != sqlite3.SQLITE_ERROR)  # a table or column that does not exist
    number = next(iter(getattr(error.orig, "args", ())), None)
    # MySQL numbers errors of the client from 2000 to 2999, those of the server around that.
    return not isinstance(number, int) or 2000 <= number < 3000 or number in _TRANSIENT


def plain_session(session: object) -> Session:
    """``session`` itself, or the one behind a ``scoped_session``.

    Raises:
        TypeError: it is not a SQLAlchemy ``Session``.
    """
    plain: object = session() if isinstance(session, scoped_session) else session
    if not isinstance(plain, Session):
        raise TypeError(
            f"session= takes a SQLAlchemy Session, not {type(plain).__name__}; with an "
            "AsyncSession call send_notification in its run_sync()"
        )
    return plain


def usable_connection(session: Session) -> sa.Connection | None:
    """The connection of the transaction of ``session``, begun if there is none.

    None where the transaction has failed, so that the connection takes no more statements.
    """
    if not session.in_transaction():
        session.begin()
    if not session.is_active:
        return None
    connection = session.connection(bind_arguments=BIND_ARGUMENTS)
    return None if _has_failed(connection) else connection


def _has_failed(connection: sa.Connection) -> bool:
    # A statement that failed outside a flush: PostgreSQL's driver knows of it, the session not.
    if connection.dialect.name != "postgresql":
        return False
    info = getattr(connection.connection.dbapi_connection, "info", None)
    return bool(getattr(info, "transaction_status", None) == _IN_ERROR)


def _is_taken(bind: sa.Engine | sa.Connection) -> bool:
    return isinstance(bind, sa.Engine) and _in_transaction(_raw_of_static_pool(bind))


def _raw_of_static_pool(bind: sa.Engine | sa.Connection) -> object:
    pool = bind.engine.pool
    return pool.connection.dbapi_connection if isinstance(pool, StaticPool) else None


def _in_transaction(raw: object) -> bool:
    return bool(getattr(raw, "in_transaction", False))  # only SQLite's driver has it


def _transaction(connection: sa.Connection) -> AbstractContextManager[object]:
    return connection.begin_nested() if connection.in_transaction() else connection.begin()
