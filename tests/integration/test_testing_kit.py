"""``flask_interaction_mail.testing``: assertions, delivery, a frozen clock, a mail server."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from flask_interaction_mail import (
    InteractionMailError,
    Party,
    Recording,
    Role,
    cancel_notification,
    clock,
    get_notification,
    merge_denied,
    send_notification,
)
from flask_interaction_mail.outbox.claim import Time
from flask_interaction_mail.testing import (
    assert_nothing_sent,
    assert_sent_to,
    deliver,
    frozen,
    mail_server,
)
from tests.databases import DIALECTS, fresh_database
from tests.host import PASSWORD, Host, a_merge, opened

NEW_YEAR = datetime(2031, 1, 1, tzinfo=UTC)


@contextmanager
def hosting(folder: Path, **config: Any) -> Iterator[Host]:
    with opened(f"sqlite:///{folder}/host.sqlite", TESTING=True, **config) as host:
        host.configure()
        yield host


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with hosting(tmp_path) as host:
        yield host


@pytest.fixture
def sent(host: Host) -> Iterator[Recording]:
    with host.messaging.record(host.app) as sent:
        yield sent


def send(host: Host, to: Any = "ada", subject: str = "Invoice", **others: Any) -> Any:
    """Send in a transaction of its own; gives the id."""
    with host.app.app_context():
        id = send_notification(to, subject, text="Due today", **others).id
        host.db.session.commit()
    return id


def said(sent: Recording, *arguments: str, **wanted: str) -> str:
    """What ``assert_sent_to`` says, or ``assert_nothing_sent`` if no address is given."""
    with pytest.raises(AssertionError) as failed:
        assert_sent_to(sent, *arguments, **wanted) if arguments else assert_nothing_sent(sent)
    return str(failed.value)


# -- assertions ------------------------------------------------------------------------


def test_a_message_is_found_by_what_it_says(host: Host, sent: Recording) -> None:
    """The first one that fits; an address may be short, in any letters."""
    send(host, subject="Other")
    send(host, kind="bill", html="<b>Due</b>", attachments=[("a.pdf", "application/pdf", b"%PDF")])
    for wanted in (
        {"subject": "Inv"},
        {"html": "<b>"},
        {"attachment": "a.pdf"},
        {"kind": "bill"},
        {"text": "Due", "subject": "Invoice"},
    ):
        assert assert_sent_to(sent, "ADA@firm.example", **wanted) is sent[1]
        said(sent, "bob", **wanted)
    assert assert_sent_to(sent, "ada") is sent[0]
    for wrong in ({"subject": "x"}, {"text": "x"}, {"attachment": "x"}, {"kind": "x"}):
        said(sent, "ada", **wrong)
    said(sent, "ada@other.example")


def test_a_failure_says_what_was_sent_instead(host: Host, sent: Recording) -> None:
    """And what was dropped and why, and what waits for a commit."""
    send(host, to=("ada", "eve"))
    with host.app.app_context():
        send_notification("bob", "Wrong", text="x")
        host.db.session.rollback()
        send_notification("bob", "Later", text="x")
        assert said(sent, "bob", subject="Wrong", kind="bill") == (
            "Nothing was sent to bob, subject 'Wrong', kind 'bill'.\n"
            "Recorded:\n"
            "  'Invoice' to ada@firm.example, eve@firm.example (suppressed: testing)\n"
            "Dropped:\n"
            "  'Wrong' to bob@firm.example (its transaction was rolled back)\n"
            "Still waiting for the commit of db.session:\n"
            "  'Later' to bob@firm.example"
        )
    assert said(sent).startswith("Something was sent.\nRecorded:\n  'Invoice' to ada@firm.example")


def test_a_failure_says_that_nothing_was_recorded(sent: Recording) -> None:
    assert said(sent, "bob") == (
        "Nothing was sent to bob.\nNothing was recorded, and nothing was dropped."
    )
    assert_nothing_sent(sent)


def test_what_was_dropped_was_not_sent(host: Host, sent: Recording) -> None:
    """The one assertion succeeds, the other one names it."""
    with host.app.app_context():
        send_notification("bob", "Wrong", text="x")
        host.db.session.rollback()
    assert_nothing_sent(sent)
    assert "'Wrong' to bob@firm.example (its transaction was rolled back)" in said(sent, "bob")


def test_what_nobody_is_to_get_was_not_sent(host: Host, sent: Recording) -> None:
    """Cancelled, or for nobody with the client."""
    send(host, to=Party("Bob", "bob", role=Role.SECRETARY))
    assert_nothing_sent(sent)
    said(sent, "bob")
    host.app.config["TESTING"] = False
    id = send(host)
    assert_sent_to(sent, "ada")
    with host.app.app_context():
        assert cancel_notification(id)
    assert_nothing_sent(sent)
    assert "'Invoice' to ada@firm.example (cancelled: withdrawn)" in said(sent, "ada")


def test_what_failed_for_one_was_sent_to_the_other(host: Host, sent: Recording) -> None:
    """The failure quotes the server."""
    with mail_server(host.app) as server:
        server.refuse("bob@firm.example")
        send(host, to=("ada", "bob"))
        deliver(host.app)
    assert_sent_to(sent, "ada")
    assert "(failed: refused) bob@firm.example got 550 5.1.1 No such mailbox" in said(sent, "bob")
    said(sent)


# -- the frozen clock ------------------------------------------------------------------


def test_the_clock_stands_still_and_is_moved() -> None:
    """Frozen within frozen, and going again at the end."""
    with frozen(NEW_YEAR) as time:
        assert clock.now() == NEW_YEAR.replace(tzinfo=None)
        assert time.tick(timedelta(hours=1)) == time.now == datetime(2031, 1, 1, 1, tzinfo=UTC)
        with frozen() as inner:
            assert inner.now.year < 2031
        assert time.now.hour == 1
        with pytest.raises(ValueError, match="no time zone"):
            time.move_to(datetime(2031, 1, 1))  # noqa: DTZ001
    assert clock.now().year < 2031


@pytest.mark.parametrize("dialect", DIALECTS)
def test_delivery_goes_by_the_frozen_clock(tmp_path: Path, dialect: str) -> None:
    """Not by that of the database: send_at, delays between attempts, rates and digests."""
    with (
        fresh_database(dialect, tmp_path) as url,
        opened(url, INTERACTION_MAIL_RATE=2) as host,
        frozen(NEW_YEAR) as time,
    ):
        host.configure()
        with mail_server(host.app) as server, host.messaging.record(host.app) as sent:
            send(host, send_at=NEW_YEAR + timedelta(days=30))
            assert deliver(host.app) == 0
            time.tick(timedelta(days=30))
            assert deliver(host.app) == 1
            assert server.messages[0]["Date"].datetime == time.now

            server.refuse("bob@firm.example", "450 4.2.1 Later", times=1)
            send(host, to="bob")
            assert (deliver(host.app), sent[1].status) == (0, "deferred")
            time.tick(timedelta(hours=1))
            assert (deliver(host.app), sent[1].status) == (1, "sent")

            for number in range(4):
                send(host, to="eve", subject=f"News {number}")
            assert deliver(host.app) == 2
            assert [one.reason for one in sent[-2:]] == ["rate", "rate"]
            assert deliver(host.app) == 0
            time.tick(timedelta(seconds=61))
            assert deliver(host.app) == 1
            assert "News 2" in server.messages[-1].as_string()


def test_delivery_that_is_under_way_goes_by_the_frozen_clock() -> None:
    """It was moved since the database was asked for the time."""
    with frozen(NEW_YEAR) as time:
        present = Time()
        assert clock.from_db(present.now()) == NEW_YEAR
        time.tick(timedelta(days=1))
        assert clock.from_db(present.now()) == time.now


def test_windows_go_by_the_frozen_clock(host: Host, sent: Recording) -> None:
    """A second request for the same contacts is the first one for a day."""

    def denied() -> None:
        with host.app.app_context():
            merge_denied.send(host.app, merge=a_merge())

    with frozen() as time:
        denied()
        time.tick(timedelta(hours=23))
        denied()
        assert len(sent) == 1
        time.tick(timedelta(hours=1))
        denied()
        assert len(sent) == 2
        assert sent[1].created_at == time.now


def test_a_thread_sees_the_frozen_clock(tmp_path: Path) -> None:
    """The one that delivers looks again by itself."""
    with (
        hosting(tmp_path, INTERACTION_MAIL_DELIVERY="thread") as host,
        frozen() as time,
        mail_server(host.app) as server,
    ):
        send(host, send_at=time.now + timedelta(days=1))
        host.messaging.start(host.app)
        time.tick(timedelta(days=1))
        (message,) = server.wait_for(1, seconds=60)
        assert message["To"] == "ada@firm.example"
        host.state.delivery.stop()


# -- delivery and the mail server ------------------------------------------------------


def test_nothing_is_delivered_silently(host: Host) -> None:
    """Where mail is suppressed, that is said."""
    send(host)
    with pytest.raises(InteractionMailError, match="MAIL_SUPPRESS_SEND"):
        deliver(host.app)


def test_mail_arrives_although_the_application_is_tested(host: Host) -> None:
    """Whatever server is set; and the settings are as they were afterwards."""
    host.configure(
        smtp_server="mail.firm.example",
        encryption="starttls",
        use_authentication=True,
        login="crm",
        password=PASSWORD,
    )
    with mail_server(host.app) as server:
        id = send(host, bcc="eve")
        with host.app.app_context():
            assert deliver() == 1
            assert get_notification(id).status == "sent"
        (message,), (envelope,) = server.messages, server.delivered
        assert (message["To"], message["Bcc"]) == ("ada@firm.example", None)
        assert sorted(envelope.recipients) == ["ada@firm.example", "eve@firm.example"]
        assert envelope.sender == "crm@firm.example"
        server.clear()
        assert server.messages == []
    assert host.app.config["MAIL_SUPPRESS_SEND"] is None
    assert host.state.settings.current().settings.smtp_server == "mail.firm.example"
    assert host.state.suppressed


def test_a_refusal_lasts_as_long_as_it_was_told_to(host: Host) -> None:
    """For so many times, until another reply, until everything is cleared."""
    with mail_server(host.app) as server, host.messaging.record(host.app) as sent:
        server.refuse("ada@firm.example", "550 5.7.1 Once", times=1)
        server.refuse("bob@firm.example", "550 5.7.1 Always")
        for to in ("ada", "ada", "bob", "bob"):
            send(host, to=to)
            deliver(host.app)
        server.refuse("bob@firm.example", "250 2.1.5 Fine")
        send(host, to="bob")
        deliver(host.app)
        server.refuse("ada@firm.example")
        server.clear()
        send(host)
        deliver(host.app)
    became = ["failed", "sent", "failed", "failed", "sent", "sent"]
    assert [message.status for message in sent] == became


def test_who_waits_in_vain_is_told_how_much_came(host: Host) -> None:
    with mail_server(host.app) as server, pytest.raises(AssertionError, match="0 of 2 messages"):
        server.wait_for(2, seconds=0)


def test_a_server_is_not_run_where_nothing_would_come(tmp_path: Path) -> None:
    """Mail in memory never gets there."""
    with (
        hosting(tmp_path, INTERACTION_MAIL_TRANSPORT="memory") as host,
        pytest.raises(RuntimeError, match="INTERACTION_MAIL_TRANSPORT is 'memory'"),
        mail_server(host.app),
    ):
        pass


def test_who_lacks_the_extra_is_told_which(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiosmtpd.smtp", None)
    with (
        pytest.raises(ImportError, match=r"flask-interaction-mail\[testing\]"),
        mail_server(host.app),
    ):
        pass


def test_an_idle_connection_keeps_no_server_alive(host: Host) -> None:
    """A client that has said nothing is sent away at the end."""
    with mail_server(host.app) as server:
        client = socket.create_connection((server.host, server.port))
        assert client.recv(100).startswith(b"220 ")
    with client:
        assert client.recv(100) == b""
