"""Runs for several relays, each in a thread of its own, so that a slow one keeps nobody waiting."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from .. import threads
from ..logs import log
from ..settings.relay import Relay
from ..storage.database import in_short
from .claimer import GLANCE
from .ports import DrainStats, StopCondition

_AFTER_ERROR: Final = 1.0  # s until a relay whose run has failed is tried again

# Runs once for a relay and counts in the stats; gives whether other settings are in force.
Run = Callable[[Relay, DrainStats], bool]


def run_all(
    relays: Sequence[Relay],
    run: Run,
    stats: DrainStats,
    until: StopCondition,
    *,
    in_turn: bool,
) -> bool:
    """Run for all ``relays`` until none has anything to do; whether other settings are in force.

    ``in_turn`` is for a database that all threads share one connection to. What is counted is added
    to ``stats``, which are held up only if all relays are.

    Raises:
        Exception: what the last run for a relay has raised.
    """
    lanes = [_Lane(relay, run, until) for relay in relays]
    if in_turn:
        busy = True
        while busy and not (until.reached() or any(lane.outdated for lane in lanes)):
            done = [lane.once() for lane in lanes]  # each of them, whatever the first has done
            busy = any(done)
    else:
        _in_threads(lanes)
    for lane in lanes:
        stats.sent += lane.stats.sent
        stats.others += lane.stats.others
    reasons = [lane.stats.held_up_by for lane in lanes]
    stats.held_up_by = reasons[0] if all(reasons) else None
    for lane in lanes:
        if lane.error is not None:
            raise lane.error
    return any(lane.outdated for lane in lanes)


class _Together:
    """How many lanes are at work, at first all; each of the others looks while any is."""

    def __init__(self, lanes: int) -> None:
        self._at_work = lanes
        self._changed = threading.Condition()

    def begin(self) -> None:
        with self._changed:
            self._at_work += 1

    def end(self) -> None:
        with self._changed:
            self._at_work -= 1
            self._changed.notify_all()

    def wait(self, seconds: float) -> bool:
        """Whether any lane is at work after ``seconds``; sooner if none is."""
        with self._changed:
            return not self._changed.wait_for(lambda: self._at_work == 0, seconds)


class _Lane:
    """The runs for one relay."""

    def __init__(self, relay: Relay, run: Run, until: StopCondition) -> None:
        self.stats = DrainStats()
        self.outdated = False
        self.error: Exception | None = None
        self._relay = relay
        self._run = run
        self._until = until

    def once(self) -> bool:
        """Run once; gives whether anything was sent, or ended otherwise."""
        before = self.stats.done
        self.stats.held_up_by = None
        self.outdated = self._run(self._relay, self.stats)
        return self.stats.done > before

    def work(self, together: _Together) -> None:
        """Run again and again while any lane is at work and the settings are the same."""
        while True:
            try:
                busy = self.once()
                self.error = None
            except Exception as error:
                busy = False
                if str(error) != str(self.error):
                    log.error("relay.failed: %s: %s", self._relay.name, in_short(error))
                self.error = error
            finally:
                together.end()
            if self.outdated or self._until.reached():
                return
            if not busy and not together.wait(_AFTER_ERROR if self.error else GLANCE):
                return
            together.begin()


def _in_threads(lanes: Sequence[_Lane]) -> None:
    """Have all lanes work at once, the first one here; returns when all have ended."""
    together, over = _Together(len(lanes)), threading.Semaphore(0)

    def work(lane: _Lane) -> None:
        try:
            lane.work(together)
        finally:
            over.release()

    tasks = [
        (lane, threads.start(partial(work, lane), "interaction-mail-relay")) for lane in lanes[1:]
    ]
    later = [lane for lane, task in tasks if task is None]  # no more threads can be started
    for _ in later:
        together.end()
    work(lanes[0])
    for lane in later:
        together.begin()
        work(lane)
    for _ in lanes:
        over.acquire()
