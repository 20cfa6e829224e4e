"""Delivery: what is queued leaves, once, and trouble is told apart."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from flask_interaction_mail import (
    MessagingSettings,
    Notification,
    clock,
    get_notification,
    notification_deferred,
    notification_failed,
    notification_held,
    notification_sent,
    operations,
    send_notification,
)
from flask_interaction_mail.delivery.dispatcher import Dispatcher
from flask_interaction_mail.delivery.ports import StopCondition
from flask_interaction_mail.errors import TransportError
from flask_interaction_mail.outbox import breaker
from flask_interaction_mail.outbox import messages as outbox
from flask_interaction_mail.outbox.claimed import AttemptResult
from flask_interaction_mail.outcome import Reply, Result, Stage
from flask_interaction_mail.settings.model import relay_of
from flask_interaction_mail.storage.tables import CHECK
from flask_interaction_mail.transport.base import Envelope, TransportResult
from flask_interaction_mail.transport.memory import MemoryTransport
from flask_interaction_mail.values import Status
from tests import outbox_rows
from tests.catcher import Catcher, catching
from tests.host import Host, opened
from tests.outbox_rows import Store, a_message
from tests.servers.scripted import Action, check_login, scripted

SETTINGS = MessagingSettings(
    smtp_server="mail.example", encryption="none", default_from="crm@firm.example"
)
LOST = TransportResult(
    result=Result.AMBIGUOUS, stage=Stage.CONTENT, reply=None, verdicts={}, note="link lost"
)


class Desk:
    """A dispatcher with everything around it in view."""

    def __init__(self, store: Store, **changes: Any) -> None:
        self.store = store
        self.transport = MemoryTransport()
        self.settings = SETTINGS
        self.verdicts: list[AttemptResult] = []
        named: dict[str, Any] = {
            "settings": lambda: self.settings,
            "transport": lambda _: self.transport,
            "announce": self._announce,
            "connections": 1,
        }
        self.ports = store.ports(**{**named, **changes})

    def _announce(self, verdicts: Sequence[AttemptResult]) -> None:
        self.verdicts.extend(verdicts)

    def drain(self, until: StopCondition | None = None) -> Any:
        return Dispatcher(self.ports).drain(until or StopCondition())


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    store = Store(f"sqlite:///{tmp_path}/outbox.sqlite")
    yield Desk(store)
    store.engine.dispose()


# -- the dispatcher --------------------------------------------------------------------


def test_r14_what_is_queued_leaves_once(any_store: Store) -> None:
    """A hundred and twenty messages over four connections: each delivered and recorded once."""
    desk = Desk(any_store, connections=4)
    messages = [a_message(f"p{number}@firm.example") for number in range(120)]
    any_store.put(*messages)
    stats = desk.drain()
    assert (stats.sent, stats.others) == (120, 0)
    sent = [one.recipients[0] for one in desk.transport.delivered]
    assert sorted(sent) == sorted(f"p{number}@firm.example" for number in range(120))
    assert any_store.statuses() == {"sent": 120}
    assert len(desk.verdicts) == 120


def test_r34_a_failed_send_does_not_go_to_the_default_to(desk: Desk) -> None:
    """Default To serves a missing address, not a refused one."""
    message = a_message("eve@firm.example")
    desk.store.put(message)
    desk.transport.refuse("eve@firm.example", Reply(550, "5.1.1", "no such user"))
    desk.drain()
    assert desk.transport.delivered == []
    row = desk.store.message(message.id)
    assert (row.status, row.reason) == ("failed", "refused")
    assert "no such user" in str(row.detail)
    assert desk.drain().done == 0


def test_a_transient_refusal_is_retried_alone_after_a_minute(desk: Desk) -> None:
    """Nobody who has it gets it twice."""
    message = a_message("ada@firm.example", "bob@firm.example")
    desk.store.put(message)
    desk.transport.refuse("bob@firm.example", Reply(450, "4.2.1", "greylisted"))
    desk.drain()
    assert desk.store.message(message.id).status == "deferred"
    make_due(desk.store)
    desk.transport.refuse("bob@firm.example", Reply(250, None, "ok"))
    desk.drain()
    assert desk.transport.delivered[-1].recipients == ("bob@firm.example",)
    assert desk.store.statuses() == {"sent": 1}


@pytest.mark.parametrize("names", [["ada", "bob", "eve"], ["eve", "bob", "ada"]])
@pytest.mark.parametrize(
    ("answers", "status", "detail"),
    [
        ({"bob": "550 5.1.1 no such user"}, "failed", "550 5.1.1 no such user"),
        ({"bob": "450 4.2.1 busy"}, "deferred", "450 4.2.1 busy"),
        ({"ada": "550 5.1.1 never", "bob": "450 4.2.1 later"}, "deferred", "450 4.2.1 later"),
        ({"bob": "450 4.2.1 later", "eve": "550 5.1.1 x"}, "deferred", "450 4.2.1 later"),
        ({}, "sent", None),
    ],
)
def test_the_detail_is_the_reply_that_decided_the_state(
    desk: Desk, answers: dict[str, str], status: str, detail: str | None, names: list[str]
) -> None:
    """Not the "queued" that the others got; and so wherever in the order they stand."""
    message = a_message(*(f"{name}@firm.example" for name in names))
    desk.store.put(message)
    for name, reply in answers.items():
        desk.transport.refuse(f"{name}@firm.example", reply_of(reply))
    desk.drain()
    row = desk.store.message(message.id)
    assert (row.status, row.detail) == (status, detail)


def reply_of(text: str) -> Reply:
    code, enhanced, said = text.split(" ", 2)
    return Reply(int(code), enhanced, said)


def test_a_refusal_of_an_earlier_attempt_stays_the_detail(desk: Desk) -> None:
    """Who was tried again has it; what failed is still what was said to the other one."""
    message = a_message("ada@firm.example", "bob@firm.example")
    desk.store.put(message)
    desk.transport.refuse("ada@firm.example", Reply(550, "5.1.1", "no such user"))
    desk.transport.refuse("bob@firm.example", Reply(450, "4.2.1", "greylisted"))
    desk.drain()
    make_due(desk.store)
    desk.transport.refuse("bob@firm.example", Reply(250, None, "ok"))
    desk.drain()
    row = desk.store.message(message.id)
    assert (row.status, row.reason) == ("failed", "refused")
    assert row.detail == "550 5.1.1 no such user"


def test_the_last_words_about_a_recipient_outlive_the_time_of_a_message(desk: Desk) -> None:
    """What the server said stays with whom it said it of."""
    message = a_message(expires_at=clock.now() + timedelta(hours=1))
    desk.store.put(message)
    desk.transport.refuse("ada@firm.example", Reply(450, "4.2.1", "greylisted"))
    desk.drain()
    set_values(desk.store, due_at=clock.now(), expires_at=clock.now())
    desk.drain()
    assert desk.store.message(message.id).reason == "expired"
    assert desk.store.verdicts(message.id) == {
        "ada@firm.example": ("failed", "450 4.2.1 greylisted")
    }


def test_whose_copy_is_doubtful_is_not_forgotten_over_the_others(desk: Desk) -> None:
    """A held recipient keeps the message held until it is released, whatever became of others."""
    desk.settings = replace(SETTINGS, on_ambiguous="hold")
    message = a_message(*(f"{name}@firm.example" for name in ("ada", "bob", "eve")))
    desk.store.put(message)
    refusals = {"bob": Reply(450, "4.2.1", "greylisted"), "eve": Reply(550, "5.1.1", "unknown")}
    desk.transport.answer_with(
        replace(LOST, verdicts={f"{who}@firm.example": said for who, said in refusals.items()})
    )
    desk.drain()
    assert desk.store.message(message.id).status == "deferred"
    make_due(desk.store)
    desk.drain()
    assert desk.transport.delivered[-1].recipients == ("bob@firm.example",)
    row = desk.store.message(message.id)
    assert (row.status, row.reason, row.detail) == ("held", "ambiguous", "link lost")
    with desk.store.writing() as connection:
        assert outbox.release(connection, [message.id], clock.now())
    desk.drain()
    assert desk.transport.delivered[-1].recipients == ("ada@firm.example",)
    row = desk.store.message(message.id)
    assert (row.status, row.reason, row.detail) == ("failed", "refused", "550 5.1.1 unknown")


def make_due(store: Store) -> None:
    with store.writing() as connection:
        connection.execute(
            sa.update(outbox.DELIVERY)
            .where(outbox.DELIVERY.c.due_at.is_not(None))
            .values(due_at=clock.now())
        )


def test_server_trouble_burns_no_attempt_and_opens_the_breaker(desk: Desk) -> None:
    """Nobody runs against a server that is away; it says why; other settings close it."""
    messages = [a_message() for _ in range(3)]
    desk.store.put(*messages)
    trouble = TransportError("The connection was refused.", stage=Stage.CONNECT)
    desk.transport.answer_with(trouble)
    stats = desk.drain()
    assert (stats.done, stats.held_up_by) == (0, "The connection was refused.")
    assert desk.store.statuses() == {"queued": 3}
    assert all(desk.store.message(one.id).attempts == 0 for one in messages)
    with desk.store.reading() as connection:
        state = breaker.read(connection, relay_of(desk.settings))
    assert state is not None
    assert state.why == "The connection was refused."
    assert timedelta(seconds=55) < state.until - clock.now() < timedelta(seconds=61)
    assert "refused" in str(desk.drain().held_up_by)
    assert len(desk.transport.tried) == 1
    desk.settings = replace(SETTINGS, smtp_port=587)
    make_due(desk.store)
    assert desk.drain().sent == 3


def test_servers_in_trouble_at_once_have_a_breaker_each(desk: Desk) -> None:
    """Workers with overrides of their own talk to others: neither forgets its own trouble."""
    desk.store.put(*(a_message() for _ in range(3)))
    other = replace(SETTINGS, smtp_server="other.example")
    for settings in (SETTINGS, other):
        desk.settings = settings
        desk.transport.answer_with(TransportError(f"{settings.smtp_server}?", stage=Stage.CONNECT))
        desk.drain()
    for settings in (SETTINGS, other, SETTINGS):
        desk.settings = settings
        assert desk.drain().held_up_by == f"{settings.smtp_server}?"
    assert len(desk.transport.tried) == 2
    with desk.store.writing() as connection:
        breaker.close(connection, relay_of(SETTINGS))
    with desk.store.reading() as connection:
        assert breaker.read(connection, relay_of(SETTINGS)) is None
        assert breaker.read(connection, relay_of(other)) is not None
    with desk.store.writing() as connection:
        breaker.close(connection, relay_of(SETTINGS), relay_of(other))
    assert desk.drain().sent == 3


def test_a_refused_login_waits_longer_than_a_lock_out(desk: Desk) -> None:
    """Fifteen minutes between two tries of a wrong password."""
    desk.store.put(a_message())
    desk.transport.answer_with(TransportError("535", stage=Stage.AUTHENTICATION, transient=False))
    desk.drain()
    with desk.store.reading() as connection:
        state = breaker.read(connection, relay_of(desk.settings))
    assert state is not None
    assert state.until - clock.now() > timedelta(minutes=14)


def test_a_probe_that_succeeds_closes_the_breaker(desk: Desk) -> None:
    """After the pause one message is the probe, then the rest follows."""
    desk.store.put(*(a_message() for _ in range(5)))
    desk.transport.answer_with(TransportError("away", stage=Stage.CONNECT))
    desk.drain()
    with desk.store.writing() as connection:
        connection.execute(sa.update(CHECK).values(until=clock.now() - timedelta(seconds=1)))
    make_due(desk.store)
    assert desk.drain().sent == 5
    with desk.store.reading() as connection:
        assert breaker.read(connection, relay_of(desk.settings)) is None


def test_a_connection_lost_inside_a_message_counts_against_that_message(desk: Desk) -> None:
    """A message that makes servers hang up must not block the queue for ever."""
    first, second = a_message("a@firm.example"), a_message("b@firm.example")
    desk.store.put(first, second)
    desk.transport.answer_with(TransportError("hung up", stage=Stage.CONTENT))
    desk.drain()
    assert desk.store.statuses() == {"deferred": 1, "sent": 1}


@pytest.mark.parametrize(("policy", "status"), [("retry", "deferred"), ("hold", "held")])
def test_an_unknown_outcome_follows_the_policy(desk: Desk, policy: str, status: str) -> None:
    """And opens no breaker."""
    desk.settings = replace(SETTINGS, on_ambiguous=policy)
    message = a_message()
    desk.store.put(message)
    desk.transport.answer_with(LOST)
    desk.drain()
    assert desk.store.message(message.id).status == status
    with desk.store.reading() as connection:
        assert breaker.read(connection, relay_of(desk.settings)) is None


def test_a_message_that_breaks_the_program_is_set_aside(desk: Desk) -> None:
    """The rest flows."""
    bad, good = a_message("bad@firm.example"), a_message("good@firm.example")

    class Breaking(MemoryTransport):
        def deliver(self, envelope: Envelope) -> TransportResult:
            if envelope.recipients == ("bad@firm.example",):
                raise UnicodeError("boom")
            return super().deliver(envelope)

    desk.transport = Breaking()
    desk.store.put(bad, good)
    desk.drain()
    assert desk.store.message(good.id).status == "sent"
    row = desk.store.message(bad.id)
    assert (row.status, row.reason) == ("held", "poison")


def test_what_is_past_its_time_is_not_sent(desk: Desk) -> None:
    """A reminder of yesterday's meeting helps nobody."""
    late = a_message(expires_at=clock.now() - timedelta(minutes=1))
    desk.store.put(late)
    desk.drain()
    assert desk.transport.tried == []
    assert desk.store.message(late.id).reason == "expired"


