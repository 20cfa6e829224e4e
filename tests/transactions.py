"""A bare host with the real outbox behind it, for tests of what a transaction carries.

There are no settings, no addresses and no panel here: ``send`` puts a finished message into the
hands of ``session_events``, as the public calls do after everything of theirs.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask, current_app
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import event

from flask_interaction_mail.messages.message import NewMessage
from flask_interaction_mail.messages.recorded import Recording
from flask_interaction_mail.storage import tables
from flask_interaction_mail.storage.database import Database
from flask_interaction_mail.storage.tables import MESSAGE, RECIPIENT
from flask_interaction_mail.unit_of_work import retry_queue, session_events
from flask_interaction_mail.unit_of_work.app_context import instrument
from flask_interaction_mail.unit_of_work.pending_work import CommitRule, StoreMessage
from tests.outbox_rows import a_message
from tests.tables import create_all, metadata_of_hosts

FILES = ("wal", "delete")
SERVERS = ("postgresql", "mariadb")
KINDS = ("memory", *FILES, *SERVERS)
SHARED = (*FILES, *SERVERS)  # several connections at a time
TABLES = tuple(tables.OURS.sorted_tables)


class CountingDelivery:
    """A way of delivery that is told, and delivers nothing."""

    def __init__(self) -> None:
        self.waked, self.contexts_ended = 0, 0

    def ensure_running(self) -> None: ...

    def wake(self) -> None:
        self.waked += 1

    def context_ends(self) -> None:
        self.contexts_ended += 1

    def stop(self, timeout: float = 0.0) -> None: ...


class Host:
    """An application with a table of its own, and what a work needs of its owner."""

    recordings: tuple[Recording, ...] = ()

    def __init__(
        self,
        kind: str,
        url: str,
        *,
        ours_first: bool = False,
        session_options: dict[str, Any] | None = None,
        engine_options: dict[str, Any] | None = None,
        timeout: float = 5,  # s that SQLite waits for a lock
        binds: dict[str, str] | None = None,
        testing: bool = False,
    ) -> None:
        self.kind, self.url = kind, url
        self.app = Flask("host")
        options = dict(engine_options or {})
        if url.startswith("sqlite"):
            options.setdefault("connect_args", {})["timeout"] = timeout
        self.app.config.update(
            SQLALCHEMY_DATABASE_URI=url,
            SQLALCHEMY_ENGINE_OPTIONS=options,
            SQLALCHEMY_BINDS=binds or {},
            SECRET_KEY="k" * 32,
            TESTING=testing,
        )
        metadata = metadata_of_hosts(None, kind)
        self.db = SQLAlchemy(metadata=metadata, session_options=session_options or {})
        tables.copy_to(metadata)
        self.Thing = type("Thing", (self.db.Model,), {"__table__": metadata.tables["thing"]})
        self.Other = self._other() if binds else None
        self.delivery = CountingDelivery()
        if ours_first:
            self._set_up()
        self.db.init_app(self.app)
        if not ours_first:
            self._set_up()
        with self.app.app_context():
            self.engine = self.db.engine
            create_all(self.db.metadata, self.engine)
            self.db.create_all([*self.app.config["SQLALCHEMY_BINDS"]])
        self.client = self.app.test_client()

    def _set_up(self) -> None:
        self.database = Database(self.app, self.db)
        self.app.extensions["host"] = self
        instrument(self.app)

    def _other(self) -> Any:
        attributes = {
            "__tablename__": "thing",
            "__bind_key__": "other",
            "id": sa.Column(sa.Integer, primary_key=True),
            "name": sa.Column(sa.String(50), unique=True),
        }
        return type("Other", (self.db.Model,), attributes)

    # -- what a test does and sees

    @property
    def session(self) -> Any:
        return self.db.session

    def view(self, rule: str = "/") -> Callable[[Callable[[], Any]], None]:
        """Serve the decorated function at ``rule``."""
        return lambda function: self.app.add_url_rule(rule, function.__name__, function)

    def committed(self, query: Any) -> list[Any]:
        """What another connection sees."""
        with self.database.reading() as connection:
            return list(connection.scalars(query))

    def subjects(self) -> list[str]:
        return sorted(self.committed(sa.select(MESSAGE.c.subject)))

    def addresses(self) -> list[str]:
        return sorted(self.committed(sa.select(RECIPIENT.c.address)))

    def things(self) -> list[str]:
        return sorted(self.committed(sa.select(self.Thing.__table__.c.name)))

    def add(self, name: str = "t") -> Any:
        """Work of the host's own in ``db.session``."""
        thing = self.Thing(name=name)
        self.session.add(thing)
        return thing

    def add_taken(self) -> None:
        """Work of the host's own that fails when it is flushed."""
        self.add("taken")
        self.session.commit()
        self.add("taken")

    def drop_our_tables(self) -> None:
        for table in reversed(TABLES):
            table.drop(self.engine)

    @contextmanager
    def real_begin(self) -> Iterator[None]:
        """SQLAlchemy's recipe for savepoints that work with Python's sqlite3."""
        if not self.url.startswith("sqlite"):
            yield
            return

        def begin(connection: sa.Connection) -> None:
            connection.connection.dbapi_connection.isolation_level = None  # type: ignore[union-attr]
            connection.exec_driver_sql("BEGIN")

        event.listen(self.engine, "begin", begin)
        yield
        event.remove(self.engine, "begin", begin)

    @contextmanager
    def locked_by_another(self) -> Iterator[None]:
        """Another connection holds SQLite's write lock."""
        with self.engine.connect() as other:
            other.exec_driver_sql("BEGIN IMMEDIATE")
            yield
            other.exec_driver_sql("ROLLBACK")

    def close(self) -> None:
        """Throw the application away; a server's database is left without rows for the next."""
        with self.app.app_context():
            self.session.remove()
            engines = list(self.db.engines.values())
        if not self.url.startswith("sqlite"):
            self._empty()
        # What is stored in the background is seen before its end, where all share a connection;
        # and SQLite ends the process if that is closed meanwhile.
        with retry_queue._round_lock:
            for engine in engines:
                engine.dispose()

    def _empty(self) -> None:
        with self.engine.begin() as connection:
            present = sa.inspect(connection).get_table_names()
            for table in reversed(self.db.metadata.sorted_tables):
                if table.name in present:
                    connection.execute(sa.delete(table))


