"""Short transactions of our own beside the host's."""

# ruff: noqa: PT012 - which block ends with an exception is what these tests are about

from __future__ import annotations

import sqlite3
from contextlib import nullcontext

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.exc import IntegrityError, OperationalError

from flask_interaction_mail import TablesMissing
from flask_interaction_mail.outbox.insert import insert
from flask_interaction_mail.storage.database import Database, DatabaseBusy
from flask_interaction_mail.storage.tables import MESSAGE
from tests.outbox_rows import a_message
from tests.transactions import SHARED, on


def count(connection: sa.Connection) -> int:
    return connection.scalar(sa.select(sa.func.count()).select_from(MESSAGE)) or 0


def test_writing_commits_at_its_end(host):
    """What is written is there for everybody; an exception takes it back."""
    with host.database.writing() as connection:
        insert(connection, [a_message()])
    with host.database.reading() as connection:
        assert count(connection) == 1
    with pytest.raises(KeyError), host.database.writing() as connection:
        insert(connection, [a_message()])
        raise KeyError
    with host.database.reading() as connection:
        assert count(connection) == 1


def test_reading_commits_nothing(host):
    """A reader that writes has written nothing."""
    with host.database.reading() as connection:
        insert(connection, [a_message()])
    with host.database.reading() as connection:
        assert count(connection) == 0


def test_no_app_context_is_needed(host):
    """Workers and agents have none, and the host's teardown functions do not run for each."""
    ended = []
    host.app.teardown_appcontext(ended.append)
    for _ in range(5):
        with host.database.reading():
            pass
        with host.database.writing():
            pass
    assert len(ended) <= 1


def test_what_kind_of_database_it_is(host):
    """The dialect, and whether all sessions share one connection."""
    expected = host.kind if host.kind in ("postgresql", "mariadb") else "sqlite"
    assert host.database.dialect_name == expected
    assert host.database.in_memory is (host.kind == "memory")
    assert host.database.single_connection is host.database.in_memory


def test_missing_tables_are_told_with_the_cure(host):
    """Whoever looks gets the same answer; once they are there, nobody looks again."""
    database = Database(host.app, host.db)
    host.drop_our_tables()
    for look in (database.reading, database.writing):
        with (
            pytest.raises(TablesMissing, match=r"flask db migrate.*create_all.*db upgrade"),
            look(),
        ):
            pass
    host.db.metadata.create_all(host.engine)
    with database.reading():
        pass
    assert database.tables_seen
    with host.engine.connect() as connection:
        statements = []
        sa.event.listen(connection, "before_execute", lambda *args: statements.append(args))
        database.check_tables(connection)
    assert statements == []


@on(*SHARED)
def test_beside_an_open_transaction_of_the_host(make_host):
    """Several connections: ours neither sees nor disturbs the host's open work."""
    host = make_host(timeout=0.2)
    with host.app.app_context():
        host.add()
        if host.kind not in ("wal", "delete"):
            host.session.flush()
        with host.database.writing() as connection:
            insert(connection, [a_message()])
        with host.database.reading() as connection:
            assert count(connection) == 1
        host.session.commit()
    assert host.things() == ["t"]


@on("memory")
@pytest.mark.parametrize("inner_context", [False, True])
def test_in_memory_reading_leaves_the_hosts_work_open(host, inner_context):
    """Neither committed nor rolled back, though there is one connection for all."""
    with host.app.app_context():
        host.add()
        host.session.flush()
        with host.app.app_context() if inner_context else nullcontext():
            for _ in range(2):
                with host.database.reading() as connection:
                    assert connection.scalar(sa.select(host.Thing.name)) == "t"
        host.session.rollback()
        assert host.things() == []
        host.add()
        host.session.flush()
        with host.database.reading():
            pass
        host.session.commit()
    assert host.things() == ["t"]


@on("memory")
@pytest.mark.parametrize("deed", ["commit", "rollback", "invalidate"])
def test_in_memory_a_reader_cannot_end_the_hosts_transaction(host, deed):
    """Nor close the one connection, with which the whole database would go."""
    with host.app.app_context():
        host.add()
        host.session.flush()
        with host.database.reading() as connection:
            count(connection)
            getattr(connection, deed)()
        assert host.things() == ["t"]
        host.session.rollback()
    assert host.things() == []


@on("memory")
def test_in_memory_reading_after_a_failed_flush(host):
    """The host's session can carry nothing, but the tables can be read."""
    with host.app.app_context():
        host.add_taken()
        with pytest.raises(IntegrityError):
            host.session.flush()
        with host.database.reading() as connection:
            assert count(connection) == 0


@on("memory")
def test_in_memory_writing_does_not_commit_the_hosts_work(host):
    """A typed refusal instead; as soon as the host's transaction is over it goes on."""
    with host.app.app_context():
        host.add()
        host.session.flush()
        with pytest.raises(DatabaseBusy, match="in a file"), host.database.writing():
            pass
        host.session.rollback()
        with host.database.writing() as connection:
            insert(connection, [a_message()])
    assert host.things() == []
    assert host.subjects() == ["x"]


@on("memory", "wal")
def test_in_memory_between_the_hosts_transactions(host):
    """A session that has only read is no obstacle."""
    with host.app.app_context():
        host.session.execute(sa.select(host.Thing)).all()
        with host.database.writing() as connection:
            insert(connection, [a_message()])
        host.session.rollback()
    assert host.subjects() == ["x"]


@on("delete")
@pytest.mark.parametrize("look", ["reading", "writing"])
def test_what_a_failed_commit_left_is_rolled_back_first(make_host, look):
    """SQLAlchemy pools the connection in its open transaction; with it ours would commit it."""
    host = make_host(timeout=0.1, engine_options={"pool_size": 1, "max_overflow": 0})
    with host.database.reading():
        pass
    other = sqlite3.connect(host.engine.url.database, isolation_level=None)
    other.execute("BEGIN")
    other.execute("SELECT * FROM thing").fetchall()
    with host.app.app_context():
        host.add()
        with pytest.raises(OperationalError):
            host.session.commit()
    other.execute("ROLLBACK")
    with getattr(host.database, look)() as connection:
        assert connection.scalar(sa.select(host.Thing.name)) is None
    assert other.execute("SELECT count(*) FROM thing").fetchone() == (0,)
    other.close()


def test_a_database_that_is_not_set_up_is_told():
    """Flask-SQLAlchemy's own words: they name the missing call."""
    app, db = Flask("forgetful"), SQLAlchemy()
    with pytest.raises(RuntimeError, match="init_app"):
        Database(app, db).bind.connect()
