"""The fault table, seen from the outbox: what a server does, and what becomes of the message.

``FIM_LONG=1`` reads it on PostgreSQL and in the other journal mode of SQLite, too.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from flask_interaction_mail import clock
from flask_interaction_mail.delivery.dispatcher import Dispatcher
from flask_interaction_mail.delivery.retry import next_attempt
from flask_interaction_mail.outbox import breaker, queries
from flask_interaction_mail.settings.model import relay_of
from flask_interaction_mail.storage.tables import DELIVERY, TABLES
from flask_interaction_mail.transport.smtp.timeouts import Timeouts
from flask_interaction_mail.transport.smtp.transport import SmtpTransport
from tests.crash.site import letter
from tests.crash.stock import FILES, fresh
from tests.host import Host, opened
from tests.length import LONG
from tests.outbox_rows import Store
from tests.servers.certificates import pki, too_old
from tests.servers.programs import free_port
from tests.servers.scripted import (
    Action,
    Scripted,
    check_login,
    close,
    drip,
    flood,
    reset,
    scripted,
    silence,
    then,
)
from tests.servers.sink import sink

# Short, in the proportions of the real ones.
_QUICK = Timeouts(
    connect=1.5, greeting=0.7, command=0.7, auth=0.7, data=0.7, block=0.7, final=0.7, quit=0.2
)
_DEADLINE = 2.5  # s for any single step above, and a busy machine
_ESMTP = b"250-scripted.test\r\n250-PIPELINING\r\n250 SIZE 1000000\r\n"


@dataclass
class Desk:
    """A host whose worker does one drain at a time, in this process."""

    host: Host
    store: Store
    last: Any = None
    took: float = 0.0

    def put(self, *addresses: str) -> Any:
        message = letter(addresses[0] if addresses else "bob@firm.example")
        if len(addresses) > 1:
            message = message._replace(
                recipients=tuple(
                    replace(message.recipients[0], address=address) for address in addresses
                ),
            )
        self.store.put(message)
        self.last = message.id
        return message.id

    def drain(self) -> Any:
        ports = self.host.dispatcher()._ports
        quick = replace(
            ports,
            transport=lambda relay: SmtpTransport(relay, timeouts=_QUICK),
            connections=1,
        )
        began = time.monotonic()
        progress = Dispatcher(quick).drain()
        self.took = time.monotonic() - began
        return progress

    def row(self, id: Any = None) -> Any:
        return self.store.message(id or self.last)

    def breaker(self) -> breaker.Open | None:
        with self.store.reading() as connection:
            return breaker.read(connection, relay_of(self.host.state.settings.current().settings))

    def assert_server_level(self) -> breaker.Open:
        """Queued as before, no attempt burnt, and the breaker says why."""
        row, broken = self.row(), self.breaker()
        assert (row.status, row.attempts, row.lost_leases) == ("queued", 0, 0)
        assert broken is not None
        assert row.detail == f"Waiting for the server: {broken.why}"
        return broken


@contextmanager
def desk(url: str, port: int, **settings: Any) -> Iterator[Desk]:
    with opened(url) as host:
        host.configure(smtp_port=port, **settings)
        store = Store(url)
        try:
            yield Desk(host, store)
        finally:
            store.engine.dispose()


_KINDS = (*FILES, "postgresql") if LONG else ("sqlite-wal",)


@pytest.fixture(scope="module", params=_KINDS)
def shared_url(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    with fresh(request.param, tmp_path_factory.mktemp("faults")) as url:
        yield url


@pytest.fixture
def at(shared_url: str) -> Iterator[Any]:
    """Opens a desk on a clean outbox; more desks of one test share it."""
    _empty(shared_url)
    return lambda port, **settings: desk(shared_url, port, **settings)


def _empty(url: str) -> None:
    store = Store(url)
    with store.writing() as connection:
        for table in reversed(TABLES):
            connection.execute(table.delete())
    store.engine.dispose()


# -- the server, or the way to it ------------------------------------------------------


def test_a_refused_connection_is_the_servers_matter(at: Any) -> None:
    """And over at once."""
    with at(free_port()) as desk:
        desk.put()
        desk.drain()
        assert desk.assert_server_level().stage == "connect"
        assert desk.took < _DEADLINE


def test_an_unknown_name_is_the_servers_matter(at: Any) -> None:
    """The name service says no, or nothing; both within the deadline."""
    with at(25, smtp_server="no-such-host.invalid") as desk:
        desk.put()
        desk.drain()
        assert desk.assert_server_level().stage == "resolve"
        assert desk.took < _DEADLINE


_AT_THE_DOOR: dict[str, dict[str, Action | list[Action]]] = {
    "accepts and never speaks": {"GREETING": silence},
    "drips its greeting": {"GREETING": drip(b"220-still\r\n", 0.1)},
    "greets without an end": {"GREETING": flood(b"220-and\r\n")},
    "endless line": {"GREETING": flood(b"2")},
    "binary greeting": {"GREETING": b"\x00\xff\x1b[2J no mail here\r\n"},
    "421 at the greeting": {"GREETING": then(b"421 4.3.2 not now\r\n", close)},
    "554 at the greeting": {"GREETING": b"554 5.7.1 go away\r\n"},
    "451 at EHLO": {"EHLO": b"451 4.3.0 broken\r\n"},
    "550 at EHLO and HELO": {"EHLO": b"550 no\r\n", "HELO": b"550 no\r\n"},
    "dies at EHLO": {"EHLO": reset},
    "continues EHLO without an end": {"EHLO": flood(b"250-MORE\r\n")},
}


@pytest.mark.parametrize("fault", _AT_THE_DOOR)
def test_trouble_at_the_door_burns_no_attempt(at: Any, fault: str) -> None:
    """No message failed for it; it ends by its deadline, and its text can be shown."""
    with scripted(_AT_THE_DOOR[fault]) as server, at(server.port) as desk:
        desk.put()
        desk.drain()
        broken = desk.assert_server_level()
        assert broken.stage == "greeting"
        assert broken.why.isprintable()
        assert desk.took < _DEADLINE


# smtp-sink: a server that none of us wrote. -q hangs up, -Q says 421, -r 4xx, -f 5xx.
@pytest.mark.parametrize(
    "options",
    [
        ("-q", "CONNECT"),
        ("-Q", "CONNECT"),
        ("-r", "CONNECT"),
        ("-f", "CONNECT"),
        ("-q", "EHLO"),
        ("-Q", "EHLO"),
        ("-r", "EHLO"),
        ("-f", "EHLO,HELO"),
    ],
    ids=" ".join,
)
def test_smtp_sink_in_trouble_burns_no_attempt(at: Any, options: tuple[str, ...]) -> None:
    """Greeting and EHLO are the server's matter, whatever it answers."""
    with sink(*options) as port, at(port) as desk:
        desk.put()
        desk.drain()
        assert desk.assert_server_level().stage == "greeting"


