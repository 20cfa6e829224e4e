"""The filters of the outbox's list, as they stand in its URL, and its places."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Any, Final, Literal

import sqlalchemy as sa

from .. import addresses, clock
from ..storage.tables import DELIVERY
from ..values import UNDERWAY, Reason, Status
from .wanted import Wanted

_LONGEST: Final = 320  # characters; nothing that can be found is longer
WAITING: Final = "waiting"  # in place of a status: nothing final has become of it yet
SIZES: Final = (25, 50, 100)  # lines of a page
_STATUSES: Final[Mapping[str, tuple[Status, ...]]] = {
    WAITING: UNDERWAY,
    **{status.value: (status,) for status in Status},
}
_REASONS: Final = frozenset(reason.value for reason in Reason)
_MESSAGE_ID: Final = re.compile(r"(<)?([^\s<>]+@[^\s<>]+)(?(1)>)")
_NAME: Final = re.compile(r"[\x21-\x7e]{8,255}")  # that a provider gives a message
# With it as a Message-ID, Amazon SES replaces the one that a message had.
_OF_SES: Final = re.compile(r"<?([\w-]+)@(?:[\w-]+\.)?amazonses\.com>?")
Place = tuple[datetime, uuid.UUID]
Exact = Literal["", "address", "message_id", "metadata", "provider_id"]


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
    relay: str = ""
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
        return any((self.reason, self.kind, self.relay, self.since, self.until))

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
        return () if self.anywhere else addresses.spellings(self.q)

    @property
    def message_id(self) -> str | None:
        """The Message-ID that is searched for, with or without its brackets."""
        found = None if self.anywhere else _MESSAGE_ID.fullmatch(self.q)
        return f"<{found[2]}>" if found else None

    @property
    def provider_id(self) -> str | None:
        """The provider's name for a message, if it can be that which is searched for."""
        found = _OF_SES.fullmatch(self.q)
        name = found[1] if found else self.q
        return name if not self.anywhere and _NAME.fullmatch(name) else None

    @property
    def metadata(self) -> Mapping[str, str]:
        """The name and value that are searched for, written as ``name=value``."""
        name, sign, value = self.q.partition("=")
        return {name: value} if sign and name and value and not self.anywhere else {}

    @property
    def place(self) -> Place | None:
        """Where the page begins; None for the newest message."""
        return place_from(self.before)

    @property
    def statuses(self) -> tuple[Status, ...] | None:
        """The statuses that match; None for all, () where two filters exclude each other."""
        return self._wanted().possible

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

    @property
    def alternatives(self) -> list[tuple[Exact, Wanted]]:
        """What may be meant, the most exact first; what finds nothing was not meant.

        The last one looks for ``q`` as a text.
        """
        found: list[tuple[Exact, Wanted]] = []
        if self.message_id is not None:
            found.append(("message_id", self._wanted(message_id=self.message_id)))
        if self.provider_id is not None:
            found.append(("provider_id", self._wanted(provider_id=self.provider_id)))
        if self.metadata:
            found.append(("metadata", self._wanted(metadata=self.metadata)))
        if self.addresses:
            found.append(("address", self._wanted(addresses=self.addresses)))
        return [*found, ("", self._wanted(text=self.q))]

    def _wanted(self, **found: Any) -> Wanted:
        zone = clock.zone_named(self.zone) or UTC
        since, until = _day(self.since), _day(self.until)
        return Wanted(
            statuses=_STATUSES.get(self.status),
            reason=self.reason if self.reason in _REASONS else "",
            kind=self.kind,
            relay=self.relay,
            since=_midnight(since, zone) if since else None,
            until=_midnight(until + timedelta(days=1), zone) if until else None,
            **found,
        )


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
