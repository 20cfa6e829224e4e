"""Flask-Mail's object: whenever it is made and whatever is set in it, mail takes the outbox."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import flask_mail
import pytest
from flask import Flask, current_app
from flask_mail import Mail, Message

from flask_interaction_mail.errors import MessagingNotConfigured
from flask_interaction_mail.flask_mail import takeover
from tests.host import Host, opened


@pytest.fixture
def door() -> Iterator[socket.socket]:
    """A port that MAIL_SERVER names: whoever connects there can be seen."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        socket.setdefaulttimeout(5)  # whoever connects gets no greeting, and shall not wait for one
        yield listening
    socket.setdefaulttimeout(None)


@pytest.fixture
def host(tmp_path: Path, door: socket.socket) -> Iterator[Host]:
    config = {
        "MAIL_SERVER": "127.0.0.1",
        "MAIL_PORT": door.getsockname()[1],
        "MAIL_DEFAULT_SENDER": "old@firm.example",
    }
    with opened(f"sqlite:///{tmp_path}/host.sqlite", **config) as host:
        host.configure()
        yield host


def _message(**values: object) -> Message:
    return Message(
        **{"subject": "Hello", "recipients": ["ada@firm.example"], "body": "x", **values}
    )


def _made_for_the_app(app: Flask) -> None:
    Mail(app).send(_message())


def _made_for_the_current_app(_app: Flask) -> None:
    Mail(current_app).send(_message())  # type: ignore[arg-type]  # as many hosts do


def _initialised(app: Flask) -> None:
    mail = Mail()
    mail.init_app(app)
    mail.send(_message())


def _connected(app: Flask) -> None:
    with Mail(app).connect() as connection:
        connection.send(_message())


def _connected_by_its_state(app: Flask) -> None:
    with flask_mail.Connection(Mail(app).state) as connection:
        _message().send(connection)


def _made_twice(app: Flask) -> None:
    first, _ = Mail(app), Mail(app)
    first.send(_message())


def _of_a_class_of_its_own(app: Flask) -> None:
    class HostState(flask_mail._Mail):
        pass

    class HostMail(Mail):
        def init_mail(self, *args: object, **values: object) -> flask_mail._Mail:
            state = super().init_mail(*args, **values)
            state.__class__ = HostState
            return state

    HostMail(app).send(_message())


def _put_in_place_by_hand(app: Flask) -> None:
    app.extensions["mail"] = Mail().init_mail(app.config)
    app.extensions["mail"].send(_message())


WAYS: list[Callable[[Flask], None]] = [
    _made_for_the_app,
    _made_for_the_current_app,
    _initialised,
    _connected,
    _connected_by_its_state,
    _made_twice,
    _of_a_class_of_its_own,
    _put_in_place_by_hand,
]


def _nobody_came_to(door: socket.socket) -> bool:
    with pytest.raises(BlockingIOError):
        door.accept()
    return True


@pytest.mark.parametrize("way", WAYS)
def test_a_mail_object_made_in_a_view_sends_one_copy_through_the_outbox(
    host: Host, door: socket.socket, way: Callable[[Flask], None]
) -> None:
    """Inside one context, too, Flask-Mail's own connection is never used."""

    @host.app.get("/")
    def send() -> str:
        way(host.app)
        return "sent"

    for _ in range(2):
        assert host.app.test_client().get("/").text == "sent"

    assert host.subjects() == ["Hello", "Hello"]
    assert {row.envelope_sender for row in host.rows()} == {"crm@firm.example"}
    assert b"From: crm@firm.example" in host.rows()[0].content
    assert _nobody_came_to(door)


@pytest.mark.parametrize("way", WAYS)
def test_a_mail_object_made_in_a_job_sends_one_copy_through_the_outbox(
    host: Host, door: socket.socket, way: Callable[[Flask], None]
) -> None:
    """An app context without a request is no other."""
    with host.app.app_context():
        way(host.app)

    assert host.subjects() == ["Hello"]
    assert _nobody_came_to(door)


