"""The host's database, for our own short transactions: settings, delivery, the panel.

What belongs to the host's own transaction goes through ``unit_of_work`` instead.
"""

from __future__ import annotations

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
from ..names import one_line
from . import capacity, letters
from .in_schema import InSchema, translations
from .tables import MESSAGE, TABLES

# How to ask a session for its connection to our tables. A session that reads from replicas
# sends an UPDATE to the database that takes writes; of a bare table it cannot know.
OURS: Final[dict[str, Any]] = {"clause": sa.update(MESSAGE)}

# What a database that is away is known by; a later try may find it back.
AWAY: Final = (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.TimeoutError)
_IN_ERROR = 3  # a transaction's status in libpq (PQTRANS_INERROR)


class DatabaseBusy(InteractionMailError):
    """The one connection of an in-memory database is in the host's transaction: try later."""


class Database:
    """The engine behind the extension's tables: the default bind of the host."""

    def __init__(self, app: Flask, db: SQLAlchemy) -> None:
        self._app = app
        self._db = db
        self.tables_seen = False
        self._limit: int | None = None  # bytes that the database takes at once; seen with them
        self.encoding: str | None = None  # what limits its letters, as well

    @cached_property
    def _engines(self) -> Mapping[str | None, sa.Engine | sa.Connection]:
        # Flask-SQLAlchemy tells only inside an app context, and pushing one for every look would
        # run the host's teardown functions each time. The mapping stays the same object.
        with context_of(self._app):
            return self._db.engines

    @property
    def bind(self) -> sa.Engine | sa.Connection:
        """What the host's session uses for our tables; a Connection in some tests of hosts.

        Raises:
            RuntimeError: Flask-SQLAlchemy is not initialised for the app.
        """
        return self._engines[None]

    @cached_property
    def schema(self) -> str | None:
        """The schema of our tables: that of the host's metadata, as the engine translates it.

        None means the database's default one. What a session of the host translates is its own.
        """
        named = self._db.metadata.schema
        schema: str | None = translations(self.bind).get(named, named)
        return schema

    def ours(self, connection: sa.Connection) -> sa.Connection:
        """``connection``, which may be the host's, for statements on our tables in their schema."""
        if isinstance(connection, InSchema) or translations(connection).get(None) == self.schema:
            return connection
        return cast(sa.Connection, InSchema(connection, self.schema))

    @property
    def dialect_name(self) -> str:
        """``sqlite``, ``postgresql``, ``mysql`` or ``mariadb``."""
        return self.bind.dialect.name

    @property
    def in_memory(self) -> bool:
        """Whether all sessions share one connection, as with SQLite in memory."""
        return isinstance(self.bind.engine.pool, StaticPool)

    @property
    def lone(self) -> bool:
        """Whether all threads share one connection."""
        return self.in_memory or isinstance(self.bind, sa.Connection)

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A connection to read on; nothing is committed.

        Raises:
            TablesMissing: the tables are not there yet.
        """
        bind = self.bind
        with self._guest if _is_taken(bind) else connected(bind) as connection:
            self.check_tables(connection)
            yield self.ours(connection)

    def connection_of(self, session: Session) -> sa.Connection | None:
        """The connection of the host's transaction, to read on; None where it has failed."""
        connection = usable(session)
        return None if connection is None else self.ours(connection)

    @contextmanager
    def reading_in(self, session: Session) -> Iterator[sa.Connection]:
        """The connection of the host's transaction; one of ours where that has failed.

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
            DatabaseBusy: SQLite in memory, and somebody's transaction is open.
            TablesMissing: the tables are not there yet.
        """
        bind = self.bind
        if _is_taken(bind):
            # Our commit would commit the host's work; even giving the one connection back would
            # roll it back.
            raise DatabaseBusy(
                "the only connection of the in-memory database is in another transaction; "
                "end that first, or use a database in a file"
            )
        with connected(bind) as connection, _transaction(connection):
            self.check_tables(connection)
            yield self.ours(connection)

    def check_tables(self, connection: sa.Connection) -> None:
        """See once that nothing is missing, before a statement breaks somebody's transaction.

        Raises:
            TablesMissing: a table is, or a column.
        """
        if self.tables_seen:
            return
        if found := lacking(connection, self.schema):
            cure, otherwise = "Bring the tables up to date", ""
            if len(found) == len(TABLES):
                where = f" from the schema {self.schema}" if self.schema else ""
                found = [f"The tables of Flask-Interaction-Mail are missing{where}."]
                cure, otherwise = "Make them", " with db.create_all() where there are none yet,"
            raise TablesMissing(
                f"{' '.join(found)} {cure} with the application's migrations (flask db migrate, "
                f"flask db upgrade),{otherwise} or with: flask interaction-mail db upgrade"
            )
        self._limit = capacity.limit_of(connection)
        self.encoding = letters.encoding_of(connection)
        self.tables_seen = True

    def check_size(self, content: bytes, intent: str) -> None:
        """See that a message with this ``content`` and ``intent`` is not too large to be stored.

        Raises:
            ContentError: it is; the text says how large, and what the limit is.
        """
        if self._limit is not None:
            capacity.check(content, intent, self.dialect_name, self._limit)

    def check_letters(self, what: str, text: str) -> None:
        """See that ``text``, which is ``what``, can be stored to the letter.

        Raises:
            ContentError: it cannot; the text names the letter.
        """
        if self.encoding is not None:
            letters.check(what, text, self.encoding)

    def spelt(self, text: str | None) -> str | None:
        """``text`` in letters that the database has, with the numbers of others."""
        return letters.spelt(text, self.encoding) if text and self.encoding else text

    @property
    def _guest(self) -> sa.Connection:
        """The one connection in memory, for a reader who leaves the open transaction as it is."""
        raw = _raw_of_static_pool(self.bind)
        return sa.create_engine("sqlite://", creator=lambda: _Guest(raw)).connect()


