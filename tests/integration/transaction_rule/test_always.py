"""What states a fact: stored in a transaction of its own, however the host's ends."""

# ruff: noqa: PT012 - which block ends with an exception is what these tests are about

from __future__ import annotations

import pytest
from sqlalchemy.exc import IntegrityError

from flask_interaction_mail import notification_queued
from flask_interaction_mail.unit_of_work import retry_queue
from tests.transactions import FILES, always, on, send, waiting


@pytest.mark.parametrize("ending", ["commit", "rollback", "close", "remove"])
def test_stored_when_the_transaction_ends(host, ending):
    """As soon as it has ended, not only at the end of the context."""
    with host.app.app_context():
        host.add()
        host.session.flush()
        always("fact")
        assert waiting(host.session) == ["fact"]
        getattr(host.session, ending)()
        assert host.subjects() == ["fact"]
        assert waiting(host.session) == []
    assert host.subjects() == ["fact"]
    assert host.things() == (["t"] if ending == "commit" else [])


@pytest.mark.parametrize("ending", ["commit", "rollback"])
def test_a_savepoint_does_not_decide(host, ending):
    """It waits for the outermost transaction: before, SQLite's lock is the host's."""
    with host.app.app_context():
        savepoint = host.session.begin_nested()
        always("fact")
        getattr(savepoint, ending)()
        assert waiting(host.session) == ["fact"]
        host.session.rollback()
        assert host.subjects() == ["fact"]


def test_stored_though_the_hosts_commit_fails(host):
    """The host's work is gone with its failed commit, the fact is not."""
    with host.app.app_context():
        host.add_taken()
        always("fact")
        with pytest.raises(IntegrityError):
            host.session.commit()
        host.session.rollback()
        assert host.subjects() == ["fact"]
    assert host.things() == ["taken"]


def test_stored_though_nobody_rolls_back(host):
    """After a failed flush the call still counts, also when the host just stops there."""
    with host.app.app_context():
        host.add_taken()
        always("before")
        with pytest.raises(IntegrityError):
            host.session.flush()
        always("after")
        assert "after" in waiting(host.session())
    assert host.subjects() == ["after", "before"]


def test_stored_after_an_exception(host):
    """An exception that ends the context drops what joined, and nothing else."""
    with pytest.raises(KeyError), host.app.app_context():
        send("joined")
        always("fact")
        raise KeyError
    assert host.subjects() == ["fact"]


def test_stored_after_a_failed_flush_and_an_exception(host):
    """No transaction could carry it, and the context ends badly: it is stored all the same."""
    with pytest.raises(IntegrityError), host.app.app_context():
        host.add_taken()
        try:
            host.session.flush()
        finally:
            always("fact")
            send("joined")
    assert host.subjects() == ["fact"]


def test_what_a_receiver_sends_of_it_is_not_the_failed_hosts(host):
    """The signal of a fact comes after the failure, and so does what a receiver makes of it."""

    def answer(app, notification):
        if notification.subject == "fact":
            send("answer")

    notification_queued.connect(answer, host.app)
    with pytest.raises(IntegrityError), host.app.app_context():
        host.add_taken()
        try:
            host.session.flush()
        finally:
            always("fact")
    assert host.subjects() == ["answer", "fact"]


def test_beside_what_joins(host):
    """Both fates in one transaction: each gets its own."""
    with host.app.app_context():
        send("joined")
        always("fact")
        host.session.rollback()
        assert host.subjects() == ["fact"]
        send("joined")
        always("another fact")
        host.session.commit()
    assert host.subjects() == ["another fact", "fact", "joined"]


def test_it_never_breaks_the_hosts_commit(host, caplog, monkeypatch):
    """Our tables are gone: the host's work is committed, the log tells of the loss."""
    monkeypatch.setattr(retry_queue, "DELAYS", ())
    with host.app.app_context():
        send("there are tables")
        host.session.rollback()
        host.drop_our_tables()
        host.add()
        always("fact")
        host.session.commit()
    assert "notification.lost" in caplog.text
    host.database.tables_seen = True
    with host.engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT name FROM thing").scalar() == "t"


@on(*FILES)
def test_it_waits_for_no_lock_of_the_same_session(make_host):
    """The session's own write lock is gone when its transaction has ended."""
    host = make_host(timeout=0.3)
    with host.app.app_context():
        host.add()
        host.session.flush()
        always("fact")
        host.session.rollback()
        assert host.subjects() == ["fact"]