def test_a_connection_opened_before_any_context_goes_nowhere(
    host: Host, door: socket.socket
) -> None:
    """A module may make its Mail object, and connect, before there is a context."""
    with Mail(host.app).connect() as connection, host.app.app_context():
        connection.send(_message())

    assert host.subjects() == ["Hello"]
    assert _nobody_came_to(door)


@pytest.mark.parametrize("change", ["update", "assign"])
def test_a_place_changed_past_us_is_taken_again(
    host: Host, door: socket.socket, change: str
) -> None:
    """By the next context at the latest, or a request inside an older one."""
    strange = Mail().init_mail(host.app.config)
    if change == "update":
        host.app.extensions.update(mail=strange)
    else:
        host.app.extensions = {**host.app.extensions, "mail": strange}
    assert takeover.is_foreign(host.app)

    with host.app.app_context():
        Mail().send(_message())

    assert not takeover.is_foreign(host.app)
    assert host.subjects() == ["Hello"]
    assert _nobody_came_to(door)


def test_a_mail_object_made_after_us_is_named_once(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    """A warning for whoever wonders why its settings have no effect, and doctor knows."""
    assert not takeover.was_replaced(host.app)

    for _ in range(2):
        Mail(host.app)

    warnings = [one for one in caplog.records if "flask_mail.replaced" in one.message]
    assert [one.levelname for one in warnings] == ["WARNING"]
    assert takeover.was_replaced(host.app)
    assert not takeover.is_foreign(host.app)


def test_the_state_of_a_mail_object_is_the_one_that_counts(host: Host) -> None:
    """What a host sets in it has the effect that Flask-Mail gives it."""
    mail = Mail(host.app)

    assert mail.state is host.app.extensions["mail"]
    assert mail.state.__dict__ == mail.init_mail(host.app.config).__dict__


def test_the_default_sender_can_be_set(host: Host) -> None:
    """A message that names no sender then has this one, by Flask-Mail's rules."""
    state = host.app.extensions["mail"]
    with host.app.app_context():
        state.default_sender = ("Desk", "desk@firm.example")
        assert _message().sender == "Desk <desk@firm.example>"
        Mail().send(_message())
        state.default_sender = None
        with pytest.raises(AssertionError, match="sender"):
            Mail().send(_message())

    (row,) = host.rows()
    assert b"From: Desk <desk@firm.example>" in row.content


def test_suppression_can_be_set(host: Host, door: socket.socket) -> None:
    """It is MAIL_SUPPRESS_SEND, and switching it off opens no connection of Flask-Mail's."""
    with host.app.app_context():
        for word in (True, False):
            host.app.extensions["mail"].suppress = word
            Mail().send(_message())
            assert host.app.extensions["mail"].suppress is True

    assert [row.status for row in host.rows()] == ["suppressed", "queued"]
    assert _nobody_came_to(door)


@pytest.mark.parametrize("name", sorted(takeover._SET_IN_PANEL))
def test_a_server_set_in_the_state_is_said_to_have_no_effect(
    host: Host, door: socket.socket, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """The panel says how mail leaves; the value is not logged, it may be a password."""
    with host.app.app_context():
        setattr(Mail(host.app).state, name, "s3cret")
        Mail().send(_message())

    assert f"flask_mail.{name}: set without effect" in caplog.text
    assert "s3cret" not in caplog.text
    assert host.subjects() == ["Hello"]
    assert _nobody_came_to(door)


def test_without_settings_the_sender_learns_it(tmp_path: Path) -> None:
    """No fall-back to Flask-Mail's own connection, either."""
    with opened(f"sqlite:///{tmp_path}/host.sqlite") as host, host.app.app_context():
        with pytest.raises(MessagingNotConfigured):
            Mail(host.app).send(_message())
        assert host.rows() == []
