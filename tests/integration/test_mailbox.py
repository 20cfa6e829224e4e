"""The mailbox with returned mail at a real Dovecot: what is ours is noted once and moved."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from flask_interaction_mail import Notification, clock, get_notification, send_notification
from flask_interaction_mail.delivery import factory, returning, watch
from flask_interaction_mail.delivery import mailbox as mailbox_of_process
from flask_interaction_mail.errors import InteractionMailError, TransportError
from flask_interaction_mail.monitoring.returned import returned_mail
from flask_interaction_mail.outbox import conditions, mailboxes
from flask_interaction_mail.outcome import Fault
from flask_interaction_mail.settings.model import mailbox_of
from flask_interaction_mail.storage.tables import MAILBOX, REPORT
from flask_interaction_mail.testing.frozen_clock import FrozenClock, frozen
from flask_interaction_mail.transport.imap.session import ImapSession
from flask_interaction_mail.transport.registry import Transports
from tests.catcher import Catcher
from tests.databases import DIALECTS, fresh_database
from tests.host import Host, opened
from tests.reports import automatic_reply, report
from tests.servers.certificates import pki
from tests.servers.dovecot import jwt
from tests.servers.imap import ALL, ImapServer, running_imap
from tests.terminal import done, run

BOB = "bob@firm.example"
FOREIGN = b"From: eve@firm.example\nSubject: Lunch?\nMessage-ID: <1@eve>\n\nToday?\n"


@pytest.fixture(scope="module")
def dovecot() -> Iterator[ImapServer]:
    with running_imap() as server:
        yield server


@pytest.fixture
def server(dovecot: ImapServer) -> ImapServer:
    """The same one, with an empty mailbox of its own."""
    dovecot.emptied()
    return dovecot


@pytest.fixture
def host(tmp_path: Path, catcher: Catcher, server: ImapServer) -> Iterator[Host]:
    with opened(f"sqlite:///{tmp_path}/host.sqlite") as host:
        configure(host, catcher, server)
        yield host


def configure(host: Host, catcher: Catcher, server: ImapServer, **changes: Any) -> None:
    mailbox = {
        "returns_server": "127.0.0.1",
        "returns_port": server.tls,
        "returns_login": server.user,
        "returns_password": server.password,
        "returns_ca_certificate": pki().pem,
    }
    host.configure(**{"smtp_port": catcher.port, **mailbox, **changes})


def sent(host: Host) -> Notification:
    with host.app.app_context():
        notification = send_notification(["bob"], "Hello", text="Hello")
        host.db.session.commit()
    host.dispatcher().drain()
    return notification


def about(notification: Notification, number: int = 1) -> bytes:
    return report(str(notification.message_id), BOB, number=number)


def look(host: Host, **how: Any) -> dict[str, int] | None:
    with host.app.app_context():
        counted = returning.look(host.state, **how)
    return None if counted is None else {str(w): n for w, n in counted.items() if n}


def turn(host: Host) -> None:
    """What a worker does each minute, until the thread that reads is done."""
    factory._watch(host.state, Transports(host.state.connect_policy))
    task = host.app.extensions.get("interaction_mail_reading")
    end = threading.Event()
    for _ in range(600):
        if task is None or task.over:
            return
        end.wait(0.05)
    raise AssertionError("It reads and reads.")


def later(delta: timedelta) -> contextlib.AbstractContextManager[FrozenClock]:
    return frozen(datetime.now(UTC) + delta)


def status(host: Host, notification: Notification) -> str:
    with host.app.app_context():
        found = get_notification(notification.id)
    assert found is not None
    return str(found.recipients[0].status)


def reports(host: Host) -> int:
    with host.app.app_context(), host.state.database.reading() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(REPORT)) or 0


def place(host: Host) -> mailboxes.Place:
    with host.app.app_context():
        found = returned_mail(host.state, recent=0).place
    assert found is not None
    return found


@pytest.mark.parametrize("dialect", DIALECTS)
def test_reports_of_ours_are_noted_and_moved_and_nothing_else_is_touched(
    dialect: str, tmp_path: Path, catcher: Catcher, server: ImapServer
) -> None:
    """Each message is looked at once; people's mail is not even marked as seen, or fetched."""
    with fresh_database(dialect, tmp_path) as url, opened(url) as host:
        configure(host, catcher, server)
        notification = sent(host)
        reply = automatic_reply(str(notification.message_id))
        server.put(FOREIGN, about(notification), reply, report("<of@others.example>", BOB))
        assert look(host) == {"noted": 1, "replies": 1, "foreign": 2}
        assert status(host, notification) == "bounced"
        assert (server.count(), server.count("Returned")) == (3, 1)
        assert all(b"Seen" not in line for line in server.flags())
        assert look(host) == {}
        known = place(host)
        assert known.last == known.total == {"noted": 1, "replies": 1, "foreign": 2}
        assert known.looked_at is not None
        server.put(about(notification))  # the same report once more
        assert look(host) == {"known": 1}
        assert reports(host) == 2
        assert server.count("Returned") == 2


