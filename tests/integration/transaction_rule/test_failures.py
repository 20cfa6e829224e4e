"""What goes wrong: failed commits, missing tables, locked databases, thrown away sessions."""

from __future__ import annotations

import gc
import os
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import abort
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session

from flask_interaction_mail import TablesMissing, notification_queued
from flask_interaction_mail.unit_of_work import retry_queue, session_events, writer
from flask_interaction_mail.unit_of_work.pending_work import PendingWork, StoreMessage
from flask_interaction_mail.values import RecipientVerdict
from tests.outbox_rows import a_message
from tests.transactions import FILES, SHARED, eventually, give_up_what_waits, on, send

SOON = (0.1,) * 40
_ROOT = Path(__file__).parents[3]


@pytest.fixture
def retried_soon(monkeypatch):
    """The background tries again every tenth of a second."""
    monkeypatch.setattr(retry_queue, "DELAYS", SOON)


# -- commits that fail -------------------------------------------------------------------


def test_a_commit_that_fails_takes_it_along(host):
    """A new transaction afterwards has its own."""
    with host.app.app_context():
        host.add_taken()
        send("gone")
        with pytest.raises(IntegrityError):
            host.session.commit()
        host.session.rollback()
        host.add("next")
        send("kept")
        host.session.commit()
    assert host.subjects() == ["kept"]
    assert host.things() == ["next", "taken"]


def test_a_failed_commit_that_the_host_ignores(host):
    """No rollback follows: its work is lost, and so is what joined it."""
    with host.app.app_context():
        host.add_taken()
        send("gone")
        with pytest.raises(IntegrityError):
            host.session.commit()
    assert host.subjects() == []


def test_an_error_report_after_a_failed_flush(host):
    """Sent where the session can carry nothing: stored at the end of the context."""
    with host.app.app_context():
        host.add_taken()
        send("gone")
        with pytest.raises(IntegrityError):
            host.session.flush()
        send("report")
    assert host.subjects() == ["report"]


@pytest.fixture
def late_check(host):
    """A table whose foreign key is checked by the COMMIT itself."""
    with host.engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TABLE late (id integer PRIMARY KEY, "
            "thing integer REFERENCES thing(id) DEFERRABLE INITIALLY DEFERRED)"
        )
    yield "INSERT INTO late VALUES (1, 99)"
    with host.engine.begin() as connection:
        connection.connection.dbapi_connection.rollback()
        connection.exec_driver_sql("DROP TABLE late")


@on("memory", "wal", "delete", "postgresql")
@pytest.mark.parametrize("rolled_back", [True, False])
def test_the_database_refuses_the_commit(host, late_check, rolled_back, caplog):
    """COMMIT itself fails: written, but never stored."""
    with host.app.app_context():
        if host.url.startswith("sqlite"):
            host.session.execute(sa.text("PRAGMA foreign_keys=ON"))
        send("gone")
        host.add()
        host.session.execute(sa.text(late_check))
        with pytest.raises(IntegrityError):
            host.session.commit()
        if rolled_back:
            host.session.rollback()
    if host.kind != "memory" or rolled_back:
        assert host.subjects() == []
        assert host.things() == []
    assert ("not committed" in caplog.text) is not rolled_back


@on(*FILES)
def test_ours_does_not_commit_what_a_failed_commit_left(make_host, caplog):
    """SQLAlchemy pools SQLite's connection in its open transaction: ours must not finish it."""
    host = make_host(timeout=0.2)

    @host.view("/commits")
    def commits():
        host.add()
        send("joined")
        host.session.commit()
        return "ok"

    @host.view("/denied")
    def denied():
        send("denied")
        abort(403)

    other = sqlite3.connect(host.engine.url.database, isolation_level=None)
    if host.kind == "delete":  # a reader lets nobody commit
        other.execute("BEGIN")
        other.execute("SELECT * FROM thing").fetchall()
        assert host.client.get("/commits").status_code == 500
        other.execute("ROLLBACK")
    else:
        _fail_a_commit(host)
    assert host.client.get("/denied").status_code == 403
    stored = other.execute("SELECT subject FROM interaction_mail_message").fetchall()
    things = other.execute("SELECT count(*) FROM thing").fetchone()
    other.close()
    assert (stored, things) == ([("denied",)], (0,))


def _fail_a_commit(host):
    with host.app.app_context():
        host.session.execute(
            sa.text(
                "CREATE TABLE late (id integer PRIMARY KEY, "
                "thing integer REFERENCES thing(id) DEFERRABLE INITIALLY DEFERRED)"
            )
        )
        host.session.commit()
        host.session.execute(sa.text("PRAGMA foreign_keys=ON"))
        send("joined")
        host.add()
        host.session.flush()
        host.session.execute(sa.text("INSERT INTO late VALUES (1, 99)"))
        with pytest.raises(IntegrityError):
            host.session.commit()


# -- tables ------------------------------------------------------------------------------


