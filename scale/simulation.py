"""Simulates a day of much mail, second by second, to check the formulae of ``capacity``.

Uses no clock, database or network; chance comes from a seed. Times are in seconds, rates in
messages a second.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from flask_interaction_mail.delivery.retry import next_delay

from .capacity import DAY, HOUR, PROBE, Plan

NOON = 14 * HOUR  # the middle of the busiest hour
DROPPED_AT = 3 * HOUR  # when the oldest day is dropped
_FLOOR = 0.05  # share of the curve's height that is left at night


def daily_curve(peak: float) -> Callable[[float], float]:
    """Maps a second of the day to its rate, divided by the mean; the busiest hour has ``peak``.

    Raises:
        ValueError: no curve of this shape has such a peak.
    """
    low, high = 0.0, 200.0
    if not 1 <= peak < _busiest_hour(high):
        raise ValueError(f"a peak of {peak} times the mean hour is out of reach")
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if _busiest_hour(middle) < peak else (low, middle)
    mean = _mean(high, 0, DAY)
    return lambda second: _height(second, high) / mean


def _height(second: float, steepness: float) -> float:
    swing = (1 + math.cos(2 * math.pi * (second - NOON) / DAY)) / 2
    return _FLOOR + (1 - _FLOOR) * float(swing**steepness)


def _busiest_hour(steepness: float) -> float:
    return _mean(steepness, NOON - HOUR // 2, HOUR) / _mean(steepness, 0, DAY)


def _mean(steepness: float, start: int, length: int) -> float:
    step = length // 120
    return sum(_height(start + (n + 0.5) * step, steepness) for n in range(120)) / 120


@dataclass(slots=True)
class Day:
    """The results of a day."""

    arrived: int = 0
    attempts: int = 0
    sent: int = 0
    left: int = 0  # not sent at the end of the day
    longest_queue: int = 0  # messages without an attempt
    longest_wait: int = 0  # s for a first attempt
    recovered: int | None = None  # s after the outage until no message waited for its first attempt
    rows: float = 0.0  # a second, in the busiest minute
    logged: float = 0.0  # bytes a second, in the busiest minute


def play(plan: Plan, *, seed: int, outage_at: int | None = None) -> Day:
    """Simulate one day; with ``outage_at`` no relay answers from then on, for ``site.outage``."""
    chance = random.Random(seed)
    arrivals = _arrivals(plan, chance)
    end = DAY if outage_at is None else outage_at + plan.site.outage
    # The next probe finds out that the server is back.
    down = range(DAY if outage_at is None else outage_at, end + chance.randrange(PROBE))
    outbox, writing, day = _Outbox(plan.site.refused, chance), _Writing(plan), Day()
    stored, capacity = 0, 0.0
    for second in range(DAY):
        outbox.becomes_due(second)
        stored += arrivals[second]
        if DROPPED_AT <= second < DROPPED_AT + plan.site.drop:
            continue  # all wait for the lock, and store afterwards
        outbox.store(second, stored)
        capacity = capacity % 1 + plan.capacity
        done = 0 if second in down else outbox.serve(second, int(capacity))
        writing.note(second, stored, done)
        day.arrived, day.attempts, stored = day.arrived + stored, day.attempts + done, 0
        day.longest_queue = max(day.longest_queue, outbox.queue)
        if second >= end and day.recovered is None and outbox.queue == 0:
            day.recovered = second - end
    day.sent, day.left, day.longest_wait = outbox.sent, outbox.left, outbox.longest_wait
    day.rows, day.logged = writing.rows, writing.logged
    return day


def _arrivals(plan: Plan, chance: random.Random) -> list[int]:
    """Messages in each second: the curve, bursts, and chance."""
    site, curve = plan.site, daily_curve(plan.site.peak)
    starts = [NOON, *(chance.randrange(DAY) for _ in range(site.bursts - 1))]
    bursting = {start + n for start in starts for n in range(site.burst_seconds)}
    expected = (
        plan.mean * curve(second) * (site.burst if second in bursting else 1)
        for second in range(DAY)
    )
    # At these rates a normal distribution is close to Poisson's.
    return [max(0, round(chance.gauss(rate, math.sqrt(rate)))) for rate in expected]


Cohorts = deque[tuple[int, int]]  # what these messages share, and how many they are


@dataclass(slots=True)
class _Outbox:
    """Messages that wait, and how many were sent."""

    refused: float
    chance: random.Random
    fresh: Cohorts = field(default_factory=deque)  # by the second of their arrival
    later: dict[int, list[tuple[int, int]]] = field(default_factory=dict)  # by when they are due
    again: Cohorts = field(default_factory=deque)  # due, by the number of their attempts
    queue: int = 0  # messages in fresh
    left: int = 0  # messages that wait, in all
    sent: int = 0
    longest_wait: int = 0

    def store(self, second: int, number: int) -> None:
        if number:
            self.fresh.append((second, number))
            self.queue += number
            self.left += number

    def becomes_due(self, second: int) -> None:
        self.again.extend(self.later.pop(second, ()))

    def serve(self, second: int, capacity: int) -> int:
        """Make the attempts of one second; up to half of them are further attempts."""
        again = _take(self.again, capacity // 2)
        fresh = _take(self.fresh, capacity - _count(again))
        again += _take(self.again, capacity - _count(again) - _count(fresh))
        if fresh:
            self.longest_wait = max(self.longest_wait, second - fresh[0][0])
        self.queue -= _count(fresh)
        for attempts, number in [(0, _count(fresh)), *again]:
            self._attempt(second, attempts + 1, number)
        return _count(fresh) + _count(again)

    def _attempt(self, second: int, attempts: int, number: int) -> None:
        refused = min(number, int(number * self.refused + self.chance.random()))
        self.sent += number - refused
        self.left -= number - refused
        if refused:
            delay = next_delay(attempts, self.chance.random())
            due = second + int(delay.total_seconds())
            self.later.setdefault(due, []).append((attempts, refused))


def _take(cohorts: Cohorts, most: int) -> list[tuple[int, int]]:
    """Remove and return the first ``most`` messages."""
    taken: list[tuple[int, int]] = []
    while cohorts and most > 0:
        mark, number = cohorts.popleft()
        taken.append((mark, min(number, most)))
        if number > most:
            cohorts.appendleft((mark, number - most))
        most -= number
    return taken


def _count(cohorts: list[tuple[int, int]]) -> int:
    return sum(number for _, number in cohorts)


@dataclass(slots=True)
class _Writing:
    """What the database writes, minute by minute."""

    plan: Plan
    minute: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=60))
    hour: deque[int] = field(default_factory=lambda: deque(maxlen=HOUR))
    old: float = 0.0  # messages that the hourly purge has still to remove
    rows: float = 0.0
    logged: float = 0.0

    def note(self, second: int, stored: int, attempts: int) -> None:
        rows = self.plan.written(stored, attempts) + self._purged(second, stored)
        self.minute.append((rows, self.plan.logged(stored, attempts)))
        if second % 10 == 0:
            self.rows = max(self.rows, sum(rows for rows, _ in self.minute) / 60)
            self.logged = max(self.logged, sum(logged for _, logged in self.minute) / 60)

    def _purged(self, second: int, stored: int) -> float:
        """Rows that the purge deletes: as many messages as arrived, since all days are alike."""
        self.hour.append(stored)
        if second % HOUR == 0:
            self.old = float(sum(self.hour))
        gone = min(self.old, self.plan.site.purged)
        self.old -= gone
        return gone * self.plan.costs.purge_rows
