"""How much mail left within an hour, a day, a week or a month, how fast, and what was in the way.

It is read from counts, merged or not, and from the ends of indexes, so that it costs the same
however long the outbox is. Nothing here writes. Times are naive UTC.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from .. import clock
from ..language import recalled
from ..outbox.counts import (
    COUNTED,
    DAY,
    DOMAIN,
    HOUR,
    KIND,
    LATENCY,
    MINUTE,
    OTHER,
    RECIPIENTS,
    REFUSAL,
    TOTAL,
    Row,
    begin_of,
    quantile,
)
from ..outbox.tally import not_merged
from ..state import State
from ..storage.json_rows import json_table, rows_parameter
from ..storage.tables import ACTIVITY, CHECK, DELIVERY, MESSAGE
from ..text import counted
from ..values import UNDERWAY

SHOWN: Final = 20  # kinds and domains; what is left is shown as one
REFUSALS: Final = 10
EXAMPLES: Final = 3  # messages that met a refusal
EVENTS: Final = 50
MOST_WAITING: Final = 10_000  # more are not counted
_OF_RATE: Final = timedelta(minutes=10)
_EVENTS: Final = ("breaker", "probe", "test")


class Period(NamedTuple):
    """A time up to now, which begins with a whole minute, hour or day, and its steps."""

    name: str
    length: timedelta
    step: timedelta
    whole: timedelta

    def begin(self, now: datetime) -> datetime:
        """When it began."""
        return begin_of(self.whole, now) + self.whole - self.length


PERIODS: Final = {
    period.name: period
    for period in (
        Period("hour", HOUR, MINUTE, MINUTE),
        Period("day", DAY, HOUR, HOUR),
        Period("week", 7 * DAY, 6 * HOUR, DAY),
        Period("month", 30 * DAY, DAY, DAY),
    )
}
USUAL: Final = "day"


class Sums(NamedTuple):
    """How many came to what."""

    sent: int = 0
    deferred: int = 0
    failed: int = 0
    held: int = 0

    def plus(self, other: Sums) -> Sums:
        """The sum of both."""
        return Sums(
            self.sent + other.sent,
            self.deferred + other.deferred,
            self.failed + other.failed,
            self.held + other.held,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What servers said, how often, and ids and subjects of messages that met it."""

    text: str
    deferred: int
    failed: int
    examples: Sequence[tuple[uuid.UUID, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A trouble of the server, a probe or a test; ``why`` is empty where nothing is to be said.

    It is in the reader's language where it is always the same.
    """

    at: datetime
    kind: str  # breaker, probe, test
    verdict: str  # open, closed; a word of ``Outcome``
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """What the page shows.

    ``steps`` are the parts of the period, oldest first, each with its beginning. ``median`` and
    ``most`` are the seconds within which half and 95 % of the mail was accepted, None without any.
    Times, kinds, domains and refusals are those ``since`` a whole hour, which is earlier where the
    period is an hour. ``rate`` is in messages a minute. ``waiting`` is at most one more than
    ``MOST_WAITING``.
    """

    period: Period
    since: datetime
    steps: Sequence[tuple[datetime, Sums]]
    total: Sums
    median: float | None
    most: float | None
    rate: float
    waiting: int
    kinds: Sequence[tuple[str, Sums]]
    domains: Sequence[tuple[str, Sums]]
    refusals: Sequence[Refusal]
    events: Sequence[Event]

    @property
    def shown_waiting(self) -> str:
        """The number as it is shown."""
        return counted(self.waiting, MOST_WAITING)


def activity(state: State, name: str) -> Activity:
    """The activity within the period ``name``, or a day if there is none of this name."""
    now = clock.now()
    period = PERIODS.get(name, PERIODS[USUAL])
    since = begin_of(HOUR, period.begin(now))
    with state.database.reading() as connection:
        counts = _Counts(connection, since)
        totals = counts.by(_COUNTED.c.at, TOTAL)
        recipients = counts.by(_COUNTED.c.at, RECIPIENTS)
        latency = counts.by(_COUNTED.c.name, LATENCY)
        buckets = {int(number): sums.sent for number, sums in latency.items()}
        steps = _steps(period, totals, now)
        return Activity(
            period=period,
            since=since,
            steps=steps,
            total=_total(sums for _, sums in steps),
            median=quantile(buckets, 0.5),
            most=quantile(buckets, 0.95),
            rate=_per_minute(totals, now),
            waiting=_waiting(connection),
            kinds=_most_frequent(counts, KIND, _total(totals.values())),
            domains=_most_frequent(counts, DOMAIN, _total(recipients.values())),
            refusals=_refusals(counts),
            events=_events(connection, since),
        )


_COLUMNS: Final = [ACTIVITY.c[name] for name in ("at", "name", *COUNTED, "example")]
_NOT_MERGED: Final = json_table(*_COLUMNS)
# All counts of one thing since a time.
_COUNTED: Final = sa.union_all(
    sa.select(*_COLUMNS).where(
        ACTIVITY.c.what == sa.bindparam("what"),
        ACTIVITY.c.at >= sa.bindparam("since", type_=ACTIVITY.c.at.type),
    ),
    sa.select(_NOT_MERGED),
).subquery("counted")
_ALL_SUMS: Final = [sa.func.sum(_COUNTED.c[name]).label(name) for name in COUNTED]
_EACH: Final = _COUNTED.c.sent + _COUNTED.c.deferred + _COUNTED.c.failed + _COUNTED.c.held
_NUMBER: Final = sa.func.sum(_EACH)


class _Counts:
    """What was counted since a whole hour."""

    def __init__(self, connection: sa.Connection, since: datetime) -> None:
        self.connection = connection
        self._since = since
        self._new: dict[str, list[Row]] = {}
        for what, at, name, _, *rest in not_merged(connection, since):
            self._new.setdefault(what, []).append((at, name, *rest))

    def of(self, what: str, query: sa.Select[Any]) -> Sequence[Any]:
        """The answer to a ``query`` of _COUNTED, where that is about ``what``."""
        new = rows_parameter(self._new.get(what, ()))
        return self.connection.execute(query, {"what": what, "since": self._since, **new}).all()

    def by(self, column: sa.ColumnElement[Any], what: str) -> dict[Any, Sums]:
        """The sums for each value of ``column``."""
        found = self.of(what, sa.select(column, *_ALL_SUMS).group_by(column))
        return {row[0]: Sums(*map(int, row[1:])) for row in found}

    def most_frequent(self, what: str, number: int) -> Sequence[Any]:
        """The names that were counted most often, without OTHER, and their sums."""
        return self.of(
            what,
            sa.select(_COUNTED.c.name, *_ALL_SUMS)
            .where(_COUNTED.c.name != OTHER)
            .group_by(_COUNTED.c.name)
            .order_by(_NUMBER.desc(), _COUNTED.c.name)
            .limit(number),
        )


def _total(parts: Iterable[Sums]) -> Sums:
    total = Sums()
    for part in parts:
        total = total.plus(part)
    return total


def _steps(
    period: Period, minutes: Mapping[datetime, Sums], now: datetime
) -> list[tuple[datetime, Sums]]:
    at, sums = period.begin(now), dict[datetime, Sums]()
    while at <= now:
        sums[at] = Sums()
        at += period.step
    for minute, more in minutes.items():
        begin = begin_of(period.step, minute)
        if begin in sums:  # the clock of another machine may be ahead
            sums[begin] = sums[begin].plus(more)
    return [*sums.items()]


def _per_minute(totals: Mapping[datetime, Sums], now: datetime) -> float:
    """How many were sent a minute, in the last whole minutes, which nobody merges yet."""
    ended = begin_of(MINUTE, now)
    recent = (sums.sent for at, sums in totals.items() if ended - _OF_RATE <= at < ended)
    return sum(recent) / (_OF_RATE / MINUTE)


def _waiting(connection: sa.Connection) -> int:
    each = [
        sa.select(DELIVERY.c.status).where(DELIVERY.c.status == status).limit(MOST_WAITING + 1)
        for status in UNDERWAY
    ]
    counts = (sa.select(sa.func.count()).select_from(some.subquery()) for some in each)
    found = connection.execute(sa.select(*(count.scalar_subquery() for count in counts))).one()
    return min(sum(found), MOST_WAITING + 1)


def _most_frequent(counts: _Counts, what: str, whole: Sums) -> list[tuple[str, Sums]]:
    """The most frequent names, and what is left of the ``whole`` as OTHER, if anything is."""
    found = [(row[0], Sums(*map(int, row[1:]))) for row in counts.most_frequent(what, SHOWN)]
    shown = _total(sums for _, sums in found)
    # A process may have counted more in between.
    rest = Sums(*(max(0, each - some) for each, some in zip(whole, shown, strict=True)))
    return [*found, (OTHER, rest)] if any(rest) else found


def _refusals(counts: _Counts) -> list[Refusal]:
    found = counts.most_frequent(REFUSAL, REFUSALS)
    examples = _examples(counts, [row.name for row in found])
    return [
        Refusal(
            text=row.name,
            deferred=int(row.deferred),
            failed=int(row.failed),
            examples=examples.get(row.name, ()),
        )
        for row in found
    ]


def _examples(counts: _Counts, texts: Sequence[str]) -> dict[str, list[tuple[uuid.UUID, str]]]:
    """For each refusal the last messages that met it and are still there."""
    if not texts:
        return {}
    newest = (
        sa.select(_COUNTED.c.name, _COUNTED.c.example)
        .where(_COUNTED.c.name.in_(texts))
        .order_by(_COUNTED.c.at.desc())
        .limit(len(texts) * 10)
    )
    ids: dict[str, list[uuid.UUID]] = {}
    for text, example in counts.of(REFUSAL, newest):
        theirs = ids.setdefault(text, [])
        if example and (id := uuid.UUID(example)) not in theirs and len(theirs) < EXAMPLES:
            theirs.append(id)
    wanted = [id for theirs in ids.values() for id in theirs]
    named = sa.select(MESSAGE.c.id, MESSAGE.c.subject).where(MESSAGE.c.id.in_(wanted))
    subjects = {row.id: row.subject for row in counts.connection.execute(named)}
    return {
        text: [(id, subjects[id]) for id in theirs if id in subjects]
        for text, theirs in ids.items()
    }


def _events(connection: sa.Connection, begin: datetime) -> list[Event]:
    """Troubles of servers, probes and tests, newest first."""
    found = (
        sa.select(CHECK.c.at, CHECK.c.kind, CHECK.c.verdict, CHECK.c.steps)
        .where(CHECK.c.kind.in_(_EVENTS), CHECK.c.at >= begin, CHECK.c.verdict != "none")
        .order_by(CHECK.c.at.desc())
        .limit(EVENTS)
    )
    return [
        Event(at=row.at, kind=row.kind, verdict=row.verdict, why=recalled(_why(row.steps)))
        for row in connection.execute(found)
    ]


def _why(steps: str) -> str:
    told = json.loads(steps)
    return str(told.get("why") or "") if isinstance(told, dict) else ""
