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
    """How many lanes are at work, at first all; each of the others looks while any is.

    ``handed_on`` is how many messages lanes have left to others.
    """

    def __init__(self, lanes: int) -> None:
        self.handed_on = 0
        self._at_work = lanes
        self._changed = threading.Condition()

    def begin(self) -> None:
        with self._changed:
            self._at_work += 1

    def end(self, handed_on: int = 0) -> None:
        with self._changed:
            self._at_work -= 1
            self.handed_on += handed_on
            self._changed.notify_all()

    def wait(self, seconds: float, seen: int) -> bool:
        """Whether to look again after ``seconds``: any lane is at work, or has handed more on.

        ``seen`` is how many were handed on before the last look. It waits no longer if that has
        changed, or if no lane is at work.
        """
        with self._changed:
            self._changed.wait_for(lambda: not self._at_work or self.handed_on > seen, seconds)
            return self._at_work > 0 or self.handed_on > seen


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
        """Run once; gives whether anything has become of a message."""
        before = self.stats.done + self.stats.handed_on
        self.stats.held_up_by = None
        self.outdated = self._run(self._relay, self.stats)
        return self.stats.done + self.stats.handed_on > before

    def work(self, together: _Together) -> None:
        """Run again and again while any lane is at work and the settings are the same."""
        while True:
            handed_on, seen = self.stats.handed_on, together.handed_on
            try:
                busy = self.once()
                self.error = None
            except Exception as error:
                busy = False
                if str(error) != str(self.error):
                    log.error("relay.failed: %s: %s", self._relay.name, in_short(error))
                self.error = error
            finally:
                together.end(self.stats.handed_on - handed_on)
            if self.outdated or self._until.reached():
                return
            pause = _AFTER_ERROR if self.error else GLANCE
            if not busy and not together.wait(pause, seen):
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
