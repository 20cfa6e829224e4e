"""Listeners of the host in the middle of a commit, and receivers after it."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from flask_interaction_mail import notification_queued
from tests.transactions import send, waiting


@pytest.mark.parametrize("moment", ["before_commit", "after_commit"])
def test_a_listener_of_the_commit_may_send(host, moment):
    """What a host's listener sends in the middle of a commit is stored, too."""

    @event.listens_for(host.session, moment)
    def listener(session):
        if not session.info.get("sent"):
            session.info["sent"] = True
            send("from the listener")

    with host.app.app_context():
        host.add()
        host.session.commit()
    assert host.subjects() == ["from the listener"]


def test_a_listener_of_the_flush_may_send(host):
    """Flush listeners run inside the commit: their messages are part of it."""

    @event.listens_for(host.Thing, "after_insert")
    def inserted(mapper, connection, thing):
        send(f"inserted {thing.name}")

    @event.listens_for(host.session, "after_flush")
    def flushed(session, context):
        send("flushed")

    with host.app.app_context():
        host.add()
        host.session.commit()
        assert host.subjects() == ["flushed", "inserted t"]
        savepoint = host.session.begin_nested()
        host.add("gone")
        host.session.flush()
        savepoint.rollback()
        host.session.commit()
    assert host.subjects() == ["flushed", "inserted t"]


@pytest.mark.parametrize("ending", ["commit", "rollback"])
def test_a_savepoint_within_a_flush(host, ending):
    """Between it and the outermost transaction there is the flush's own, which decides nothing."""

    @event.listens_for(host.session, "after_flush")
    def flushed(session, context):
        with session.begin_nested():
            send("inside")

    with host.app.app_context():
        host.add()
        host.session.flush()
        assert waiting(host.session) == ["inside"]
        getattr(host.session, ending)()
    assert host.subjects() == (["inside"] if ending == "commit" else [])


def test_what_a_flush_in_the_commit_sends_is_in_that_commit(host):
    """Not in a later transaction of ours: after the commit, others see it at once."""
    seen = []

    @event.listens_for(host.Thing, "after_insert")
    def inserted(mapper, connection, thing):
        send("inserted")

    @event.listens_for(host.session, "after_commit")
    def committed(session):
        seen.append((host.subjects(), waiting(session)))

    with host.app.app_context():
        host.add()
        send("called")
        host.session.commit()
    assert seen == [(["called", "inserted"], [])]


def test_receivers_hear_after_the_commit(host):
    """The signal comes when others can see the row; a broken receiver changes nothing."""
    heard = []

    def broken(app, notification):
        raise ValueError

    def listening(app, notification):
        heard.append((notification.subject, host.subjects()))

    def using_the_session(app, notification):
        host.session.execute(sa.select(host.Thing)).all()

    for receiver in (broken, listening, using_the_session):
        notification_queued.connect(receiver, host.app)
    with host.app.app_context():
        send("one")
        assert (heard, host.delivery.waked) == ([], 0)
        host.session.commit()
        assert (heard, host.delivery.waked) == ([("one", ["one"])], 1)
        host.session.commit()
        send("gone")
        host.session.rollback()
        assert len(heard) == 1
    with host.app.app_context():
        send("two")
    assert heard[1:] == [("two", ["one", "two"])]


def test_whom_announcing_fails_is_no_matter_of_the_commit(host, caplog, monkeypatch):
    """A fault of ours after the commit must not look like a failed commit."""
    monkeypatch.setattr(host.delivery, "wake", lambda: 1 / 0)
    with host.app.app_context():
        host.add()
        send("one")
        host.session.commit()
    assert host.subjects() == ["one"]
    assert "notification.announce_failed" in caplog.text


def test_a_listener_stops_a_commit_that_comes_again(host, caplog):
    """What had been written by then is committed by the next attempt, and told of, once."""
    heard = []

    @event.listens_for(host.session, "before_commit")
    def listener(session):
        if not session.info.get("stopped"):
            session.info["stopped"] = True
            raise RuntimeError

    def receiver(app, notification):
        heard.append(notification.subject)

    notification_queued.connect(receiver, host.app)
    with host.app.app_context():
        send("one")
        with pytest.raises(RuntimeError):
            host.session.commit()
        send("two")
        host.session.commit()
        assert sorted(heard) == ["one", "two"]
    assert host.subjects() == ["one", "two"]
    assert "notification.lost" not in caplog.text
