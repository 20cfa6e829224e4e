"""Agents: messages flow over kept connections, and nothing is lost where one breaks."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa

from flask_interaction_mail.delivery import run
from flask_interaction_mail.delivery.dispatcher import Dispatcher
from flask_interaction_mail.delivery.ports import DispatcherPorts, StopCondition
from flask_interaction_mail.outbox import claim
from flask_interaction_mail.outbox.claimed import AttemptResult
from flask_interaction_mail.settings.model import MessagingSettings, relay_of
from flask_interaction_mail.settings.relay import Relay
from flask_interaction_mail.storage.tables import DELIVERY
from flask_interaction_mail.transport.base import Envelope, TransportResult
from flask_interaction_mail.transport.memory import MemoryTransport
from flask_interaction_mail.transport.pool import KeptTransports
from flask_interaction_mail.transport.smtp.transport import SmtpTransport
from tests.outbox_rows import Store, a_message, before_records, records_of
from tests.servers.clients import PATIENT, settings
from tests.servers.scripted import OK, PIPELINING, Action, Peer, close, scripted, silence, until


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(f"sqlite:///{tmp_path}/outbox.sqlite")
    yield store
    store.engine.dispose()


def ports(store: Store, port: int, **changes: Any) -> DispatcherPorts:
    chosen = settings(port)
    values: dict[str, Any] = {
        "settings": lambda: chosen,
        "transport": lambda one: SmtpTransport(one, timeouts=PATIENT),
        "connections": 1,
    }
    return store.ports(**{**values, **changes})


def put(store: Store, count: int) -> None:
    store.put(*(a_message(f"p{number}@firm.example") for number in range(count)))


@pytest.mark.parametrize("connections", [1, 4])
def test_what_is_queued_flows_over_few_connections(store: Store, connections: int) -> None:
    """A hundred and twenty messages, each delivered and recorded once."""
    put(store, 120)
    with scripted({"EHLO": PIPELINING}) as server:
        stats = Dispatcher(ports(store, server.port, connections=connections)).drain()
        assert stats.sent == 120
        assert len({one.recipients[0] for one in server.messages}) == 120
        assert len(server.messages) == 120
        assert server.connections <= connections
    assert store.statuses() == {"sent": 120}


class Paced(MemoryTransport):
    """Takes its time over each message, or over one in ``every`` so many."""

    def __init__(self, seconds: float, every: int = 1) -> None:
        super().__init__()
        self._seconds = seconds
        self._every = every

    def deliver(self, envelope: Envelope) -> TransportResult:
        if len(self.delivered) % self._every == 0:
            time.sleep(self._seconds)
        return super().deliver(envelope)


def connections_used(store: Store, count: int, seconds: float, every: int = 1) -> int:
    """How many of four are opened for ``count`` messages with a server that is so ``Paced``."""
    opened: list[Paced] = []

    def connect(_: Relay) -> Paced:
        opened.append(Paced(seconds, every))
        return opened[-1]

    put(store, count)
    assert Dispatcher(ports(store, 25, connections=4, transport=connect)).drain().sent == count
    return len(opened)


@pytest.mark.parametrize(("seconds", "wanted"), [(0.0, 1), (0.005, 4), (0.1, 4)])
def test_as_many_connections_as_pay(
    store: Store, seconds: float, wanted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One, where the server answers at once; all, where most of the time is spent waiting.

    Here time goes on by what the server takes alone: a busy machine would hold up anybody.
    """
    taken = 0.0
    rest = time.sleep

    def sleep(duration: float) -> None:
        nonlocal taken
        rest(duration)
        taken += duration

    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(claim, "time", SimpleNamespace(monotonic=lambda: taken))
    monkeypatch.setattr(run, "_QUICK", run.GLANCE)  # in vain is what nothing comes in at all
    assert connections_used(store, 60, seconds) == wanted


class Counted(MemoryTransport):
    """Notes how many of its messages are not recorded yet."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self.unrecorded: list[int] = []
        self._store = store

    def deliver(self, envelope: Envelope) -> TransportResult:
        recorded = self._store.statuses().get("sent", 0)
        self.unrecorded.append(len(self.unrecorded) + 1 - recorded)
        return super().deliver(envelope)


def test_what_was_accepted_waits_for_one_record_at_most(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However fast the server is: agents get what one record holds, and as much again while it
    is committed.
    """
    records_of(monkeypatch, 10)
    sizes: list[int] = []
    before_records(monkeypatch, lambda _, verdicts, **__: sizes.append(len(verdicts)))
    put(store, 150)
    transport = Counted(store)
    assert Dispatcher(ports(store, 25, transport=lambda _: transport)).drain().sent == 150
    assert max(sizes) <= 10
    assert max(transport.unrecorded) <= 20