def test_missing_tables_are_told_at_the_call(host):
    """With the cure, and before anything of the host's is harmed."""
    host.drop_our_tables()
    with host.app.app_context():
        host.add()
        with pytest.raises(TablesMissing, match=r"flask db upgrade.*create_all"):
            send("refused")
        host.session.commit()
    host.db.metadata.create_all(host.engine)
    assert host.things() == ["t"]
    assert host.subjects() == []


def test_tables_that_vanish_break_the_commit_without_telling_secrets(host):
    """Stored with the commit or not committed: the error quotes no address and no body."""
    with host.app.app_context():
        send("there are tables")
        host.session.rollback()
        host.drop_our_tables()
        host.add()
        send("secret", to=("secret@x.example",))
        with pytest.raises(DBAPIError) as caught:
            host.session.commit()
        host.session.rollback()
    host.db.metadata.create_all(host.engine)
    assert "secret" not in str(caught.value)
    assert host.things() == []


def test_the_log_quotes_no_row(host, caplog, monkeypatch):
    """A refused row is in the error: PostgreSQL's detail quotes it, SQLAlchemy its parameters."""
    monkeypatch.setattr(retry_queue, "DELAYS", ())
    no_address = RecipientVerdict(address=None, name="Ada", reply="secret")
    message = a_message()._replace(recipients=(no_address,))
    with host.app.app_context():
        session_events.register(StoreMessage(message), host)
    assert "notification.lost" in caplog.text
    assert "null" in caplog.text.lower()
    assert "secret" not in caplog.text


# -- a database that is away -------------------------------------------------------------


@on(*FILES)
def test_nothing_is_raised_at_the_end_of_a_context(make_host, caplog, retried_soon):
    """Somebody else holds the lock: an ERROR now, stored when the lock is free."""
    host = make_host(timeout=0.1)
    with host.locked_by_another():
        with host.app.app_context():
            message = send("one")
        assert "notification.delayed" in caplog.text
        assert str(message.id) in caplog.text
        assert host.subjects() == []
    assert eventually(lambda: host.subjects() == ["one"])


@on("wal")  # where the test's own readers meet no lock
def test_nothing_is_given_up_while_the_database_is_away(make_host, caplog, monkeypatch):
    """It may be away for longer than the list of waits: said once, and stored when it is back."""
    monkeypatch.setattr(retry_queue, "DELAYS", (0.02, 0.02))
    host = make_host(timeout=0.02)
    with host.locked_by_another():
        for subject in ("one", "two"):
            with host.app.app_context():
                send(subject)
        time.sleep(0.5)
    assert eventually(lambda: host.subjects() == ["one", "two"])
    assert caplog.text.count("notification.delayed") == 2
    assert "notification.lost" not in caplog.text


def test_what_the_database_refuses_is_given_up(host, caplog, monkeypatch):
    """It would be refused for ever; what waits behind it is stored."""
    monkeypatch.setattr(retry_queue, "DELAYS", (0.1, 0.1))
    monkeypatch.setattr(retry_queue, "is_away", lambda error: "locked" in str(error))
    with host.app.app_context():
        send("refused", to=(None,))
    with host.app.app_context():
        send("stored")
    assert eventually(lambda: "notification.lost" in caplog.text)
    assert host.subjects() == ["stored"]


@on("wal")
def test_one_that_fails_for_ever_is_in_nobodys_way(make_host, monkeypatch):
    """Whatever the reason looks like: each try begins with another one."""
    monkeypatch.setattr(retry_queue, "DELAYS", SOON)
    monkeypatch.setattr(retry_queue, "is_away", lambda _: True)
    host = make_host(timeout=0.05)
    with host.locked_by_another():
        for subject, to in (("bad", (None,)), ("one", ("a@x.example",))):
            with host.app.app_context():
                send(subject, to=to)
    assert eventually(lambda: host.subjects() == ["one"])
    give_up_what_waits(monkeypatch)


@on("wal")
def test_the_process_ends_while_one_is_tried(host, caplog, monkeypatch):
    """It is told as lost, once, and the try that is under way breaks nothing."""
    monkeypatch.setattr(retry_queue, "DELAYS", (0.01,))
    monkeypatch.setattr(retry_queue, "_EXIT_WAIT", 0.01)
    monkeypatch.setattr(retry_queue, "_process_ends", False)
    begun, may_end = threading.Event(), threading.Event()

    def attempt():
        begun.set()
        may_end.wait(10)
        raise sa.exc.TimeoutError

    retry_queue.add(
        retry_queue.Job(host.app, attempt, lambda: None, ["one"], 1), sa.exc.TimeoutError()
    )
    assert begun.wait(10)
    retry_queue._at_exit()
    may_end.set()
    assert eventually(lambda: retry_queue._thread is None)
    assert caplog.text.count("notification.lost: one") == 1


@on("wal")
def test_memory_is_the_limit(make_host, caplog, monkeypatch):
    """What has no room is told as lost, by recipients and subject; the others wait."""
    monkeypatch.setattr(retry_queue, "DELAYS", SOON)
    monkeypatch.setattr(retry_queue, "MAX_BYTES", 10_000)
    host = make_host(timeout=0.05)
    with host.locked_by_another():
        for subject in ("one", "two", "three"):
            with host.app.app_context():
                send(subject)
    assert eventually(lambda: host.subjects() == ["one", "two"])
    assert "'three' to a@x.example, b@x.example" in caplog.text
    assert "can wait" in caplog.text


