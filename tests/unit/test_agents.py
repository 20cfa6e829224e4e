"""Agents, and the messages that wait for them."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from flask_interaction_mail import clock
from flask_interaction_mail.delivery.agents import AgentPool
from flask_interaction_mail.delivery.jobs import Jobs
from flask_interaction_mail.errors import TransportError
from flask_interaction_mail.outcome import Fault, Stage
from flask_interaction_mail.settings.model import relay_of
from flask_interaction_mail.transport.memory import MemoryTransport
from flask_interaction_mail.transport.pool import KeptTransports
from flask_interaction_mail.transport.smtp.connect import within
from flask_interaction_mail.transport.smtp.timeouts import Until
from tests.outbox_rows import SETTINGS


def names(*letters: str) -> Any:
    """Stand-ins: whoever waits here is never looked into."""
    return list(letters)


def a_pool(now: Callable[[], datetime] = clock.now) -> AgentPool:
    kept = KeptTransports(lambda _: MemoryTransport())
    return AgentPool(SETTINGS, relay_of(SETTINGS), kept, now)


def test_what_goes_first_comes_before_all_that_waits() -> None:
    """Each group in its own order."""
    jobs = Jobs()
    jobs.add(names(), names("c", "d"))
    jobs.add(names("a", "b"), names("e"))
    jobs.release(3)
    assert list(iter(jobs.take, None)) == ["a", "b", "c", "d", "e"]
    assert jobs.take() is None


def test_what_is_kept_back_is_taken_once_it_is_released() -> None:
    """As many as are let go; what goes first does not wait for that."""
    jobs = Jobs()
    jobs.add(names("a"), names("b", "c", "d"))
    assert list(iter(jobs.take, None)) == ["a"]
    assert len(jobs) == 3
    jobs.release(2)
    jobs.release(0)
    assert list(iter(jobs.take, None)) == ["b", "c"]
    assert list(jobs.unreleased) == ["d"]


def test_who_waits_is_woken_by_work_and_by_the_end() -> None:
    """Four wait, three get something, one is sent home."""
    jobs, got = Jobs(), []
    waiting = [threading.Thread(target=lambda: got.append(jobs.wait())) for _ in range(4)]
    for thread in waiting:
        thread.start()
    jobs.add(names(), names("a", "b", "c"))
    assert got == []
    jobs.release(3)
    while len(got) < 3:
        waiting[0].join(0.01)
    assert sorted(map(str, got)) == ["a", "b", "c"]
    assert jobs.close() == []
    for thread in waiting:
        thread.join(5)
    assert sorted(map(str, got)) == ["None", "a", "b", "c"]


def test_the_end_gives_back_what_nobody_took() -> None:
    """And nobody gets anything afterwards."""
    jobs = Jobs()
    jobs.add(names("a"), names("b", "c"))
    jobs.release(1)
    assert jobs.close() == ["a", "b", "c"]
    assert jobs.wait() is None


class Noted(threading.Event):
    """Notes for how long somebody would have waited."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout or 0.0)
        return True


def brought(answered: datetime | None) -> Any:
    """A report, with a result only if the server has answered."""
    attempt = SimpleNamespace(finished_at=answered)
    return SimpleNamespace(result=SimpleNamespace(attempt=attempt) if answered else None)


@pytest.mark.parametrize(
    ("ago", "waits"),
    [
        (0, 0.003),
        (2, 0.001),
        (7, 0.0),  # while others were recorded
        (-5, 0.003),  # a clock was set
        (None, 0.003),
    ],
)
def test_a_result_waits_for_others_from_when_the_server_answered(
    ago: float | None, waits: float
) -> None:
    """Not from when it is looked at."""
    now = datetime(2026, 11, 26)  # noqa: DTZ001 - as the database has it
    pool = a_pool(lambda: now)
    pool.jobs.all_idle = noted = Noted()
    first = brought(None if ago is None else now - timedelta(milliseconds=ago))
    for report in (first, brought(now), brought(now)):
        pool.reports.put(report)
    assert len(pool.collect(1.0, 2, together=0.003)) == 2
    assert noted.waits == [pytest.approx(waits)]
    assert len(pool.collect(1.0, 2, together=0.003)) == 1
    assert pool.collect(0.0, 2, together=0.003) == []


def test_agents_beyond_what_is_wanted_leave() -> None:
    """Those that wait do at once; what waits is left to the others."""
    jobs = Jobs()
    jobs.add_agents(3)
    got: list[object] = []
    waiting = [threading.Thread(target=lambda: got.append(jobs.wait())) for _ in range(3)]
    for thread in waiting:
        thread.start()
    jobs.shrink_to(1)
    while len(got) < 2:
        waiting[0].join(0.01)
    assert (got, jobs.agents) == ([None, None], 1)
    jobs.add(names("a"), names())
    for thread in waiting:
        thread.join(5)
    assert got == [None, None, "a"]


def test_the_last_agent_does_not_leave_by_itself() -> None:
    """Whoever finds the server full goes, as long as somebody else is there."""
    jobs = Jobs()
    jobs.add_agents(2)
    assert (jobs.remove_agent(), jobs.remove_agent(), jobs.agents) == (True, False, 1)


def test_one_that_is_leaving_counts_until_its_connection_is_closed() -> None:
    """Three are served, and a fourth is turned away while one of them goes: it takes three."""
    enough = TransportError("421 enough", stage=Stage.GREETING, fault=Fault.GREETING_TRANSIENT)
    pool = a_pool()
    pool.jobs.add_agents(4)
    pool.jobs.shrink_to(3)
    assert pool.jobs.wait() is None  # this one is sent home
    assert pool.is_full(enough)
    assert pool.connection_limit == 3
    pool.jobs.disconnected()
    assert pool.is_full(enough)
    assert pool.connection_limit == 1


@pytest.fixture
def late_signal() -> Iterator[None]:
    """A signal after 10 ms, handled for 50: the time of whoever waits 30 ms is up meanwhile."""
    former = signal.signal(signal.SIGALRM, lambda *_: time.sleep(0.05))
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, former)


@pytest.mark.usefixtures("late_signal")
def test_a_signal_just_before_the_time_is_up_does_not_prolong_the_wait_for_reports() -> None:
    """As SIGTERM does to a worker whose server is slow: else it would not end."""
    pool = a_pool()
    late = threading.Timer(2, pool.reports.put, names(*"x"))
    late.start()
    assert pool.collect(0.03, 1, together=0) == []
    late.cancel()


@pytest.mark.usefixtures("late_signal")
def test_a_signal_just_before_the_time_is_up_does_not_prolong_the_wait_for_a_name() -> None:
    """What takes too long is not waited for."""
    done = threading.Event()
    assert within(Until.within(0.03), lambda: done.wait(2)) is None
    done.set()