def test_diverted_mail_goes_to_the_one_mailbox_with_its_verdict_for_all(desk: Desk) -> None:
    """Staging: one RCPT, and the log says where it went."""
    desk.settings = replace(SETTINGS, divert_to="staging@firm.example")
    message = a_message("ada@firm.example", "bob@firm.example")
    desk.store.put(message)
    desk.drain()
    assert [one.recipients for one in desk.transport.delivered] == [("staging@firm.example",)]
    assert {status for status, _ in desk.store.verdicts(message.id).values()} == {"sent"}
    with desk.store.reading() as connection:
        diverted = connection.scalar(sa.text("SELECT diverted_to FROM interaction_mail_attempt"))
    assert diverted == "staging@firm.example"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"paused": True}, "paused"),
        ({"smtp_server": None}, "not configured"),
    ],
)
def test_r3_paused_or_unconfigured_nothing_leaves(
    desk: Desk, change: dict[str, Any], why: str
) -> None:
    """The queue keeps it."""
    desk.settings = replace(SETTINGS, **change)
    desk.store.put(a_message())
    assert why in str(desk.drain().held_up_by)
    assert desk.transport.tried == []
    assert desk.store.statuses() == {"queued": 1}


def test_stopping_gives_back_what_was_not_begun(desk: Desk) -> None:
    """No claim is left behind."""
    stop = threading.Event()

    class Stopping(MemoryTransport):
        def deliver(self, envelope: Envelope) -> TransportResult:
            stop.set()
            time.sleep(0.05)
            return super().deliver(envelope)

    desk.transport = Stopping()
    desk.store.put(*(a_message() for _ in range(20)))
    stats = desk.drain(StopCondition(stop))
    states = desk.store.statuses()
    assert stats.sent >= 1
    assert states.get("sending") is None
    assert states["sent"] + states["queued"] == 20


