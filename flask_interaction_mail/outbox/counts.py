"""What is counted of mail, and how counts are merged. Pure; times are naive UTC.

Each count has a place: what was counted, in which minute or hour, and a name, such as a domain.
Later the counts of an hour become one, and then those of a day.
"""

from __future__ import annotations

import math
import re
import uuid
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from itertools import accumulate
from typing import Any, Final, NamedTuple

from ..outcome import Result
from ..values import Status
from .claimed import AttemptResult

# What is counted. Plain words, because they are part of a key that is made for each message.
TOTAL: Final = "total"  # messages, by the minute; the name is empty. All others by the hour
KIND: Final = "kind"  # messages, by their kind
DOMAIN: Final = "domain"  # recipients, by the domain of their address
RECIPIENTS: Final = "recipients"  # all of them; the name is empty
LATENCY: Final = "latency"  # messages that were sent, by the number of their bucket
REFUSAL: Final = "refusal"  # attempts, by what the server said: "not now" deferred, "no" failed
ALL: Final = (TOTAL, KIND, DOMAIN, RECIPIENTS, LATENCY, REFUSAL)
NAMED: Final = (KIND, DOMAIN, REFUSAL)  # whose names strangers choose
MOST: Final = 200  # names of each of them in a day
OTHER: Final = ""  # the name of all others

MINUTE: Final = timedelta(minutes=1)
HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(days=1)
_MINUTES_KEPT: Final = timedelta(hours=1)
_HOURS_KEPT: Final = timedelta(days=1)
_HOURS_OF_TOTALS_KEPT: Final = timedelta(days=8)  # for the chart of a week
# Who writes merged counts, instead of a process.
HOURS: Final = uuid.UUID(int=1)
DAYS: Final = uuid.UUID(int=2)

_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - as the database has it, in UTC
_PLACES: Final[Mapping[str, int]] = {
    Status.SENT: 0,
    Status.DEFERRED: 1,
    Status.FAILED: 2,
    Status.HELD: 3,
}
_SENT: Final = 0
_ZEROS: Final = [0] * len(_PLACES)
COUNTED: Final = tuple(map(str, _PLACES))  # the columns, in their order


def begin_of(step: timedelta, at: datetime) -> datetime:
    """When the minute, hour or day began in which ``at`` lies."""
    return at - (at - _EPOCH) % step


def hours_before(now: datetime) -> datetime:
    """The end of those hours whose counts are merged; it was an hour ago, or more."""
    return begin_of(HOUR, now - _MINUTES_KEPT)


def days_before(what: str, now: datetime) -> datetime:
    """The end of those hours that are merged into days."""
    return begin_of(DAY, now - (_HOURS_OF_TOTALS_KEPT if what == TOTAL else _HOURS_KEPT))


class Span(NamedTuple):
    """Where a count stands; ``writer`` is None until it is merged."""

    at: datetime
    writer: uuid.UUID | None


def span_of(what: str, at: datetime, now: datetime) -> Span:
    """Where a count of the minute or hour ``at`` stands ``now``."""
    if at < days_before(what, now):
        return Span(begin_of(DAY, at), DAYS)
    if at < hours_before(now):
        return Span(begin_of(HOUR, at), HOURS)
    return Span(at, None)


# -- times until a message was accepted ------------------------------------------------------

_FIRST: Final = 0.001  # s
_RATIO: Final = 1.2  # the middle of a bucket is at most 9.6 % away from what is in it
# The upper bounds of the buckets, in seconds, up to three months. What is above is in a last one.
BOUNDS: Final[tuple[float, ...]] = tuple(
    accumulate([_FIRST, *[_RATIO] * 124], lambda bound, ratio: bound * ratio)
)


def bucket_of(seconds: float) -> int:
    """The number of the bucket for a time."""
    return bisect_right(BOUNDS, seconds)


def quantile(buckets: Mapping[int, int], share: float) -> float | None:
    """The time in seconds within which ``share`` of all were; None if there were none.

    It is at most 10 % off, for times from a millisecond up to three months.
    """
    wanted = share * sum(buckets.values())
    seen = 0
    for number in sorted(buckets):
        seen += buckets[number]
        if seen and seen >= wanted:
            return _middle(number)
    return None


def _middle(number: int) -> float:
    if number == 0:
        return _FIRST
    return BOUNDS[number - 1] * (1.0 if number == len(BOUNDS) else math.sqrt(_RATIO))


# -- what servers say ------------------------------------------------------------------------

