"""What is counted of mail, and how counts are merged. Pure; times are naive UTC.

Each count has a place: what was counted, in which minute or hour, and a name, such as a domain.
The counts of an hour are one document until they are merged: then they are rows of that hour, and
later of their day.
"""

from __future__ import annotations

import json
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
# What the time of a merged count stands for.
HOURS: Final = "hour"
DAYS: Final = "day"

_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - as the database has it, in UTC
_PLACES: Final[Mapping[str, int]] = {
    Status.SENT: 0,
    Status.DEFERRED: 1,
    Status.FAILED: 2,
    Status.HELD: 3,
}
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
    """Where a merged count stands."""

    at: datetime
    span: str


def span_of(what: str, at: datetime, now: datetime) -> Span:
    """Where a count of ``at``, in an hour that is merged, stands ``now``."""
    if at < days_before(what, now):
        return Span(begin_of(DAY, at), DAYS)
    return Span(begin_of(HOUR, at), HOURS)


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

    def of(self, what: str, day: date, found: Mapping[str, int]) -> Mapping[str, int]:
        """``found``, with one sum under OTHER for those for which its day has too many names."""
        known = self._known.setdefault((what, day), set())
        if found.keys() <= known:
            return found
        sums: dict[str, int] = {}
        for name, number in found.items():
            if name not in known and len(known) < MOST:
                known.add(name)
            shown = name if name in known else OTHER
            sums[shown] = sums.get(shown, 0) + number
        return sums


Row = tuple[Any, ...]  # of the table, in the order of its columns
# What was counted and what it came to, such as "kind sent": names, and how many. For TOTAL the name
# is the minute. EXAMPLE: the id of a message for each refusal.
Document = dict[str, dict[Any, Any]]
_EXAMPLE: Final = "example"
encode: Final = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


class Counts:
    """Counts by their hours: what is to be one document, or a part of it."""

    def __init__(self, names: Names) -> None:
        self.hours: dict[datetime, Document] = {}
        self._names = names
        self._last = _EPOCH, _EPOCH  # a time and its hour

    def sent(self, at: datetime, results: Sequence[AttemptResult]) -> None:
        """Count messages that the server has accepted, all at once: so they are counted quickly."""
        claims = [result.claimed for result in results]
        times = [at - (claimed.due_at or claimed.created_at) for claimed in claims]
        buckets = [bucket_of(time.total_seconds()) for time in times]
        domains = [domain_of(to) for result in results for to in result.recipients]
        self._add(at, TOTAL, Status.SENT, {at.minute: len(claims)})
        self._add(at, KIND, Status.SENT, Counter([claimed.kind for claimed in claims]))
        self._add(at, LATENCY, Status.SENT, Counter(buckets))
        self._add(at, DOMAIN, Status.SENT, Counter(domains))

    def message(self, at: datetime, kind: str, status: str, *, made_at: datetime) -> None:
        """Count a message that was made, or was to leave, at ``made_at``."""
        if status == Status.SENT:
            bucket = bucket_of((at - made_at).total_seconds())
            self._add(at, LATENCY, status, {bucket: 1})
        if status in _PLACES:
            self._add(at, TOTAL, status, {at.minute: 1})
            self._add(at, KIND, status, {kind: 1})

    def recipient(self, at: datetime, address: str, status: str) -> None:
        """Count what became of one recipient."""
        if status in _PLACES:
            self._add(at, DOMAIN, status, {domain_of(address): 1})

    def refused(self, at: datetime, said: Iterable[str], message: uuid.UUID) -> None:
        """Count the ``refusals`` that ``message`` met."""
        for text in said:
            status = Status.FAILED if text.startswith("5") else Status.DEFERRED
            (name,) = self._add(at, REFUSAL, status, {text: 1})
            self._hour(at).setdefault(_EXAMPLE, {})[name] = message.hex

    def _add(
        self, at: datetime, what: str, status: str, found: Mapping[Any, int]
    ) -> Mapping[Any, int]:
        """Add what was found; gives it under the names that it has got."""
        if what in NAMED:
            found = self._names.of(what, at.date(), found)
        _sum_up(self._hour(at).setdefault(f"{what} {status}", {}), found)
        return found

    def _hour(self, at: datetime) -> Document:
        if at is not self._last[0]:  # most of a record has the same time
            self._last = at, begin_of(HOUR, at)
        return self.hours.setdefault(self._last[1], {})


def add_to(document: Document, more: Document) -> None:
    """Add to the counts of an hour what else was counted in it."""
    for group, found in more.items():
        names = document.setdefault(group, {})
        if group == _EXAMPLE:
            names.update(found)
        else:
            _sum_up(names, found)


def _sum_up(sums: dict[Any, int], more: Mapping[Any, int]) -> None:
    for name, number in more.items():
        sums[name] = sums.get(name, 0) + number


class GrowingDocument:
    """The document ``id`` of an hour, to be written again and again with a little more in it.

    Only what has changed is put into words anew. Where it has ``notes``, which are documents too,
    each takes a little, and the whole is written when all of them are full.
    """

    def __init__(self, id: uuid.UUID, hour: datetime) -> None:
        self.id = id
        self.hour = hour
        self.notes: Sequence[uuid.UUID] = ()
        self._empty: list[uuid.UUID] = []
        self._noted: Document = {}
        self._counts: Document = {}
        self._words: dict[str, dict[Any, str]] = {}

    def add(self, more: Document) -> str:
        """Add what else was counted in the hour; gives the whole as JSON."""
        add_to(self._counts, more)
        for group, found in more.items():
            names, words = self._counts[group], self._words.setdefault(group, {})
            for name in found:
                value = names[name]  # a number, but for EXAMPLE
                words[name] = f"{encode(str(name))}:{encode(value) if group == _EXAMPLE else value}"
        groups = [f'"{name}":{{{",".join(words.values())}}}' for name, words in self._words.items()]
        return f"{{{','.join(groups)}}}"

    def note(self, more: Document) -> dict[uuid.UUID, str]:
        """Add what else was counted; gives what is to be written, by the id of its document."""
        add_to(self._noted, more)
        if self._empty:
            return {self._empty.pop(): encode(more)}
        noted, self._noted, self._empty = self._noted, {}, [*self.notes]
        return {self.id: self.add(noted), **dict.fromkeys(self.notes, "{}")}


def rows_of(hour: datetime, document: Document) -> Iterator[Row]:
    """The counts of an hour as rows; totals are still by the minute."""
    sums: defaultdict[tuple[str, datetime, str], list[int]] = defaultdict(_ZEROS.copy)
    examples = document.get(_EXAMPLE, {})
    for group, names in document.items():
        what, _, status = group.partition(" ")
        if what == _EXAMPLE:
            continue
        column = _PLACES[status]
        for name, number in names.items():
            if what == TOTAL:
                sums[what, hour + int(name) * MINUTE, ""][column] += number
            else:
                sums[what, hour, str(name)][column] += number
            if what == DOMAIN:
                sums[RECIPIENTS, hour, ""][column] += number
    for place, four in sums.items():
        what, at, name = place
        yield what, at, name, HOURS, *four, examples.get(name) if what == REFUSAL else None


def merged(row: Row, now: datetime) -> Row:
    """``row`` as it stands ``now`` that its hour is merged."""
    what, at, name, _, *numbers = row
    at, span = span_of(what, at, now)
    return (what, at, name, span, *numbers)


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