def test_no_transaction_is_open_while_the_network_is_in_use(tmp_path: Path) -> None:
    """A slow server must not hold the host's database."""
    store = Store(f"sqlite:///{tmp_path}/outbox.sqlite")
    desk = Desk(store)
    seen: list[int] = []

    class Looking(MemoryTransport):
        def deliver(self, envelope: Envelope) -> TransportResult:
            seen.append(store.engine.pool.checkedout())  # type: ignore[attr-defined]
            return super().deliver(envelope)

    desk.transport = Looking()
    store.put(*(a_message() for _ in range(3)))
    desk.drain()
    assert seen == [0, 0, 0]
    store.engine.dispose()


def test_an_hour_of_running_ends_with_a_tidy_outbox(tmp_path: Path) -> None:
    """The first look of a worker already removes what is older than the configuration keeps."""
    url = f"sqlite:///{tmp_path}/host.sqlite"
    with opened(
        url, INTERACTION_MAIL_LOG_RETENTION=timedelta(microseconds=1), TESTING=True
    ) as host:
        host.configure()
        send(host)
        assert len(host.rows()) == 1
        stop, wake = threading.Event(), threading.Event()
        worker = threading.Thread(target=host.dispatcher().run, args=(stop, wake))
        worker.start()
        end = time.monotonic() + 10
        while host.rows() and time.monotonic() < end:
            time.sleep(0.02)
        stop.set()
        wake.set()
        worker.join()
        assert host.rows() == []