def test_agents_go_on_while_a_record_is_committed_and_not_while_it_is_written(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a close server accepted while it is written would wait for two records."""
    records_of(monkeypatch, 10)
    put(store, 100)
    transport = MemoryTransport()
    recorded, ahead, at_commit = [0], [0], [0]

    def write(_: sa.Connection, verdicts: Sequence[AttemptResult], **__: object) -> None:
        time.sleep(0.02)
        ahead.append(len(transport.delivered) - sum(recorded))
        recorded.append(len(verdicts))

    @sa.event.listens_for(store.engine, "commit")
    def commit(_: sa.Connection) -> None:
        before = len(transport.delivered)
        time.sleep(0.02)
        at_commit.append(len(transport.delivered) - before)

    before_records(monkeypatch, write)
    assert Dispatcher(ports(store, 25, transport=lambda _: transport)).drain().sent == 100
    assert max(ahead) == 10
    assert max(at_commit) == 10


@pytest.mark.parametrize(("every", "wanted"), [(50, 1), (4, 4)])
def test_a_server_that_was_held_up_now_and_then_is_still_close(
    store: Store, monkeypatch: pytest.MonkeyPatch, every: int, wanted: int
) -> None:
    """Ten milliseconds on a busy machine are no reason for more connections; always more are."""
    records_of(monkeypatch, 8)
    assert connections_used(store, 200, 0.01, every) == wanted


def test_a_claim_that_was_lost_does_not_keep_the_others_from_being_recorded(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What its new owner says stands."""
    records_of(monkeypatch, 10)
    put(store, 60)
    stolen: list[uuid.UUID] = []

    def steal(_: sa.Connection, verdicts: Sequence[AttemptResult], **__: Any) -> None:
        if not stolen:
            stolen.append(verdicts[0].claimed.id)
            theirs = sa.update(DELIVERY).where(DELIVERY.c.id == stolen[0])
            with store.writing() as another:
                another.execute(theirs.values(fence=DELIVERY.c.fence + 1, worker="another"))

    before_records(monkeypatch, steal)
    assert Dispatcher(ports(store, 25, transport=lambda _: MemoryTransport())).drain().sent == 59
    assert store.statuses() == {"sent": 59, "sending": 1}
    assert store.message(stolen[0]).worker == "another"


def test_nobody_waits_for_a_server_that_hangs_on_the_first_message(store: Store) -> None:
    """The others leave over other connections meanwhile."""
    put(store, 4)
    others_left = threading.Event()

    def hang(peer: Peer) -> None:
        others_left.wait(30)
        peer.say(OK)

    answers: dict[str, Action | list[Action]] = {"EHLO": PIPELINING, "DOT": [hang, OK]}
    with scripted(answers) as server:
        desk = ports(store, server.port, connections=2, transport=SmtpTransport)
        running = threading.Thread(target=Dispatcher(desk).drain)
        running.start()
        try:
            # All but the one that hangs.
            assert until(lambda: store.statuses().get("sent") == 3)
        finally:
            others_left.set()
            running.join(10)
    assert store.statuses() == {"sent": 4}


def test_an_answer_lost_after_the_dot_burns_the_attempt_of_that_message_alone(
    store: Store,
) -> None:
    """The next one is sent once, over another connection."""
    put(store, 10)
    answers: dict[str, Action | list[Action]] = {"EHLO": PIPELINING, "DOT": [OK, OK, close]}
    with scripted(answers) as server:
        stats = Dispatcher(ports(store, server.port)).drain()
        assert (stats.sent, stats.others) == (9, 1)
        assert len(server.messages) == 10
        assert server.connections == 2
    assert store.statuses() == {"sent": 9, "deferred": 1}


def test_stopping_gives_back_what_was_not_begun(store: Store) -> None:
    """Only the message that waits for the answer to its dot is ambiguous."""
    put(store, 10)
    stop = threading.Event()
    answers: dict[str, Action | list[Action]] = {"EHLO": PIPELINING, "DOT": [OK, OK, silence]}
    with scripted(answers) as server:
        desk = ports(store, server.port, grace=0.2)
        stopping = threading.Thread(
            target=lambda: (until(lambda: len(server.messages) == 3), stop.set())
        )
        stopping.start()
        stats = Dispatcher(desk).drain(StopCondition(stop))
        stopping.join()
    assert (stats.sent, stats.others) == (2, 1)
    assert store.statuses() == {"sent": 2, "deferred": 1, "queued": 7}


def test_trouble_gives_back_all_that_was_not_begun(store: Store) -> None:
    """The server goes away in the middle: no attempt is burnt but that of the lost message."""
    put(store, 10)
    answers: dict[str, Action | list[Action]] = {
        "EHLO": PIPELINING,
        "GREETING": [b"220 hello\r\n", b"421 no\r\n"],
        "DOT": [OK, close],
    }
    with scripted(answers) as server:
        stats = Dispatcher(ports(store, server.port)).drain()
        assert "421" in str(stats.held_up_by)
    assert store.statuses() == {"sent": 1, "deferred": 1, "queued": 8}


def test_sparse_mail_shares_a_connection(store: Store) -> None:
    """It is kept between two drains of a running dispatcher, and left politely at the end."""
    stop, wake = threading.Event(), threading.Event()
    with scripted({"EHLO": PIPELINING}) as server:
        dispatcher = Dispatcher(ports(store, server.port))
        running = threading.Thread(target=dispatcher.run, args=(stop, wake))
        running.start()
        for count in (1, 2, 3):
            put(store, 1)
            wake.set()
            assert until(lambda count=count: store.statuses() == {"sent": count}, 5)
            time.sleep(0.05)
        assert server.connections == 1
        assert server.count("QUIT") == 0
        stop.set()
        wake.set()
        running.join(5)
        assert until(lambda: server.count("QUIT") == 1)


def test_other_settings_open_another_connection(store: Store) -> None:
    """The old one is left."""
    stop, wake = threading.Event(), threading.Event()
    with scripted() as old, scripted() as new:
        chosen: list[MessagingSettings] = [settings(old.port)]
        seen: list[MessagingSettings] = []

        def look() -> MessagingSettings:
            seen.append(chosen[0])
            return seen[-1]

        dispatcher = Dispatcher(replace(ports(store, old.port), settings=look))
        running = threading.Thread(target=dispatcher.run, args=(stop, wake))
        running.start()
        put(store, 1)
        wake.set()
        assert until(lambda: len(old.messages) == 1)
        chosen[0] = settings(new.port)
        assert until(lambda: seen[-1] is chosen[0])
        put(store, 1)
        wake.set()
        assert until(lambda: len(new.messages) == 1)
        assert until(lambda: old.count("QUIT") == 1)
        stop.set()
        wake.set()
        running.join(5)
        assert len(old.messages) == 1


def test_idle_connections_are_given_up() -> None:
    """After their time, and all at the end."""
    made: list[MemoryTransport] = []

    def connect(_: Relay) -> MemoryTransport:
        made.append(MemoryTransport())
        return made[-1]

    kept, there = KeptTransports(connect, idle=0.1), relay_of(settings(25))
    first, second = kept.take(there), kept.take(there)
    assert first is not second
    kept.give_back(there, first)
    kept.close_idle()
    assert kept.take(there) is first
    kept.give_back(there, first)
    time.sleep(0.15)
    kept.close_idle()
    assert until(lambda: made[0].closed == 1)
    kept.close()
    kept.give_back(there, second)
    assert made[1].closed == 1


def test_what_could_not_be_given_back_is_given_back_when_the_database_is_there(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record of what was in flight has waited for it; else leases would have to end."""
    put(store, 10)
    stop, really, failures = threading.Event(), claim.give_back, []

    class Stopping(Paced):
        def deliver(self, envelope: Envelope) -> TransportResult:
            stop.set()
            return super().deliver(envelope)

    def away_at_first(*given: Any, **named: Any) -> None:
        if not failures:
            failures.append(named)
            raise sa.exc.OperationalError("UPDATE", {}, Exception("it is away"))
        really(*given, **named)

    monkeypatch.setattr(claim, "give_back", away_at_first)
    transport = Stopping(0.3)
    Dispatcher(ports(store, 25, transport=lambda _: transport)).drain(StopCondition(stop))
    assert failures
    assert store.statuses() == {"sent": 1, "queued": 9}
