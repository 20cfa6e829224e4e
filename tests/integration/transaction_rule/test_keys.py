"""One key, one message: in one transaction, one after the other, and at the same time."""

from __future__ import annotations

import gc
import sqlite3
import threading

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from flask_interaction_mail import notification_queued
from flask_interaction_mail.outbox.insert import insert
from tests.outbox_rows import a_message
from tests.transactions import SERVERS, SHARED, always, eventually, in_threads, on, send


def test_a_key_counts_once_in_a_transaction(host):
    """The first call's content and recipients count; the commit is not disturbed."""
    with host.app.app_context():
        first = send("first", key="k")
        second = send("second", key="k", to=("c@x.example",))
        assert first.id == second.id
        host.add()
        host.session.commit()
    assert host.subjects() == ["first"]
    assert len(host.addresses()) == 2
    assert host.things() == ["t"]


def test_a_key_that_is_taken_is_no_error(host, caplog):
    """The second transaction commits its own work and adds nothing to the message."""
    heard = []

    def hear(app, notification):
        heard.append(notification.subject)

    notification_queued.connect(hear, host.app)
    with host.app.app_context():
        send("first", key="k")
        host.session.commit()
        send("second", key="k", to=("c@x.example",))
        host.add()
        host.session.commit()
    gc.collect()
    assert "notification" not in caplog.text  # neither lost nor dropped: it is there
    assert host.subjects() == heard == ["first"]
    assert len(host.addresses()) == 2
    assert host.things() == ["t"]


@on(*SHARED)
def test_a_race_for_keys(make_host):
    """Eight threads take the same pairs of keys in either order: nobody fails, none is doubled."""
    host = make_host(timeout=20)
    together = threading.Barrier(8)
    errors = []

    def racer(number):
        for turn in range(10):
            together.wait()
            keys = [f"a{turn}", f"b{turn}"]
            try:
                with host.app.app_context():
                    host.add(f"{number}-{turn}")
                    for key in keys if number % 2 else reversed(keys):
                        send(key, key=key)
                    host.session.commit()
            except Exception as error:
                errors.append(error)

    in_threads(*(lambda number=number: racer(number) for number in range(8)))
    assert errors == []
    assert len(host.subjects()) == 20
    assert len(host.addresses()) == 40
    assert len(host.things()) == 80


@on(*SHARED)
def test_a_key_in_flight_is_waited_for(make_host):
    """Another transaction holds the key: the commit waits for its end, and then takes it."""
    host = make_host(timeout=10)
    done = threading.Event()

    def second():
        with host.app.app_context():
            send("second", key="k")
            host.session.commit()
            done.set()

    with host.engine.connect() as connection:
        with connection.begin() as transaction:
            insert(connection, [a_message(key="k")])
            thread = threading.Thread(target=second)
            thread.start()
            assert not done.wait(0.4)
            transaction.rollback()
        thread.join()
    assert done.is_set()
    assert host.subjects() == ["second"]


STRICT = ["REPEATABLE READ", "SERIALIZABLE"]


def strict(make_host, kind, level):
    """A host in whose transactions a row that others changed meanwhile is an error."""
    host = make_host(engine_options={"isolation_level": level})
    if kind == "mariadb":

        @sa.event.listens_for(host.engine, "connect")
        def connect(connection, _):
            connection.cursor().execute("SET SESSION innodb_snapshot_isolation = ON")

        host.engine.dispose()
    return host


def snapshot(host):
    # On PostgreSQL any statement takes it; what is read besides is no affair of these tests.
    postgresql = host.engine.dialect.name == "postgresql"
    host.session.execute(sa.select(1 if postgresql else host.Thing.id)).all()


@on(*SERVERS)
@pytest.mark.parametrize("level", STRICT)
def test_a_key_taken_after_the_snapshot_is_no_error(make_host, kind, level):
    """The host's commit goes through with all that is its own; a fact is stored, too."""
    host = strict(make_host, kind, level)

    def other():
        with host.app.app_context():
            send("other", key="k")
            host.session.commit()

    with host.app.app_context():
        snapshot(host)
        in_threads(other)
        host.add("before")
        send("mine", key="k")
        more = [] if level == "SERIALIZABLE" else ["free", "without"]
        for subject in more:  # there PostgreSQL may refuse them, whatever their keys
            send(subject, key="free" if subject == "free" else None)
        always("fact")
        host.session.commit()
    assert host.subjects() == sorted(["fact", "other", *more])
    assert host.things() == ["before"]


@pytest.mark.parametrize(
    ("kind", "level"),
    # At MariaDB's SERIALIZABLE every look locks, so that the database itself ends all but one.
    [("postgresql", STRICT[0]), ("postgresql", STRICT[1]), ("mariadb", STRICT[0])],
)
def test_eight_who_saw_the_key_free_commit_and_make_one(make_host, kind, level):
    """Whatever the order of their commits: all of them have looked before anybody stored."""
    host = strict(make_host, kind, level)
    together = threading.Barrier(8)
    errors = []

    def racer(number):
        try:
            with host.app.app_context():
                snapshot(host)
                send("once", key="k")
                together.wait(20)
                host.session.add(host.Thing(name=f"{number}"))
                host.session.commit()
        except Exception as error:
            errors.append(error)

    in_threads(*(lambda number=number: racer(number) for number in range(8)))
    assert errors == []
    assert host.subjects() == ["once"]
    assert len(host.things()) == 8


@on("postgresql")
def test_a_message_that_nobody_else_made_is_not_lost(make_host):
    """SERIALIZABLE refuses for other reasons, too: then the commit fails, as with any row."""
    host = strict(make_host, "postgresql", "SERIALIZABLE")

    def other():
        with host.app.app_context():
            send("other", key="k")
            host.session.commit()

    with host.app.app_context():
        snapshot(host)
        in_threads(other)
        send("mine", key="k")
        send("needed", key="free")
        try:
            host.session.commit()
            assert "needed" in host.subjects()
        except OperationalError:
            host.session.rollback()
    assert host.subjects() in (["other"], ["needed", "other"])


@on("postgresql")
def test_another_error_of_a_keyed_message_is_told(make_host):
    """Only what means that somebody else was quicker is taken for that."""
    host = make_host(engine_options={"isolation_level": "REPEATABLE READ"})
    with host.app.app_context():
        host.add()
        send("x", key="k")
        host.session.execute(sa.text("SET LOCAL transaction_read_only = on"))
        with pytest.raises(sa.exc.DBAPIError, match="read-only"):
            host.session.commit()
        host.session.rollback()


@on("wal")
def test_a_snapshot_of_sqlite_that_is_too_old(make_host):
    """A host with real BEGIN reads, another writes: its own commit fails, a fact is stored."""
    host = make_host(timeout=0.3)
    with host.app.app_context(), host.real_begin():
        host.session.execute(sa.select(host.Thing)).all()
        other = sqlite3.connect(host.engine.url.database)
        other.execute("INSERT INTO thing (name) VALUES ('other')")
        other.commit()
        other.close()
        send("joined")
        always("fact")
        with pytest.raises(OperationalError):
            host.session.commit()
        host.session.rollback()
        assert eventually(lambda: host.subjects() == ["fact"])
