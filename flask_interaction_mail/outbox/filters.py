"""The filters of the outbox's list: in its URL, and in SQL."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

import sqlalchemy as sa

from .. import addresses, clock
from ..errors import AddressError
from ..storage.tables import DELIVERY, MESSAGE, RECIPIENT
from ..values import Reason, Status

_LONGEST = 320  # characters; nothing that can be found is longer
_STATUSES = frozenset(status.value for status in Status)
_REASONS = frozenset(reason.value for reason in Reason)
_WHOLE = re.compile(r"[^\s@<>\"]+@[^\s@<>\"]+")
_STATUS_OF = {  # not of "rate": what was held for that keeps it when its digest has left
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

    ``since`` and ``until`` are days in UTC, both included. ``before`` names the last message
    of the page that was left for the next one.
    """

    q: str = ""
    status: str = ""
    reason: str = ""
    kind: str = ""
    since: str = ""
    until: str = ""
    anywhere: str = ""  # a whole address is looked for in subjects and parts of addresses, too
    before: str = ""

    @classmethod
    def of(cls, args: Mapping[str, str]) -> Filters:
        """The filters in the arguments of a URL."""
        return cls(
            **{
                name: args.get(name, "").replace("\0", "").strip()[:_LONGEST]
                for name in cls.__slots__
            }
        )

    @property
    def active(self) -> bool:
        """Whether the list is narrowed."""
        return any((self.q, self.status, self.reason, self.kind, self.since, self.until))

    def arguments(self, **changes: str) -> dict[str, str]:
        """The arguments of a URL with these filters; empty ones are left out."""
        named = {name: getattr(self, name) for name in self.__slots__} | changes
        return {name: value for name, value in named.items() if value}

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
    def place(self) -> Place | None:
        """Where the page begins; None for the newest message."""
        return place_from(self.before)

    def narrowing(self) -> list[sa.ColumnElement[bool]]:
        """What an index answers, in SQL; without the place."""
        found: list[sa.ColumnElement[bool]] = []
        if self.reason in _STATUS_OF:
            found.append(DELIVERY.c.reason == self.reason)
            found.append(DELIVERY.c.status == _STATUS_OF[Reason(self.reason)])  # has an index
        if self.status in _STATUSES:
            found.append(DELIVERY.c.status == self.status)
        if since := _day(self.since):
            found.append(DELIVERY.c.created_at >= since)
        if until := _day(self.until):
            found.append(DELIVERY.c.created_at < until + timedelta(days=1))
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


def _day(text: str) -> datetime | None:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    if not 1970 <= day.year <= 9998:
        return None
    return datetime.combine(day, time(), UTC).replace(tzinfo=None)