@on("wal")
def test_no_thread_can_be_started(make_host, caplog, monkeypatch):
    """The host's page goes on, and the next that is kept tries it again."""
    monkeypatch.setattr(retry_queue, "DELAYS", SOON)
    host = make_host(timeout=0.05)

    def refuse(_thread):
        raise RuntimeError("can't start new thread")

    with host.locked_by_another():
        with monkeypatch.context() as context, host.app.app_context():
            context.setattr(threading.Thread, "start", refuse)
            send("one")
            host.app.do_teardown_appcontext(None)
        assert "no thread can be started" in caplog.text
        with host.app.app_context():
            send("two")
    assert eventually(lambda: host.subjects() == ["one", "two"])


@on(*FILES)
def test_a_late_message_is_announced_in_a_context(make_host, retried_soon):
    """Receivers may use the app as always, and its end is told: delivery may hang on that."""
    host = make_host(timeout=0.1)
    heard = []

    def hear(app, notification):
        heard.append((host.session.execute(sa.text("SELECT 1")).scalar(), notification.subject))

    notification_queued.connect(hear, host.app)
    with host.locked_by_another():
        with host.app.app_context():
            send("one")
        ended = host.delivery.contexts_ended
    assert eventually(lambda: heard == [(1, "one")])
    assert eventually(lambda: host.delivery.contexts_ended > ended)


@on(*SHARED)
def test_an_inner_context_waits_for_the_outer_ones_lock(make_host, retried_soon):
    """The outer context has flushed: on SQLite the inner message comes when that is over."""
    host = make_host(timeout=0.1)
    with host.app.app_context():
        host.add()
        host.session.flush()
        with host.app.app_context():
            send("inner")
        host.session.rollback()
    assert eventually(lambda: host.subjects() == ["inner"])
    assert host.things() == []


@on("memory")
def test_in_memory_the_hosts_open_work_is_left_alone(host, retried_soon, caplog):
    """All sessions share one connection: ours waits, lest it commit the host's work."""
    with host.app.app_context():
        host.add("open")
        host.session.flush()
        with host.app.app_context():
            _left_over(host, "late")
        assert "notification.delayed" in caplog.text
        assert "in-memory" in caplog.text
        host.session.rollback()
    assert eventually(lambda: host.subjects() == ["late"])
    assert host.things() == []


def _left_over(host, subject):
    """Store in a transaction of our own, without a session that would touch the connection."""
    message = a_message()
    message = message._replace(intent=message.intent._replace(subject=subject))
    writer.store([PendingWork(StoreMessage(message), host, None)])


_SCRIPT = """
import os
import sys
from tests.transactions import Host, send

host = Host("delete", sys.argv[1], timeout=0.1)
other = host.engine.connect()
other.exec_driver_sql("BEGIN IMMEDIATE")
with host.app.app_context():
    send("at the end")
"""


def _run(host, *lines):
    """A process that could not store its message, goes on with ``lines``, and ends."""
    command = [sys.executable, "-c", "\n".join((_SCRIPT, *lines)), host.url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=_ROOT)
    assert done.returncode == 0, done.stderr
    return done.stderr


@on("delete")
def test_one_more_try_when_the_process_ends(host):
    """A command that is over before the first retry does not lose its message."""
    told = _run(host, 'other.exec_driver_sql("ROLLBACK")')
    assert host.subjects() == ["at the end"]
    assert "notification.delayed" in told
    assert "notification.lost" not in told


@on("delete")
def test_a_last_try_in_vain_is_told(host):
    """The lock is still held when the process ends: the log says what is lost."""
    told = _run(host)
    assert host.subjects() == []
    assert "notification.lost" in told


@on("delete")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_a_fork_does_not_store_twice(host):
    """What waits is the parent's to store; the child says nothing of it."""
    told = _run(host, 'other.exec_driver_sql("ROLLBACK")', "if os.fork():", "    os.wait()")
    assert host.subjects() == ["at the end"]
    assert "notification.lost" not in told


# -- what is thrown away -----------------------------------------------------------------


def test_a_session_thrown_away_is_told_as_a_loss(host, caplog):
    """A session that nobody ends takes its messages along; the log names them."""
    with host.app.app_context():
        own = Session(host.engine)
        message = send("lost", session=own)
        del own
        gc.collect()
    assert "notification.lost" in caplog.text
    assert str(message.id) in caplog.text
    assert host.subjects() == []


def test_a_teardown_function_that_raises_is_told_as_a_loss(host, caplog):
    """Flask then tells nobody that the context has ended: the log does."""

    def broken(error):
        raise ZeroDivisionError

    host.app.teardown_appcontext(broken)
    with pytest.raises(ZeroDivisionError), host.app.app_context():
        send("lost")
    host.app.teardown_appcontext_funcs.remove(broken)
    host.session.registry.registry.clear()
    gc.collect()
    assert (host.subjects() == ["lost"]) is not ("notification.lost" in caplog.text)