# -- modes, with a real server ---------------------------------------------------------


def test_r1_thread_delivery_starts_by_itself(tmp_path: Path, catcher: Catcher) -> None:
    """From the commit to the mailbox without any operator action, and back to the host."""
    done = threading.Event()
    told: list[Notification] = []

    def hear(_: Any, notification: Notification) -> None:
        told.append(notification)
        done.set()

    with opened(f"sqlite:///{tmp_path}/host.sqlite", INTERACTION_MAIL_DELIVERY="thread") as host:
        host.configure(smtp_port=catcher.port)
        with notification_sent.connected_to(hear, host.app), host.app.app_context():
            queued = send_notification("bob", "Hello", text="Hello Bob")
            host.db.session.commit()
            assert done.wait(10)
            found = get_notification(queued.id)
    assert found is not None
    assert found.status == "sent"
    assert told[0].recipients[0].reply is not None
    (mail,) = catcher.mails
    assert (mail.sender, mail.recipients) == ("crm@firm.example", ["bob@firm.example"])
    assert mail.message["Subject"] == "Hello"


def test_thread_delivery_picks_up_what_a_crash_left(tmp_path: Path, catcher: Catcher) -> None:
    """The first request of a process is enough."""
    url = f"sqlite:///{tmp_path}/host.sqlite"
    with opened(url) as worker_only:
        worker_only.configure(smtp_port=catcher.port)
        send(worker_only)
    with opened(url, INTERACTION_MAIL_DELIVERY="thread") as host:
        host.app.test_client().get("/")
        catcher.wait_for(1)
    assert len(catcher.mails) == 1