def context_of(app: Flask) -> AbstractContextManager[object]:
    """An app context of ``app``: the present one, or a new one."""
    if has_app_context() and current_app._get_current_object() is app:  # type: ignore[attr-defined]
        return nullcontext()
    return app.app_context()


class _Guest:
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
        if not _has_no_transactions(engine, str(error.orig)):
            raise
        raise InteractionMailError(
            "PgBouncer is in statement mode between the application and PostgreSQL, where no "
            "transaction is possible: set pool_mode = session (or transaction) for this database."
        ) from error


def _has_no_transactions(engine: sa.Engine, said: str) -> bool:
    """Whether that is what ``said`` tells of: PgBouncer in statement mode takes none."""
    if engine.driver == "psycopg2" and "server closed the connection" in said:
        # It drops PgBouncer's sentence, and reports the same of a server that was restarted.
        return _takes_statements_alone(engine)
    return "statement pooling mode" in said


def _takes_statements_alone(engine: sa.Engine) -> bool:
    dialect, taken = engine.dialect, 0
    try:
        arguments, named = dialect.create_connect_args(engine.url)
        with closing(dialect.connect(*arguments, **named)) as raw:
            raw.autocommit = True
            for statement in ("SELECT 1", "BEGIN"):
                raw.cursor().execute(statement)
                taken += 1
    except dialect.loaded_dbapi.Error:
        return taken == 1
    return False


@contextmanager
def connected(bind: sa.Engine | sa.Connection) -> Iterator[sa.Connection]:
    """A connection of ``bind`` in no transaction of others, unless ``bind`` is one itself."""
    if isinstance(bind, sa.Connection):  # a host's test joins its sessions into one transaction
        yield bind
        return
    with _open(bind) as connection:
        raw = connection.connection.dbapi_connection
        if _in_transaction(raw):
            # SQLAlchemy pools a connection whose COMMIT failed inside its open transaction.
            raw.rollback()  # type: ignore[union-attr]  # it has just been asked something
        yield connection


def lacking(connection: sa.Connection, schema: str | None) -> list[str]:
    """What is missing in ``schema`` of our tables and their columns, one sentence each."""
    reflected = sa.inspect(connection).get_multi_columns(
        schema, [table.name for table in TABLES], kind=ObjectKind.ANY
    )
    there = {name: {one["name"] for one in columns} for (_, name), columns in reflected.items()}
    missing = []
    for table in TABLES:
        if (columns := there.get(table.name)) is None:
            missing.append(f"The table {table.name} is missing.")
            continue
        lost = (one.name for one in table.c if one.name not in columns)
        missing += [f"The column {table.name}.{name} is missing." for name in lost]
    return missing


def in_short(error: Exception) -> str:
    """What the database said of ``error``, without the statement and the row that it quotes."""
    return one_line(f"{type(error).__name__}: {error}".partition("\n")[0])


def plain_session(session: object) -> Session:
    """The session itself, where a host gives the scoped one.

    Raises:
        TypeError: it is no SQLAlchemy ``Session``.
    """
    found: object = session() if isinstance(session, scoped_session) else session
    if not isinstance(found, Session):
        raise TypeError(
            f"session= takes a SQLAlchemy Session, not {type(found).__name__}; with an "
            "AsyncSession call send_notification in its run_sync()"
        )
    return found


def usable(session: Session) -> sa.Connection | None:
    """The connection of the transaction of ``session``, begun if there is none.

    None where that has failed, so that the connection takes no statement any more.
    """
    if not session.in_transaction():
        session.begin()
    if not session.is_active:
        return None
    connection = session.connection(bind_arguments=OURS)
    return None if _has_failed(connection) else connection


def _has_failed(connection: sa.Connection) -> bool:
    # PostgreSQL's answer to a statement that failed outside a flush, of which no session knows.
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
    return bool(getattr(raw, "in_transaction", False))  # only SQLite's driver tells


def _transaction(connection: sa.Connection) -> AbstractContextManager[object]:
    return connection.begin_nested() if connection.in_transaction() else connection.begin()
