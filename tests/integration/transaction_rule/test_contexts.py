"""What is left when an app context ends."""

# ruff: noqa: PT012 - which block ends with an exception is what these tests are about

from __future__ import annotations

import gc

import click
import pytest

from flask_interaction_mail import notification_queued
from tests.transactions import on, send


@pytest.mark.parametrize("work", ["none", "added", "flushed"])
def test_stored_at_the_end_of_the_context(host, work):
    """Neither commit nor rollback: the host's work goes, the message is stored by itself."""
    with host.app.app_context():
        if work != "none":
            host.add()
        if work == "flushed":
            host.session.flush()
        send("one")
    assert host.subjects() == ["one"]
    assert host.things() == []
    assert host.delivery.contexts_ended


def test_an_unhandled_exception_drops_it(host, caplog):
    """It goes with the host's work, and the log says so without quoting the exception."""
    with pytest.raises(ValueError, match="ada@"), host.app.app_context():
        send("gone")
        raise ValueError("ada@firm.example")
    assert host.subjects() == []
    assert "notification.dropped" in caplog.text
    assert "ValueError" in caplog.text
    assert "ada@" not in caplog.text


@pytest.mark.parametrize(
    "ending", [SystemExit(0), SystemExit(1), KeyboardInterrupt(), click.exceptions.Exit(0)]
)
def test_an_exit_is_no_failure(host, ending):
    """``sys.exit()`` and Ctrl-C reach the end of a context as exceptions, too."""
    with pytest.raises(type(ending)), host.app.app_context():
        send("one")
        raise ending
    assert host.subjects() == ["one"]


def test_nested_contexts_have_sessions_of_their_own(host):
    """The inner context stores its own; the outer one's waits for its own commit."""
    with host.app.app_context():
        send("outer")
        with host.app.app_context():
            send("inner")
        assert host.subjects() == ["inner"]
        host.session.commit()
        assert host.subjects() == ["inner", "outer"]


def test_a_failed_inner_context_leaves_the_outer_one_alone(host):
    """The exception ended the inner context only."""
    with host.app.app_context():
        send("outer")
        with pytest.raises(KeyError), host.app.app_context():
            send("inner")
            raise KeyError
    assert host.subjects() == ["outer"]


@on("memory")
def test_two_applications(make_host):
    """Each app's messages go to its own database."""
    one, other = make_host(), make_host()
    with one.app.app_context():
        send("one")
        with other.app.app_context():
            send("other")
        one.session.commit()
    assert (one.subjects(), other.subjects()) == (["one"], ["other"])


def test_a_context_sees_nothing_of_the_one_before(host):
    """Contexts come and go at the same place in memory."""
    for turn in range(10):
        with host.app.app_context():
            send(f"{turn}")
    assert len(host.subjects()) == 10


def test_what_a_receiver_sends_at_the_end_is_stored(host):
    """A receiver that answers the signal with a message of its own is heard."""

    def answer(app, notification):
        if notification.subject != "answer":
            send("answer")

    notification_queued.connect(answer, host.app)
    with host.app.app_context():
        send("question")
    assert host.subjects() == ["answer", "question"]


def test_a_receiver_that_never_stops_is_stopped(host, caplog):
    """Each message makes another one: the context ends all the same, and the log tells."""

    def again(app, notification):
        send("again")

    notification_queued.connect(again, host.app)
    with host.app.app_context():
        send("first")
    gc.collect()
    assert 2 <= len(host.subjects()) < 20
    assert "notification.lost" in caplog.text