# -- the message -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "status", "attempts"),
    [
        ("-r MAIL", "deferred", 1),
        ("-f MAIL", "failed", 1),
        ("-r RCPT", "deferred", 1),
        ("-f RCPT", "failed", 1),
        ("-q MAIL", "deferred", 1),
        ("-Q MAIL", "deferred", 1),
        ("-q RCPT", "deferred", 1),
        ("-Q RCPT", "deferred", 1),
        ("-r DATA", "deferred", 1),
        ("-f DATA", "failed", 1),
        ("-q DATA", "deferred", 1),
        ("-Q DATA", "deferred", 1),
        ("-r .", "deferred", 1),
        ("-f .", "failed", 1),
        ("-q .", "deferred", 1),
        ("-Q .", "deferred", 1),
    ],
)
def test_smtp_sink_refuses_a_message(at: Any, options: str, status: str, attempts: int) -> None:
    """4xx and a lost link are tried again, 5xx never; one attempt is logged."""
    with sink(*options.split(" ")) as port, at(port) as desk:
        desk.put()
        desk.drain()
        row = desk.row()
        assert (row.status, row.attempts) == (status, attempts)
        assert desk.breaker() is None
        assert (row.due_at is not None) == (status == "deferred")
        if status == "failed":
            assert desk.drain().done == 0