_BLANK: Final = "..."  # plain, as some databases have few letters
_CODES: Final = re.compile(r"[245]\d\d(?:[ -][245]\.\d{1,3}\.\d{1,3})?(?=\s|$)")
_ADDRESS: Final = re.compile(r"\S*@\S*")
# Numbers of a queue, addresses of machines and the like: another one in each reply.
_OF_ITS_OWN: Final = re.compile(r"(?=\S{5})[\w.:\[\]()=-]*\d[\w.:\[\]()=-]*")
_SHORTEST: Final = 3  # characters of a mailbox's name that is looked for by itself
_LONGEST: Final = 255


def in_common(reply: str, address: str = "") -> str:
    """``reply`` without what is different for each message; it names nobody.

    ``address`` is the recipient whom it is about, whose name may stand there without a domain.
    """
    plain = " ".join(reply.split())
    codes = found[0] if (found := _CODES.match(plain)) else ""
    words = _ADDRESS.sub(_BLANK, plain[len(codes) :])
    if len(mailbox := address.rpartition("@")[0]) >= _SHORTEST:
        alone = rf"(?<!\w){re.escape(mailbox)}(?!\w)"
        words = re.sub(alone, _BLANK, words, flags=re.IGNORECASE)
    return (codes + _OF_ITS_OWN.sub(_BLANK, words))[:_LONGEST]


def refusals(result: str, reply: str | None, replies: Mapping[str, str]) -> set[str]:
    """The different refusals in one attempt, each with what it has in common with others."""
    refused = {in_common(text, to) for to, text in replies.items() if text[:1] in ("4", "5")}
    if not refused and reply and result != Result.ACCEPTED:
        refused = {in_common(reply)}
    return refused


def domain_of(address: str) -> str:
    """The domain of ``address``, which is all that is kept of it."""
    return address.rpartition("@")[2].lower()[:_LONGEST]


# -- counting --------------------------------------------------------------------------------