def test_worker_mode_leaves_delivery_to_the_worker(tmp_path: Path, catcher: Catcher) -> None:
    """This process only stores."""
    with opened(f"sqlite:///{tmp_path}/host.sqlite") as host:
        host.configure(smtp_port=catcher.port)
        send(host)
        host.app.test_client().get("/")
        assert [row.status for row in host.rows()] == ["queued"]
        assert host.dispatcher().drain().sent == 1
    assert len(catcher.mails) == 1


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///{path}/host.sqlite"])
def test_sync_delivery_is_done_by_the_end_of_the_context(
    tmp_path: Path, catcher: Catcher, url: str
) -> None:
    """In memory there is no other way; the host's own work is not touched by it."""
    mode = {} if url == "sqlite://" else {"INTERACTION_MAIL_DELIVERY": "sync"}
    with opened(url.format(path=tmp_path), **mode) as host:
        host.configure(smtp_port=catcher.port)
        with host.app.app_context():
            host.db.session.add(host.Thing(name="t"))
            notification = send_notification("bob", "Hello", text="Hello")
            host.db.session.commit()
            assert catcher.mails == []
        assert len(catcher.mails) == 1
        with host.app.app_context():
            found = get_notification(notification.id)
            assert found is not None
            assert found.status == "sent"
            host.db.session.add(host.Thing(name="u"))
            send_notification("bob", "Not committed", text="Hello")
        assert len(catcher.mails) == 2
        with host.app.app_context():
            assert host.db.session.query(host.Thing).count() == 1


