"""Claiming beside recording: only where the database can, and nothing of it gets lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from flask_interaction_mail.delivery.claimer import GLANCE, Claimer, ClaimRequest
from flask_interaction_mail.delivery.dispatcher import Dispatcher
from flask_interaction_mail.delivery.ports import StopCondition
from flask_interaction_mail.outbox import claim as queue
from flask_interaction_mail.outbox.claimed import AttemptResult
from flask_interaction_mail.settings.model import MessagingSettings, relay_of
from flask_interaction_mail.transport.base import Envelope, TransportResult
from flask_interaction_mail.transport.memory import MemoryTransport
from tests.databases import LOCKING
from tests.outbox_rows import SETTINGS, Store, a_message, before_records, claims_of, records_of

ONE = ClaimRequest(limit=1, free=2, late=2)


def a_claimer(store: Store) -> Claimer:
    """One for the only relay."""
    relay = relay_of(SETTINGS)
    return Claimer(store.ports(), SETTINGS, relay, queue.Time(), [relay])


class Door:
    """Lets claims through one by one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open = threading.Event()
        self.reached = threading.Event()
        self._claim = queue.claim
        monkeypatch.setattr(queue, "claim", self)

    def __call__(self, *given: Any, **named: Any) -> Any:
        self.reached.set()
        assert self.open.wait(10)
        return self._claim(*given, **named)