def test_an_automatic_reply_may_name_the_message_in_references_alone(
    host: Host, server: ImapServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As some programs answer; it is fetched, and nothing of a stranger's thread is."""
    notification = sent(host)
    reply = automatic_reply(str(notification.message_id))
    thread = b"References: <1@others.example>\n <2@others.example>"
    server.put(
        reply.replace(b"In-Reply-To: ", thread + b"\n "),
        reply.replace(b"In-Reply-To: " + str(notification.message_id).encode(), thread),
    )
    fetched: list[int] = []
    real = ImapSession.content

    def content(session: ImapSession, uid: int) -> bytes | None:
        fetched.append(uid)
        return real(session, uid)

    monkeypatch.setattr(ImapSession, "content", content)
    assert look(host) == {"replies": 1, "foreign": 1}
    assert len(fetched) == 1
    assert all(b"Seen" not in line for line in server.flags())
    assert reports(host) == 1


@pytest.mark.parametrize(
    ("leave_out", "moved"), [("MOVE", True), ("MOVE UIDPLUS", False)], ids=["copy", "stay"]
)
def test_without_move_it_is_a_copy_or_they_stay(
    leave_out: str, moved: bool, tmp_path: Path, catcher: Catcher
) -> None:
    """Exactly the noted ones are removed, also where another one is marked for that."""
    capability = " ".join(word for word in ALL.split() if word not in leave_out.split())
    with (
        running_imap(capability=capability) as server,
        opened(f"sqlite:///{tmp_path}/a.sqlite") as host,
    ):
        configure(host, catcher, server, returns_moved_to="Zurück & mehr")
        notification = sent(host)
        server.put(FOREIGN)
        with server.looking() as other:
            other.select()
            other.store("1", "+FLAGS", "(\\Deleted)")
            server.put(about(notification))
            assert look(host) == {"noted": 1, "foreign": 1}
            assert server.count() == (1 if moved else 2)
            assert server.count("Zur&APw-ck &- mehr") == (1 if moved else 0)
        assert status(host, notification) == "bounced"


def test_a_mailbox_that_begins_anew_is_read_from_its_beginning(
    host: Host, server: ImapServer
) -> None:
    """Other UIDs mean other messages: all are looked at, and none counts twice."""
    notification = sent(host)
    server.put(about(notification), about(notification, 2))
    assert look(host) == {"noted": 2}
    before = place(host).uid_validity
    while int(time.time()) <= (before or 0):  # by which Dovecot makes them
        time.sleep(0.1)
    server.emptied()
    server.put(about(notification), about(notification, 3))
    assert look(host) == {"noted": 1, "known": 1}
    assert place(host).uid_validity != before
    assert reports(host) == 3


@pytest.mark.parametrize("where", ["content", "move", "uids_from"])
def test_a_look_that_breaks_off_is_made_again(
    host: Host, server: ImapServer, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """The connection is lost at each step: nothing is lost, and nothing is counted twice."""
    notification = sent(host)
    server.put(FOREIGN, about(notification), about(notification, 2))
    real: Callable[..., Any] = getattr(ImapSession, where)
    calls = []

    def break_off(session: ImapSession, *args: Any, **more: Any) -> Any:
        calls.append(args)
        if len(calls) == (2 if where == "content" else 1):
            assert session._stream is not None
            session._stream.abort()
        return real(session, *args, **more)

    monkeypatch.setattr(ImapSession, where, break_off)
    with pytest.raises(TransportError):
        look(host)
    assert place(host).failures == 1
    assert place(host).failed_since is not None
    assert place(host).lease_until is None
    again = look(host)
    assert again is not None
    assert sum(again.get(word, 0) for word in ("noted", "known")) == 2
    assert reports(host) == 2
    assert server.count("Returned") == 2
    assert place(host).failed_since is None


def test_a_worker_that_crashes_gives_way_when_its_lease_ends(
    host: Host, server: ImapServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until then nobody else reads; after it the same messages are looked at again."""
    notification = sent(host)
    server.put(about(notification))

    class Crash(BaseException):
        pass

    def crash(*_: object) -> None:
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(ImapSession, "move", crash)
        patch.setattr(mailboxes, "give_back", lambda *_: None)
        with pytest.raises(Crash):
            look(host)
    assert look(host) is None
    with later(mailboxes.LEASE + timedelta(seconds=1)):
        assert look(host) == {"known": 1}
    assert (reports(host), server.count("Returned")) == (1, 1)


def test_two_workers_read_in_turn(host: Host, server: ImapServer) -> None:
    """Eight looks at once: one reads, the others find it busy or nothing new."""
    notification = sent(host)
    server.put(*[about(notification, number) for number in range(20)])
    found: list[dict[str, int] | None] = []
    threads = [threading.Thread(target=lambda: found.append(look(host))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert sum((one or {}).get("noted", 0) for one in found) == 20
    assert sum((one or {}).get("known", 0) for one in found) == 0
    assert (reports(host), server.count("Returned")) == (20, 20)


@pytest.mark.parametrize("encryption", ["starttls", "none"])
def test_other_ways_of_connecting(
    host: Host, catcher: Catcher, server: ImapServer, encryption: str
) -> None:
    """STARTTLS, and none where an administrator allows that."""
    configure(
        host,
        catcher,
        server,
        returns_port=server.port,
        returns_encryption=encryption,
        allow_unencrypted_auth=encryption == "none",
    )
    assert look(host) == {}


def test_with_the_token_of_the_mail_server(
    host: Host, catcher: Catcher, server: ImapServer
) -> None:
    """OAuth 2 as at the relay; a token that is refused is dropped, and a fresh one tried."""
    tokens = [jwt(lasts=-10), jwt()]
    asked: list[str] = []

    def bring(mailbox: str) -> str:
        asked.append(mailbox)
        return tokens[min(len(asked), 2) - 1]

    host.state.access_token = bring
    configure(
        host,
        catcher,
        server,
        sign_in="host",
        oauth_mailbox=server.user,
        allow_unencrypted_auth=True,
        returns_sign_in="relay",
        returns_login=None,
    )
    server.put(FOREIGN)
    assert look(host) == {"foreign": 1}
    assert asked == [server.user] * 2


def test_what_is_wrong_is_said_and_alerted(
    host: Host, catcher: Catcher, server: ImapServer
) -> None:
    """A wrong password, in status, doctor and the alerts; each failure makes the pause longer."""
    configure(host, catcher, server, returns_password="wrong")
    for _ in range(2):
        with pytest.raises(TransportError) as caught:
            look(host)
        assert caught.value.fault == Fault.AUTH_REJECTED
    known = place(host)
    assert (known.failures, known.fault) == (2, "auth_rejected")
    assert known.due_at - clock.now() > timedelta(minutes=9)
    assert "cannot be read since" in done(host, "status").out
    doctor = run(host, "doctor")
    assert "[wrong] returned mail: INBOX of 127.0.0.1" in doctor.out
    with later(timedelta(minutes=30)), host.app.app_context():
        settings = host.state.settings.current().settings
        with host.state.database.reading() as connection:
            vitals = watch.take(connection, host.state, settings)
        holding = watch.holding_now(host.state, settings, vitals)
    assert conditions.AlertName.RETURNED in holding
    # Who saves another password wants it to be tried at once.
    configure(host, catcher, server)
    assert place(host).due_at <= clock.now()
    assert look(host, due=True) == {}
    assert "returned mail: INBOX of 127.0.0.1" in run(host, "doctor").out


def test_whoever_delivers_reads_it(host: Host, server: ImapServer) -> None:
    """In a thread of its own, when it is due, and not before."""
    notification = sent(host)
    server.put(about(notification))
    turn(host)
    assert status(host, notification) == "bounced"
    server.put(about(notification, 2))
    turn(host)
    assert reports(host) == 1
    with later(timedelta(minutes=6)):
        turn(host)
    assert reports(host) == 2


@pytest.mark.parametrize(
    "config",
    [
        {"MAIL_SUPPRESS_SEND": True},
        {"INTERACTION_MAIL_TRANSPORT": "memory"},
        {"INTERACTION_MAIL_OVERRIDES": {"smtp_server": "127.0.0.1"}},
        {"INTERACTION_MAIL_OVERRIDES": {"paused": True}},
        {"INTERACTION_MAIL_OVERRIDES": {"divert_to": "testers@firm.example"}},
    ],
    ids=["suppressed", "stand-in", "other server", "paused", "diverted"],
)
def test_a_copy_of_an_application_reads_nothing(
    tmp_path: Path, catcher: Catcher, server: ImapServer, config: dict[str, Any]
) -> None:
    """What it moved would be missing from the original."""
    with opened(f"sqlite:///{tmp_path}/copy.sqlite", **config) as host:
        configure(host, catcher, server)
        server.put(FOREIGN)
        with pytest.raises(InteractionMailError):
            look(host)
        returning.begin(host.state)
        assert "interaction_mail_reading" not in host.app.extensions
        assert "not read" in done(host, "status").out


def test_the_command_reads_it_once(host: Host, server: ImapServer) -> None:
    """Whether or not a look is due; while another process reads, it says 75."""
    notification = sent(host)
    server.put(about(notification), FOREIGN)
    assert "1 reports noted" in done(host, "bounces", "read", "--imap").out
    assert "0 messages" in done(host, "bounces", "read", "--imap").out
    with host.app.app_context():
        mailbox = mailbox_of(host.state.settings.current().settings)
        assert mailbox is not None
        with host.state.database.writing() as connection:
            name = mailboxes.name_of(mailbox)
            mailboxes.claim(connection, name, clock.now(), due=False)
    busy = run(host, "bounces", "read", "--imap")
    assert busy.status == 75
    assert run(host, "bounces", "read", "--imap", "--mbox", "x").status == 2


def test_a_test_counts_and_changes_nothing(host: Host, server: ImapServer) -> None:
    """12 messages, 3 reports, 2 of ours."""
    notification = sent(host)
    ours = [about(notification, number) for number in range(2)]
    server.put(*[FOREIGN] * 9, *ours, report("<of@others.example>", BOB))
    with host.app.app_context():
        mailbox = mailbox_of(host.state.settings.current().settings)
        assert mailbox is not None
        seen = mailbox_of_process.test(host.state, mailbox)
    assert seen == mailbox_of_process.Tested(all=12, messages=12, reports=3, ours=2, moves=True)
    assert reports(host) == 0
    assert server.count() == 12
    assert all(b"Seen" not in line for line in server.flags())


def test_the_folder_must_be_there(host: Host, catcher: Catcher, server: ImapServer) -> None:
    """One that is not is said so."""
    configure(host, catcher, server, returns_folder="Reports")
    with pytest.raises(TransportError) as caught:
        look(host)
    assert caught.value.fault == Fault.FOLDER_MISSING


def test_rows_of_former_mailboxes_are_removed(host: Host) -> None:
    """Half a year after the last look."""
    look(host)
    with host.app.app_context(), host.state.database.writing() as connection:
        mailboxes.purge(connection, clock.now() + timedelta(days=100))
        assert connection.scalar(sa.select(sa.func.count()).select_from(MAILBOX)) == 1
        mailboxes.purge(connection, clock.now() + timedelta(days=190))
        assert connection.scalar(sa.select(sa.func.count()).select_from(MAILBOX)) == 0
