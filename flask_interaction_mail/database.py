"""The host's database, for our own short transactions: settings, delivery, the panel.

What belongs to the host's own transaction goes through ``pending`` instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cached_property

import sqlalchemy as sa
from flask import Flask, current_app, has_app_context
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.pool import StaticPool

from .errors import InteractionMailError, TablesMissing
from .models import MessageRow

MESSAGE = MessageRow.__table__


class DatabaseBusy(InteractionMailError):
    """The one connection of an in-memory database is in the host's transaction: try later."""


class Database:
    """The engine behind the extension's tables: the default bind of the host."""

    def __init__(self, app: Flask, db: SQLAlchemy) -> None:
        self._app = app
        self._db = db
        self._tables_seen = False

    @cached_property
    def in_memory(self) -> bool:
        """Whether all sessions share one connection, as with SQLite in memory."""
        uri = self._app.config.get("SQLALCHEMY_DATABASE_URI")
        if uri is None:
            return False
        url = sa.make_url(uri)
        return url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:")

    @property
    def bind(self) -> sa.Engine | sa.Connection:
        """What the host's session would use for our tables; a Connection in a host's tests."""
        with self._context():
            bind: sa.Engine | sa.Connection = self._db.engines[None]
            return bind

    @property
    def dialect_name(self) -> str:
        """``sqlite``, ``postgresql``, ``mysql`` or ``mariadb``."""
        return self.bind.dialect.name

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A connection to read on; nothing is committed.

        Raises:
            TablesMissing: the tables are not there yet.
        """
        with self._context():
            if self.in_memory and self._app_session_is_open():
                # Another checkout of the one connection would roll the host's work back.
                connection = self._db.session.connection(bind_arguments={"clause": MESSAGE})
                self.check_tables(connection)
                yield connection
                return
        with connected(self.bind) as connection:
            self.check_tables(connection)
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A connection in a transaction of its own, committed at the end.

        Raises:
            DatabaseBusy: SQLite in memory, and the host's transaction is open.
            TablesMissing: the tables are not there yet.
        """
        with connected(self.bind) as connection, _transaction(connection):
            self.check_tables(connection)
            yield connection

    def check_tables(self, connection: sa.Connection) -> None:
        """See once that the tables exist.

        Raises:
            TablesMissing: they do not; on PostgreSQL a statement would break the transaction.
        """
        if self._tables_seen:
            return
        if not sa.inspect(connection).has_table(MESSAGE.name):
            raise TablesMissing(
                "The tables of Flask-Interaction-Mail are missing. Make them with the "
                "application's migrations (flask db migrate, flask db upgrade), with "
                "db.create_all(), or with: flask interaction-mail db upgrade"
            )
        self._tables_seen = True

    def _app_session_is_open(self) -> bool:
        return self._db.session.registry.has() and bool(self._db.session().in_transaction())

    def _context(self) -> AbstractContextManager[object]:
        if has_app_context() and current_app._get_current_object() is self._app:  # type: ignore[attr-defined]
            return nullcontext()
        return self._app.app_context()


@contextmanager
def connected(bind: sa.Engine | sa.Connection) -> Iterator[sa.Connection]:
    """A connection of ``bind`` that is in nobody's transaction.

    Raises:
        DatabaseBusy: it is the only one, and in somebody's transaction.
    """
    if isinstance(bind, sa.Connection):  # a host's test has joined its session into a transaction
        yield bind
        return
    if isinstance(bind.pool, StaticPool) and _in_transaction(bind.pool.connection.dbapi_connection):
        # Even to give the one connection back would roll the host's transaction back.
        raise DatabaseBusy("the one in-memory connection is in another transaction")
    with bind.connect() as connection:
        raw = connection.connection.dbapi_connection
        if _in_transaction(raw):
            # SQLAlchemy pools a connection whose COMMIT failed inside its open transaction.
            raw.rollback()  # type: ignore[union-attr]  # it has just been asked something
        yield connection


def _in_transaction(raw: object) -> bool:
    return bool(getattr(raw, "in_transaction", False))  # only SQLite's driver tells


def _transaction(connection: sa.Connection) -> AbstractContextManager[object]:
    return connection.begin_nested() if connection.in_transaction() else connection.begin()