def send(
    subject: str,
    *,
    key: str | None = None,
    rule: CommitRule = CommitRule.JOIN,
    session: Any = None,
    to: tuple[str, ...] = ("a@x.example", "b@x.example"),
) -> NewMessage:
    """Hand a message to ``session_events`` in the current app context."""
    host: Host = current_app.extensions["host"]
    message = a_message(*to, key=key)
    message = message._replace(intent=message.intent._replace(subject=subject))
    session_events.register(StoreMessage(message, rule), host, session=session)
    return message


def always(subject: str) -> NewMessage:
    """``send`` what states a fact, as a merge request does."""
    return send(subject, rule=CommitRule.ALWAYS)


def waiting(session: Any) -> list[str]:
    """The subjects that wait for the commit of ``session``."""
    return sorted(work.message.intent.subject for work in session_events.pending_works(session))


def call_back(session: Any, subject: str) -> bool:
    """Withdraw what has this ``subject``."""
    return session_events.withdraw(session, lambda work: work.message.intent.subject == subject)


def eventually(true: Callable[[], bool], *, seconds: float = 60) -> bool:
    """Whether ``true`` becomes so in time."""
    end = time.monotonic() + seconds
    while not (there := true()) and time.monotonic() < end:
        time.sleep(0.02)
    return there


def give_up_what_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tried in the background is refused at the next try, so that its thread ends."""
    monkeypatch.setattr(retry_queue, "DELAYS", (0.01,))
    monkeypatch.setattr(retry_queue, "is_away", lambda _: False)
    assert eventually(lambda: retry_queue._thread is None)


def in_threads(*works: Callable[[], Any]) -> None:
    """Run ``works`` side by side, to their ends."""
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def on(*kinds: str) -> pytest.MarkDecorator:
    """Run the test on these kinds of database only: it says nothing about the others."""
    return pytest.mark.parametrize("kind", kinds, indirect=True)