_DURING: dict[str, tuple[dict[str, Action | list[Action]], str, str]] = {
    "450 at MAIL": ({"MAIL": b"450 4.1.0 later\r\n"}, "deferred", "transient"),
    "550 at MAIL": ({"MAIL": b"550 5.1.0 no\r\n"}, "failed", "permanent"),
    "450 at RCPT": ({"RCPT": b"450 4.2.0 grey\r\n"}, "deferred", "transient"),
    "550 at RCPT": ({"RCPT": b"550 5.1.1 who?\r\n"}, "failed", "permanent"),
    "550 after 354": ({"DOT": b"550 5.6.0 no\r\n"}, "failed", "permanent"),
    "450 after the dot": ({"DOT": b"450 4.3.0 later\r\n"}, "deferred", "transient"),
    "500 after the dot": ({"DOT": b"500 5.5.0 no\r\n"}, "failed", "permanent"),
    "takes it and dies": ({"DOT": close}, "deferred", "ambiguous"),
    "takes it and is silent": ({"DOT": silence}, "deferred", "ambiguous"),
    "takes it and drips": ({"DOT": drip(b"250-so\r\n", 0.1)}, "deferred", "ambiguous"),
    "takes it and talks without an end": ({"DOT": flood(b"250-x\r\n")}, "deferred", "ambiguous"),
    "takes it and answers nonsense": ({"DOT": b"\x00\x1b\xff\r\n"}, "deferred", "ambiguous"),
    "250, then reset": ({"DOT": then(b"250 ok\r\n", reset)}, "sent", "accepted"),
    "QUIT unanswered": ({"QUIT": silence}, "sent", "accepted"),
    "silent at RCPT": ({"RCPT": silence}, "deferred", "transient"),
    "drips at MAIL": ({"MAIL": drip(b"250-so\r\n", 0.1)}, "deferred", "transient"),
}


@pytest.mark.parametrize("fault", _DURING)
def test_trouble_with_a_message_is_that_messages(at: Any, fault: str) -> None:
    """The right state, one logged attempt with its result, no breaker, by the deadline."""
    answers, status, result = _DURING[fault]
    with scripted({"EHLO": _ESMTP, **answers}) as server, at(server.port) as desk:
        desk.put()
        desk.drain()
        row = desk.row()
        assert (row.status, row.attempts) == (status, 1)
        assert _results(desk) == [result]
        assert desk.breaker() is None
        assert (row.detail or "").isprintable()
        assert desk.took < 2 * _DEADLINE  # a lost reply is heard once more on a new connection


def _results(desk: Desk) -> list[str]:
    with desk.store.reading() as connection:
        found = queries.details(connection, desk.last)
    assert found is not None
    return [attempt.row["result"] for attempt in found.attempts]


def test_a_lost_answer_makes_as_many_copies_as_ambiguous_attempts(at: Any) -> None:
    """Taken, died before 250; then taken and answered: two copies, one of them ambiguous."""
    with scripted({"DOT": [close]}) as server, at(server.port) as desk:
        desk.put()
        desk.drain()
        _later(desk, timedelta(minutes=2))
        desk.drain()
        assert desk.row().status == "sent"
        assert _results(desk) == ["ambiguous", "accepted"]
        assert len(server.messages) == 2
        assert len({one.content for one in server.messages}) == 1


def test_three_verdicts_in_one_message(at: Any) -> None:
    """250, 450 and 550: one copy to the first, only the second again, all three in the log."""
    a, b, c = (f"{name}@firm.example" for name in "abc")
    answers: dict[str, Action | list[Action]] = {
        f"RCPT {b}": [b"450 4.2.0 later\r\n"],
        f"RCPT {c}": b"550 5.1.1 never\r\n",
    }
    with scripted(answers) as server, at(server.port) as desk:
        id = desk.put(a, b, c)
        desk.drain()
        states = {address: status for address, (status, _) in desk.store.verdicts(id).items()}
        assert states == {a: "sent", b: "deferred", c: "failed"}
        _later(desk, timedelta(minutes=2))
        desk.drain()
        assert [one.recipients[-1] for one in server.messages][-1] == b
        states = {address: status for address, (status, _) in desk.store.verdicts(id).items()}
        assert states == {a: "sent", b: "sent", c: "failed"}
        assert desk.row(id).status == "failed"


def test_greylisting_gets_through_within_ten_minutes(at: Any) -> None:
    """A server that lets in after five minutes: told by the schedule with the longest jitter."""
    now = letter("a@firm.example").created_at
    waited, attempts = timedelta(0), 0
    while waited < timedelta(minutes=5):
        attempts += 1
        again = next_attempt(attempts=attempts, expires_at=None, now=now + waited, chance=0.999)
        assert again is not None
        waited = again - now
    assert waited < timedelta(minutes=10)
    grey: list[Action] = [b"450 4.2.0 greylisted\r\n"] * attempts
    with scripted({"RCPT": grey}) as server, at(server.port) as desk:
        desk.put()
        for _ in range(attempts):
            desk.drain()
            assert desk.row().status == "deferred"
            _later(desk, timedelta(minutes=10))
        desk.drain()
        assert desk.row().status == "sent"