def test_sync_delivery_of_an_administrators_resend(tmp_path: Path, catcher: Catcher) -> None:
    """What a page or a command queues leaves with its own context, too."""
    with opened(f"sqlite:///{tmp_path}/host.sqlite", INTERACTION_MAIL_DELIVERY="sync") as host:
        host.configure(smtp_port=catcher.port)
        first = send(host)
        with host.app.app_context():
            operations.resend(host.state, first.id)
        assert len(catcher.mails) == 2
        assert catcher.mails[0].message["Message-ID"] != catcher.mails[1].message["Message-ID"]


def send(host: Host) -> Notification:
    with host.app.app_context():
        notification = send_notification("bob", "Hello", text="Hello")
        host.db.session.commit()
        return notification


@pytest.mark.parametrize(
    ("reply", "signal", "status"),
    [
        (Reply(550, "5.1.1", "no"), notification_failed, "failed"),
        (Reply(450, "4.2.0", "later"), notification_deferred, "deferred"),
    ],
)
def test_signals_tell_what_became_of_it(
    tmp_path: Path, catcher: Catcher, reply: Reply, signal: Any, status: str
) -> None:
    """After the commit, with the verdicts in its recipients."""
    told: list[Notification] = []

    def hear(_: Any, notification: Notification) -> None:
        told.append(notification)

    catcher.refuse["bob@firm.example"] = f"{reply}"
    with opened(f"sqlite:///{tmp_path}/host.sqlite") as host:
        host.configure(smtp_port=catcher.port)
        send(host)
        with signal.connected_to(hear, host.app):
            host.dispatcher().drain()
    assert [one.status for one in told] == [status]
    assert told[0].recipients[0].reply == str(reply)


def test_held_messages_are_told_and_can_be_released(tmp_path: Path, catcher: Catcher) -> None:
    """Released, the same bytes leave under the same Message-ID."""
    told: list[str] = []

    def hear(_: Any, notification: Notification) -> None:
        told.append(notification.status)

    catcher.vanish_after_dot = 1
    with opened(f"sqlite:///{tmp_path}/host.sqlite") as host:
        host.configure(smtp_port=catcher.port, on_ambiguous="hold")
        queued = send(host)
        with notification_held.connected_to(hear, host.app):
            host.dispatcher().drain()
        assert told == ["held"]
        with host.app.app_context():
            assert operations.release(host.state, queued.id) == [queued.id]
            assert operations.release(host.state, queued.id) == []
        assert host.dispatcher().drain().sent == 1
    assert {mail.message["Message-ID"] for mail in catcher.mails} == {queued.message_id}
    assert len({mail.content for mail in catcher.mails}) == 1


def test_r18_r21_one_set_of_credentials_for_all_and_none_where_it_is_off(
    tmp_path: Path,
) -> None:
    """The box decides; whoever the current user is."""
    with catching(login=("crm", "s3cret-word")) as catcher:  # noqa: SIM117 - two topics
        with opened(f"sqlite:///{tmp_path}/host.sqlite", INTERACTION_MAIL_CONNECTIONS=1) as host:
            host.configure(
                smtp_port=catcher.port,
                use_authentication=True,
                allow_unencrypted_auth=True,
                login="crm",
                password="s3cret-word",
            )
            send(host)
            host.people.user = None
            send(host)
            assert host.dispatcher().drain().sent == 2
            assert catcher.logins == ["crm"]
            host.configure(smtp_port=catcher.port, use_authentication=False)
            send(host)
            host.dispatcher().drain()
            assert catcher.logins == ["crm"]


@pytest.mark.parametrize("status", [Status.QUEUED, Status.DEFERRED, Status.HELD])
def test_time_in_which_a_message_was_not_tried_is_not_charged(desk: Desk, status: Status) -> None:
    """Scheduled, paused, without a server or released after weeks: one refusal ends nothing."""
    message = a_message(status=status)
    desk.store.put(message)
    set_values(desk.store, created_at=clock.now() - timedelta(days=30), due_at=clock.now())
    with desk.store.writing() as connection:
        outbox.release(connection, [message.id], clock.now())
    desk.transport.refuse("ada@firm.example", Reply(450, "4.2.1", "greylisted"))
    desk.drain()
    row = desk.store.message(message.id)
    assert (row.status, row.attempts) == ("deferred", 1)
    make_due(desk.store)
    desk.transport.refuse("ada@firm.example", Reply(250, None, "ok"))
    desk.drain()
    assert desk.store.statuses() == {"sent": 1}


