"""The filters of the outbox's list: in its URL, and in SQL."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Final

import sqlalchemy as sa

from .. import addresses, clock
from ..errors import AddressError
from ..storage.tables import DELIVERY, MESSAGE, RECIPIENT
from ..values import RETURNED, UNDERWAY, Reason, Status

_LONGEST: Final = 320  # characters; nothing that can be found is longer
WAITING: Final = "waiting"  # in place of a status: nothing final has become of it yet
SIZES: Final = (25, 50, 100)  # lines of a page
_STATUSES: Final[Mapping[str, tuple[Status, ...]]] = {
    WAITING: UNDERWAY,
    **{status.value: (status,) for status in Status},
}
_REASONS: Final = frozenset(reason.value for reason in Reason)
_WHOLE: Final = re.compile(r"[^\s@<>\"]+@[^\s@<>\"]+")
_MESSAGE_ID: Final = re.compile(r"(<)?([^\s<>]+@[^\s<>]+)(?(1)>)")
_STATUS_OF: Final = {  # not of "rate": what was held for that keeps it when its digest has left
    Reason.AMBIGUOUS: Status.HELD,
    Reason.POISON: Status.HELD,
    Reason.INELIGIBLE: Status.SUPPRESSED,
    Reason.TESTING: Status.SUPPRESSED,
    Reason.REFUSED: Status.FAILED,
    Reason.EXPIRED: Status.FAILED,
    Reason.NOT_CONFIGURED: Status.FAILED,
    Reason.UNADDRESSED: Status.FAILED,
    Reason.MERGED: Status.CANCELLED,
    Reason.WITHDRAWN: Status.CANCELLED,
}
Place = tuple[datetime, uuid.UUID]


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """The filters of the list, as typed; what cannot be understood filters nothing.

    ``since`` and ``until`` are days in ``zone``, both included; without a zone that is known they
    are days in UTC. ``before`` names the last message of the page that was left for the next one,
    whose first line has the number ``at``.
    """

    q: str = ""
    status: str = ""  # of a Status, or WAITING
    reason: str = ""
    kind: str = ""
    since: str = ""
    until: str = ""
    zone: str = ""
    anywhere: str = ""  # a whole address is looked for in subjects and parts of addresses, too
    size: str = ""
    before: str = ""
    at: str = ""

    @classmethod
    def of(cls, args: Mapping[str, str]) -> Filters:
        """The filters in the arguments of a URL."""
        return cls(
            **{
                name: str(args.get(name, "")).replace("\0", "").strip()[:_LONGEST]
                for name in cls.__slots__
            }
        )

    @property
    def active(self) -> bool:
        """Whether the list is narrowed."""
        return bool(self.q or self.status or self.folded)

    @property
    def folded(self) -> bool:
        """Whether one of the filters narrows that stand below the search line."""
        return any((self.reason, self.kind, self.since, self.until))

    def arguments(self, **changes: str) -> dict[str, str]:
        """The arguments of a URL with these filters; empty ones are left out."""
        named = {name: getattr(self, name) for name in self.__slots__} | changes
        if not (named["since"] or named["until"]):
            del named["zone"]
        return {name: value for name, value in named.items() if value}

    @property
    def lines(self) -> int | None:
        """How many lines a page has; None for as many as it has by itself."""
        return next((size for size in SIZES if str(size) == self.size), None)

    @property
    def first(self) -> int:
        """The number of the page's first line."""
        known = self.place and self.at.isascii() and self.at.isdigit() and len(self.at) < 10
        return max(int(self.at), 1) if known else 1

    @property
    def addresses(self) -> tuple[str, ...]:
        """The spellings of the whole address that is searched for; () if it is something else."""
        if self.anywhere or not _WHOLE.fullmatch(self.q):
            return ()
        local, _, domain = self.q.rpartition("@")
        found = {self.q, self.q.lower(), f"{local}@{domain.lower()}"}
        with suppress(AddressError):  # what is not right can still have been stored
            found.add(addresses.clean_email(self.q, own_domains=(addresses.clean_domain(domain),)))
        return tuple(sorted(found))

    @property
    def message_id(self) -> str | None:
        """The Message-ID that is searched for, with or without its brackets."""
        found = None if self.anywhere else _MESSAGE_ID.fullmatch(self.q)
        return f"<{found[2]}>" if found else None

    @property
    def place(self) -> Place | None:
        """Where the page begins; None for the newest message."""
        return place_from(self.before)

    @property
    def statuses(self) -> tuple[Status, ...] | None:
        """The statuses that match; None for all of them, () where two filters exclude each other.

        Each of them has an index by itself.
        """
        wanted = _STATUSES.get(self.status)
        if self.reason not in _STATUS_OF:
            return wanted
        of_reason = _STATUS_OF[Reason(self.reason)]
        return (of_reason,) if wanted is None or of_reason in wanted else ()

    @property
    def problems(self) -> tuple[str, ...]:
        """What makes no sense: words for which the page has sentences."""
        days = _day(self.since), _day(self.until)
        found = {
            "status": bool(self.status) and self.status not in _STATUSES,
            "reason": bool(self.reason) and self.reason not in _REASONS,
            "apart": self.statuses == (),
            "since": bool(self.since) and days[0] is None,
            "until": bool(self.until) and days[1] is None,
            "order": None not in days and days[0] > days[1],  # type: ignore[operator]
        }
        return tuple(word for word, is_so in found.items() if is_so)

    def narrowing(self) -> list[sa.ColumnElement[bool]]:
        """What an index answers, in SQL; without the place and the statuses."""
        found: list[sa.ColumnElement[bool]] = []
        zone = clock.zone_named(self.zone) or UTC
        if self.reason in _STATUS_OF:
            found.append(DELIVERY.c.reason == self.reason)
        if since := _day(self.since):
            found.append(DELIVERY.c.created_at >= _midnight(since, zone))
        if until := _day(self.until):
            found.append(DELIVERY.c.created_at < _midnight(until + timedelta(days=1), zone))
        return found

    def comparing(self) -> list[sa.ColumnElement[bool]]:
        """What has to be compared in each message, in SQL; no index answers it."""
        found: list[sa.ColumnElement[bool]] = []
        if self.reason in _REASONS and self.reason not in _STATUS_OF:
            found.append(DELIVERY.c.reason == self.reason)
        if self.kind:
            found.append(MESSAGE.c.kind == self.kind)
        return found

    def sifting(self) -> list[sa.ColumnElement[bool]]:
        """What has to be searched for in each message, in SQL."""
        found: list[sa.ColumnElement[bool]] = []
        if self.q:
            found.append(_mentions(self.q))
        return [*found, *self.comparing()]