def _later(desk: Desk, by: timedelta) -> None:
    """Time goes by for what waits."""
    with desk.store.writing() as connection:
        due = desk.row().due_at
        connection.execute(
            sa.update(DELIVERY).where(DELIVERY.c.id == desk.last).values(due_at=due - by)
        )


# -- encryption and login --------------------------------------------------------------

_WITH_TLS: Action = b"250-scripted.test\r\n250-PIPELINING\r\n250 STARTTLS\r\n"
_YESTERDAY = datetime.now(UTC) - timedelta(days=1)
_WITH_AUTH: Action = b"250-scripted.test\r\n250 AUTH PLAIN\r\n"
_LOGIN = {
    "use_authentication": True,
    "allow_unencrypted_auth": True,
    "login": "crm",
    "password": "s3cret-word",
}


def _assert_silent_after_ehlo(server: Scripted) -> None:
    said = set(server.commands())
    assert said <= {"EHLO", "STARTTLS", "QUIT"}, said


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_encryption_that_fails_keeps_everything_back(at: Any) -> None:
    """Not offered, refused, broken, unknown CA, other host, expired, old: nothing after EHLO."""
    cases: list[tuple[dict[str, Action | list[Action]], ssl.SSLContext | None, str | None]] = [
        ({"EHLO": _ESMTP}, None, None),
        ({"EHLO": _WITH_TLS, "STARTTLS": b"454 4.7.0 not now\r\n"}, None, None),
        (
            {"EHLO": _WITH_TLS, "STARTTLS": then(b"220 go\r\n", b"\x00no TLS\r\n", close)},
            None,
            None,
        ),
        ({"EHLO": _WITH_TLS}, pki().server(), None),
        ({"EHLO": _WITH_TLS}, pki().server("other.example"), pki().pem),
        ({"EHLO": _WITH_TLS}, pki().server(not_after=_YESTERDAY), pki().pem),
        ({"EHLO": _WITH_TLS}, too_old(pki().server()), pki().pem),
    ]
    for answers, tls, trusted in cases:
        with scripted(answers, tls=tls) as server:
            login = {**_LOGIN, "allow_unencrypted_auth": False}
            settings = {"encryption": "starttls", "ca_certificate": trusted, **login}
            with at(server.port, **settings) as desk:
                desk.put()
                desk.drain()
                assert desk.assert_server_level().stage == "encryption"
                _assert_silent_after_ehlo(server)


def test_a_wrong_password_waits_a_quarter_of_an_hour(at: Any) -> None:
    """One login tried, however many messages and workers wait; then one a quarter of an hour."""
    answers: dict[str, Action | list[Action]] = {
        "EHLO": _WITH_AUTH,
        "AUTH": check_login("crm", "other"),
    }
    with scripted(answers) as server, at(server.port, **_LOGIN) as desk:
        for _ in range(5):
            desk.put()
        desk.drain()
        broken = desk.assert_server_level()
        assert broken.until - broken.since >= timedelta(minutes=15)
        assert "535" in str(desk.drain().held_up_by)
        assert server.count("AUTH") == 1
        assert server.count("MAIL") == 0


def test_a_login_that_fails_for_now_is_tried_again_soon(at: Any) -> None:
    """454 is no wrong password: a minute."""
    answers: dict[str, Action | list[Action]] = {
        "EHLO": _WITH_AUTH,
        "AUTH": b"454 4.7.0 later\r\n",
    }
    with scripted(answers) as server, at(server.port, **_LOGIN) as desk:
        desk.put()
        desk.drain()
        broken = desk.assert_server_level()
        assert timedelta(seconds=59) < broken.until - broken.since < timedelta(minutes=2)
        assert server.count("MAIL") == 0


def test_without_an_offer_of_auth_nothing_leaves(at: Any) -> None:
    """Never unauthenticated where a login is set."""
    with scripted({"EHLO": _ESMTP}) as server, at(server.port, **_LOGIN) as desk:
        desk.put()
        desk.drain()
        assert desk.assert_server_level().stage == "authentication"
        assert server.count("MAIL") == 0


def test_many_probers_are_one_probe(at: Any) -> None:
    """The pause is over: of two workers at once only one tries, for a minute."""
    with at(free_port()) as desk:
        desk.put()
        desk.drain()
        now = clock.now() + timedelta(minutes=2)
        with desk.store.writing() as connection:
            settings = desk.host.state.settings.current(connection).settings
            tries = [breaker.begin_probe(connection, relay_of(settings), now) for _ in range(3)]
        assert tries == [True, False, False]