@pytest.mark.parametrize("held", [False, True], ids=["deferred", "released"])
def test_the_thirty_sixth_attempt_is_the_last(desk: Desk, held: bool) -> None:
    """Whatever the clock says: the delays after so many add up to five days.

    To be held and released meanwhile gives no further attempts.
    """
    message = a_message(status=Status.HELD if held else Status.DEFERRED)
    desk.store.put(message)
    desk.transport.refuse("ada@firm.example", Reply(450, "4.2.1", "greylisted"))
    set_values(desk.store, attempts=34)
    for status in ("deferred", "failed"):
        make_due(desk.store)
        with desk.store.writing() as connection:
            outbox.release(connection, [message.id], clock.now())
        set_values(desk.store, due_at=clock.now())
        desk.drain()
        assert desk.store.message(message.id).status == status
    row = desk.store.message(message.id)
    assert (row.attempts, row.reason) == (36, "expired")
    assert row.detail == "450 4.2.1 greylisted"


def set_values(store: Store, **values: Any) -> None:
    with store.writing() as connection:
        outbox_rows.change(connection, **values)


def test_what_is_given_up_is_told_to_default_to_once(tmp_path: Path, catcher: Catcher) -> None:
    """One notice a message, from default From; never a notice about a notice."""
    for name in ("bob", "merge-desk"):
        catcher.refuse[f"{name}@firm.example"] = "450 4.2.0 later"
    with opened(f"sqlite:///{tmp_path}/host.sqlite") as host:
        host.configure(smtp_port=catcher.port)
        send(host)
        last_attempt_is_due(host)
        assert host.dispatcher().drain().others == 2
        (old, notice) = host.rows()
        assert (old.status, old.reason) == ("failed", "expired")
        assert (notice.source, notice.status) == ("notice", "deferred")
        last_attempt_is_due(host)
        host.dispatcher().drain()
        assert [(row.status, row.reason) for row in host.rows()] == [("failed", "expired")] * 2
        catcher.refuse.clear()
        with host.app.app_context():
            operations.resend(host.state, notice.id)
        host.dispatcher().drain()
    (mail,) = catcher.mails
    assert (mail.sender, mail.recipients) == ("crm@firm.example", ["merge-desk@firm.example"])
    assert mail.message["From"] == "crm@firm.example"
    assert mail.message["Subject"] == "Not delivered: Hello"
    text = mail.message.get_body(("plain",)).get_content()
    assert "The mail server did not take a message in 36 attempts" in text
    assert "bob@firm.example: 450 4.2.0 later" in text


def last_attempt_is_due(host: Host) -> None:
    """Everything in the outbox was tried 35 times."""
    with host.app.app_context(), host.db.engine.begin() as connection:
        connection.execute(
            sa.update(outbox.DELIVERY)
            .where(outbox.DELIVERY.c.due_at.is_not(None))
            .values(attempts=35, due_at=clock.now())
        )


def test_a_new_password_does_not_wait_for_the_lock_out(tmp_path: Path) -> None:
    """A save closes the breaker: what is queued leaves with the new password at once."""
    answers: dict[str, Action | list[Action]] = {
        "EHLO": b"250-scripted.test\r\n250 AUTH PLAIN\r\n",
        "AUTH": check_login("crm", "s3cret-word"),
    }
    with scripted(answers) as server, opened(f"sqlite:///{tmp_path}/host.sqlite") as host:
        login: dict[str, Any] = {
            "use_authentication": True,
            "allow_unencrypted_auth": True,
            "login": "crm",
        }
        host.configure(smtp_port=server.port, password="wrong-word", **login)
        for _ in range(5):
            send(host)
        assert "535" in str(host.dispatcher().drain().held_up_by)
        assert server.count("AUTH") == 1  # however many connections there may be
        host.configure(smtp_port=server.port, password="s3cret-word", **login)
        assert host.dispatcher().drain().sent == 5