def place_text(place: Place) -> str:
    """A place in the list as a word for a URL."""
    return f"{place[0].isoformat()}_{place[1].hex}"


def place_from(text: str) -> Place | None:
    """The place that ``place_text`` wrote; None for anything else."""
    instant, _, id = text.partition("_")
    at = clock.from_text(instant)
    with suppress(ValueError):
        return None if at is None else (at, uuid.UUID(id))
    return None


def in_status(status: Status) -> sa.ColumnElement[bool]:
    """Messages of this status; of those that came back, the ones whose worst report says so."""
    return (DELIVERY.c.returned if status in RETURNED else DELIVERY.c.status) == status


def to_any(*conditions: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    """Messages of which some recipient fulfils ``conditions``, looked at one by one.

    Not EXISTS: for that PostgreSQL reads the recipients of all messages, however few are asked for.
    """
    of_message = RECIPIENT.c.message_id == DELIVERY.c.id
    fitting = sa.select(sa.func.count()).select_from(RECIPIENT).where(of_message, *conditions)
    return fitting.correlate(DELIVERY).scalar_subquery() > 0


def _mentions(words: str) -> sa.ColumnElement[bool]:
    recipient = to_any(
        sa.or_(
            RECIPIENT.c.address.icontains(words, autoescape=True),
            RECIPIENT.c.name.icontains(words, autoescape=True),
        )
    )
    return sa.or_(MESSAGE.c.subject.icontains(words, autoescape=True), recipient)


def older_than(place: Place) -> sa.ColumnElement[bool]:
    """The messages behind ``place``: the first comparison alone leads into the index."""
    instant, id = place
    return sa.and_(
        DELIVERY.c.created_at <= instant,
        sa.or_(DELIVERY.c.created_at < instant, DELIVERY.c.id < id),
    )


def newer_than(place: Place) -> sa.ColumnElement[bool]:
    """The messages before ``place`` in the list; the first comparison leads into the index."""
    instant, id = place
    return sa.and_(
        DELIVERY.c.created_at >= instant,
        sa.or_(DELIVERY.c.created_at > instant, DELIVERY.c.id > id),
    )


def _day(text: str) -> date | None:
    with suppress(ValueError):
        day = date.fromisoformat(text)
        return day if 1970 <= day.year <= 9998 else None
    return None


def _midnight(day: date, zone: tzinfo) -> datetime:
    return clock.to_db(datetime.combine(day, time(), zone))
