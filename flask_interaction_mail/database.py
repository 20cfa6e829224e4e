"""The host's database, for our own short transactions: settings, delivery, the panel.

What belongs to the host's own transaction goes through ``pending`` instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cached_property
from typing import Any, Final

import sqlalchemy as sa
from flask import Flask, current_app, has_app_context
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import Session, scoped_session
from sqlalchemy.pool import StaticPool

from .errors import InteractionMailError, TablesMissing
from .models import MESSAGE

# How to ask a session for its connection to our tables. A session that reads from replicas
# sends an UPDATE to the database that takes writes; of a bare table it cannot know.
OURS: Final[dict[str, Any]] = {"clause": sa.update(MESSAGE)}


class DatabaseBusy(InteractionMailError):
    """The one connection of an in-memory database is in the host's transaction: try later."""


class Database:
    """The engine behind the extension's tables: the default bind of the host."""

    def __init__(self, app: Flask, db: SQLAlchemy) -> None:
        self._app = app
        self._db = db
        self.tables_seen = False

    @cached_property
    def _engines(self) -> Mapping[str | None, sa.Engine | sa.Connection]:
        # Flask-SQLAlchemy tells only inside an app context, and pushing one for every look would
        # run the host's teardown functions each time. The mapping stays the same object.
        with self._context():
            return self._db.engines

    @property
    def bind(self) -> sa.Engine | sa.Connection:
        """What the host's session uses for our tables; a Connection in some tests of hosts.

        Raises:
            RuntimeError: Flask-SQLAlchemy is not initialised for the app.
        """
        return self._engines[None]

    @property
    def dialect_name(self) -> str:
        """``sqlite``, ``postgresql``, ``mysql`` or ``mariadb``."""
        return self.bind.dialect.name

    @property
    def in_memory(self) -> bool:
        """Whether all sessions share one connection, as with SQLite in memory."""
        return isinstance(self.bind.engine.pool, StaticPool)

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A connection to read on; nothing is committed.

        Raises:
            TablesMissing: the tables are not there yet.
        """
        bind = self.bind
        with self._guest if _is_taken(bind) else connected(bind) as connection:
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
            yield connection

    def check_tables(self, connection: sa.Connection) -> None:
        """See once that the tables exist, before a statement breaks somebody's transaction.

        Raises:
            TablesMissing: they do not.
        """
        if self.tables_seen:
            return
        if not sa.inspect(connection).has_table(MESSAGE.name):
            raise TablesMissing(
                "The tables of Flask-Interaction-Mail are missing. Make them with the "
                "application's migrations (flask db migrate, flask db upgrade), with "
                "db.create_all(), or with: flask interaction-mail db upgrade"
            )
        self.tables_seen = True

    @property
    def _guest(self) -> sa.Connection:
        """The one connection in memory, for a reader who leaves the open transaction as it is."""
        raw = _raw_of_static_pool(self.bind)
        return sa.create_engine("sqlite://", creator=lambda: _Guest(raw)).connect()

    def _context(self) -> AbstractContextManager[object]:
        if has_app_context() and current_app._get_current_object() is self._app:  # type: ignore[attr-defined]
            return nullcontext()
        return self._app.app_context()


class _Guest:
    """A DBAPI connection that neither ends the transaction of its owner nor closes."""

    def __init__(self, raw: object) -> None:
        self._raw = raw

    def commit(self) -> None: ...

    def rollback(self) -> None: ...

    def close(self) -> None: ...

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)


@contextmanager
def connected(bind: sa.Engine | sa.Connection) -> Iterator[sa.Connection]:
    """A connection of ``bind`` in no transaction of others, unless ``bind`` is one itself."""
    if isinstance(bind, sa.Connection):  # a host's test joins its sessions into one transaction
        yield bind
        return
    with bind.connect() as connection:
        raw = connection.connection.dbapi_connection
        if _in_transaction(raw):
            # SQLAlchemy pools a connection whose COMMIT failed inside its open transaction.
            raw.rollback()  # type: ignore[union-attr]  # it has just been asked something
        yield connection


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


def _is_taken(bind: sa.Engine | sa.Connection) -> bool:
    return isinstance(bind, sa.Engine) and _in_transaction(_raw_of_static_pool(bind))


def _raw_of_static_pool(bind: sa.Engine | sa.Connection) -> object:
    pool = bind.engine.pool
    return pool.connection.dbapi_connection if isinstance(pool, StaticPool) else None


def _in_transaction(raw: object) -> bool:
    return bool(getattr(raw, "in_transaction", False))  # only SQLite's driver tells


def _transaction(connection: sa.Connection) -> AbstractContextManager[object]:
    return connection.begin_nested() if connection.in_transaction() else connection.begin()