def test_the_next_claim_does_not_stop_the_record_of_the_last(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite has one writer: there it is made at once, and so is the first one everywhere."""
    store.put(*(a_message() for _ in range(3)))
    claimer = a_claimer(store)
    claimer.begin(ONE, beside=False)
    first = claimer.take()
    assert len(first) == 1
    door = Door(monkeypatch)
    if store.engine.dialect.name == "sqlite":
        door.open.set()
    claimer.begin(ONE, beside=True)
    assert claimer.underway
    assert claimer.ready is door.open.is_set()
    assert door.reached.wait(10)
    door.open.set()
    (second,) = claimer.take()
    assert second.id != first[0].id
    assert not claimer.underway


def test_what_stops_a_claim_is_said_where_it_is_taken(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not in a thread that nobody looks at."""
    store.put(*(a_message() for _ in range(3)))
    claimer = a_claimer(store)
    claimer.begin(ONE, beside=False)
    claimer.take()

    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("disk full")

    monkeypatch.setattr(queue, "claim", broken)
    claimer.begin(ONE, beside=True)
    with pytest.raises(RuntimeError, match="disk full"):
        claimer.take()
    assert not claimer.underway


def test_a_claim_under_way_at_the_end_is_given_back(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopping in the middle of it leaves no claim behind."""
    claims_of(monkeypatch, 4)
    store.put(*(a_message() for _ in range(40)))
    stop, claims = threading.Event(), []
    claim = queue.claim

    def counted(*given: Any, **named: Any) -> Any:
        claims.append(len(claims))
        if len(claims) == 3:
            stop.set()
        return claim(*given, **named)

    monkeypatch.setattr(queue, "claim", counted)
    stats = Dispatcher(store.ports()).drain(StopCondition(stop))
    statuses = store.statuses()
    assert statuses["sent"] == stats.sent
    assert statuses["queued"] == 40 - stats.sent > 0


def test_a_claim_is_no_part_of_a_record(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the server has accepted waits for no claim."""
    claims_of(monkeypatch, 4)
    records_of(monkeypatch, 4)
    store.put(*(a_message() for _ in range(40)))
    together: list[bool] = []
    recorded_in: list[object] = []
    claim = queue.claim

    def noted(connection: sa.Connection, *_: object, **__: object) -> None:
        recorded_in.append(connection.get_transaction())

    def claimed(connection: sa.Connection, *given: Any, **named: Any) -> Any:
        together.append(connection.get_transaction() in recorded_in)
        return claim(connection, *given, **named)

    before_records(monkeypatch, noted)
    monkeypatch.setattr(queue, "claim", claimed)
    assert Dispatcher(store.ports()).drain().sent == 40
    assert len(together) > 1
    assert not any(together)


@pytest.mark.parametrize("store", LOCKING, indirect=True)
def test_a_close_server_gets_nothing_while_more_is_claimed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answers would be recorded late. The next claim is made beside the last record."""
    claims_of(monkeypatch, 8)
    records_of(monkeypatch, 4)
    # However long it takes: a look at the last record would find nothing left to claim.
    monkeypatch.setattr("flask_interaction_mail.delivery.claimer.GLANCE", 60)
    store.put(*(a_message() for _ in range(40)))
    claim, claiming, seen = queue.claim, threading.Event(), threading.Event()
    beside_mail: list[bool] = []
    recorded: list[AttemptResult] = []
    as_said: list[bool] = []

    def slow(*given: Any, **named: Any) -> Any:
        claiming.set()
        if recorded:  # else it is the first claim, beside no record
            assert seen.wait(10)
            seen.clear()
        taken = claim(*given, **named)
        claiming.clear()
        return taken

    def noted(_: sa.Connection, verdicts: Sequence[AttemptResult], **__: object) -> None:
        recorded.extend(verdicts)
        last = len(recorded) % 8 == 0
        as_said.append(claiming.wait(10 if last else 0.02) is last)
        if last:
            seen.set()

    class Noting(MemoryTransport):
        def deliver(self, envelope: Envelope) -> TransportResult:
            beside_mail.append(claiming.is_set())
            return super().deliver(envelope)

    monkeypatch.setattr(queue, "claim", slow)
    before_records(monkeypatch, noted)
    assert Dispatcher(store.ports(transport=lambda _: Noting())).drain().sent == 40
    assert not any(beside_mail)
    assert as_said == [True] * len(as_said)


@pytest.mark.parametrize("store", LOCKING, indirect=True)
def test_settings_are_not_looked_at_again_for_each_claim(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four times a second, and before the first one and after the last."""
    claims_of(monkeypatch, 4)
    store.put(*(a_message() for _ in range(80)))
    looks: list[float] = []
    desk = store.ports()

    def look() -> MessagingSettings:
        looks.append(time.monotonic())
        return desk.settings()

    assert Dispatcher(replace(desk, settings=look)).drain().sent == 80
    assert len(looks) <= 4 + (looks[-1] - looks[0]) / GLANCE


def test_a_claim_that_fails_takes_no_record_with_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the server has accepted is written down, whatever becomes of the next messages."""
    monkeypatch.setattr("flask_interaction_mail.delivery.prefetch.FIRST", 4)
    store.put(*(a_message() for _ in range(12)))
    claim, claims = queue.claim, []

    def broken(*given: Any, **named: Any) -> Any:
        claims.append(len(claims))
        if len(claims) == 2:
            raise RuntimeError("no such luck")
        return claim(*given, **named)

    monkeypatch.setattr(queue, "claim", broken)
    transport = MemoryTransport()
    desk = store.ports(transport=lambda _: transport)
    with pytest.raises(RuntimeError, match="no such luck"):
        Dispatcher(desk).drain()
    Dispatcher(desk).drain()
    assert store.statuses() == {"sent": 12}
    assert len(transport.delivered) == 12


def test_nothing_counts_of_a_claim_whose_transaction_fails(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the messages nor what was held of them: both are as they were."""
    store.put(a_message())
    failed: list[sa.Connection] = []

    @contextmanager
    def writing() -> Iterator[sa.Connection]:
        with store.engine.begin() as connection:
            yield connection
            if not failed:
                failed.append(connection)
                raise RuntimeError("no commit")

    monkeypatch.setattr(store, "writing", writing)
    claimer = a_claimer(store)
    claimer.begin(ONE, beside=False)
    with pytest.raises(RuntimeError, match="no commit"):
        claimer.take()
    assert not claimer.underway
    claimer.begin(ONE, beside=False)
    assert len(claimer.take()) == 1