class Names:
    """The names that were counted on each day, so that a day has few."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, date], set[str]] = {}

    def add(self, what: str, day: date, names: Iterable[str]) -> None:
        """Know that these were counted."""
        self._known.setdefault((what, day), set()).update(names)

    def forget_before(self, day: date) -> None:
        """Forget the days before ``day``."""
        known = self._known.copy()  # at once, as another thread may add to it
        self._known = {place: names for place, names in known.items() if place[1] >= day}

    def of(self, what: str, at: datetime, name: str) -> str:
        """``name``, or OTHER if its day has enough other names."""
        known = self._known.setdefault((what, at.date()), set())
        if name not in known:
            if len(known) >= MOST:
                return OTHER
            known.add(name)
        return name


Place = tuple[str, datetime, str]  # what, the minute or hour, the name
Row = tuple[Any, ...]  # of the table, in the order of its columns


class Counts:
    """Events, summed up by their places."""

    def __init__(self, names: Names) -> None:
        self._names = names
        # What, the minute or hour, the name or the number of a bucket, the column. Each message
        # is several events, so that all else is done once for all of them: see ``_sums``.
        self._events: defaultdict[tuple[str, datetime, str | int, int], int] = defaultdict(int)
        self._examples: dict[tuple[datetime, str], str] = {}
        self._last = _EPOCH, _EPOCH, _EPOCH  # a time, its minute and its hour

    def sent(self, at: datetime, results: Sequence[AttemptResult]) -> None:
        """Count messages that the server has accepted, all at once: so they are counted quickly."""
        _, minute, hour = self._times(at)
        claims = [result.claimed for result in results]
        times = (at - (claimed.due_at or claimed.created_at) for claimed in claims)
        everybody = (to for result in results for to in result.recipients)
        for what, names in (
            (KIND, Counter([claimed.kind for claimed in claims])),
            (LATENCY, Counter([bucket_of(time.total_seconds()) for time in times])),
            (DOMAIN, Counter([to.rpartition("@")[2] for to in everybody])),
        ):
            for name, number in names.items():
                key = domain_of(str(name)) if what == DOMAIN else name
                self._events[what, hour, key, _SENT] += number
        self._events[TOTAL, minute, "", _SENT] += len(results)

    def message(self, at: datetime, kind: str, status: str, *, made_at: datetime) -> None:
        """Count a message that was made, or was to leave, at ``made_at``."""
        _, minute, hour = self._times(at)
        if (column := _column(status)) == _SENT:
            bucket = bucket_of((at - made_at).total_seconds())
            self._events[LATENCY, hour, bucket, column] += 1
        if column is not None:
            self._events[TOTAL, minute, "", column] += 1
            self._events[KIND, hour, kind, column] += 1

    def recipient(self, at: datetime, address: str, status: str) -> None:
        """Count what became of one recipient."""
        if (column := _column(status)) is not None:
            self._events[DOMAIN, self._times(at)[2], domain_of(address), column] += 1

    def refused(self, at: datetime, said: Iterable[str], message: uuid.UUID) -> None:
        """Count the ``refusals`` that ``message`` met."""
        _, _, hour = self._times(at)
        for text in said:
            status = Status.FAILED if text.startswith("5") else Status.DEFERRED
            self._events[REFUSAL, hour, text, _PLACES[status]] += 1
            self._examples[hour, text] = message.hex

    def rows(self, writer: uuid.UUID | str) -> list[Row]:
        """A row for each place, in the order of the table's columns and of its key.

        ``writer`` may be in hexadecimal digits, as it will be.
        """
        sums, examples = self._sums()
        return [(*place, writer, *sums[place], examples.get(place)) for place in sorted(sums)]

    def merged(self, now: datetime, writer: uuid.UUID, until: datetime) -> Iterator[Row]:
        """Those from before the hour ``until`` as they stand ``now``, the old ones merged."""
        sums, examples = self._sums()
        for place in sums:
            what, begin, name = place
            if begin < until:
                at, merged = span_of(what, begin, now)
                yield (what, at, name, merged or writer, *sums[place], examples.get(place))

    def _times(self, at: datetime) -> tuple[datetime, datetime, datetime]:
        if at is not self._last[0]:  # most of a record has the same time
            self._last = at, begin_of(MINUTE, at), begin_of(HOUR, at)
        return self._last

    def _sums(self) -> tuple[dict[Place, list[int]], dict[Place, str]]:
        """The columns of each place, and an example of each refusal."""
        sums: defaultdict[Place, list[int]] = defaultdict(_ZEROS.copy)
        examples: dict[Place, str] = {}
        for (what, at, key, column), number in self._events.items():
            name = str(key)
            if what in NAMED:
                name = self._names.of(what, at, name)
            sums[what, at, name][column] += number
            if what == DOMAIN:
                sums[RECIPIENTS, at, ""][column] += number
            if what == REFUSAL:
                examples[what, at, name] = self._examples[at, str(key)]
        return sums, examples


def _column(status: str) -> int | None:
    """The place of its column, None for one that is not counted; mostly it is the first."""
    return _SENT if status is Status.SENT else _PLACES.get(status)


class Sums:
    """Rows of the table, summed up by its key."""

    def __init__(self) -> None:
        self._sums: dict[Row, list[int]] = {}
        self._examples: dict[Row, object] = {}

    def add(self, rows: Iterable[Row]) -> None:
        """Add ``rows``; of their examples the last one stays."""
        for *place, sent, deferred, failed, held, example in rows:
            key, new = tuple(place), (sent, deferred, failed, held)
            sums = self._sums.setdefault(key, [*_ZEROS])
            self._sums[key] = [had + int(more) for had, more in zip(sums, new, strict=True)]
            self._examples[key] = example or self._examples.get(key)

    def rows(self) -> list[Row]:
        """The sums."""
        return [(*key, *sums, self._examples[key]) for key, sums in self._sums.items()]


def add_results(counts: Counts, results: Iterable[AttemptResult], now: datetime) -> None:
    """Count what was recorded ``now`` of attempts.

    What was deferred, and what a server refused, belongs to the time when it was said. A
    message that waits for its digest alone is counted when that is done.
    """
    sent = []
    for result in results:
        if result.status is Status.SENT:
            sent.append(result)
        else:
            _add_result(counts, result, now)
    if sent:
        counts.sent(now, sent)


def _add_result(counts: Counts, result: AttemptResult, now: datetime) -> None:
    claimed, attempt, status = result.claimed, result.attempt, result.status
    at = now if attempt is None or status is not Status.DEFERRED else attempt.finished_at
    goes_on = result.rest is not None
    if not (goes_on or result.waits_for_digest):
        counts.message(at, claimed.kind, status, made_at=claimed.created_at)
    for address, (its_own, _) in result.recipients.items():
        if not (goes_on and its_own is Status.DEFERRED):  # they are so at the end of the attempt
            counts.recipient(at, address, its_own)
    if attempt is not None:
        said = refusals(attempt.result, attempt.reply, attempt.replies)
        counts.refused(attempt.finished_at, said, claimed.id)
