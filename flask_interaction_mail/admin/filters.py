"""What the list of the outbox is narrowed to, and how that stands in its URL."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

import sqlalchemy as sa

from ..models import MessageRow, RecipientRow
from ..values import Reason, Status

_LONGEST = 320  # characters; nothing that can be found is longer
_STATUSES = frozenset(status.value for status in Status)
_REASONS = frozenset(reason.value for reason in Reason)
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

    def conditions(self) -> list[sa.ColumnElement[bool]]:
        """The same in SQL."""
        found: list[sa.ColumnElement[bool]] = []
        if self.q:
            found.append(_mentions(self.q))
        if self.status in _STATUSES:
            found.append(MessageRow.status == self.status)
        if self.reason in _REASONS:
            found.append(MessageRow.reason == self.reason)
        if self.kind:
            found.append(MessageRow.kind == self.kind)
        if since := _day(self.since):
            found.append(MessageRow.created_at >= since)
        if until := _day(self.until):
            found.append(MessageRow.created_at < until + timedelta(days=1))
        if place := place_from(self.before):
            found.append(_older_than(place))
        return found


def place_text(place: Place) -> str:
    """A place in the list as a word for a URL."""
    return f"{place[0].isoformat()}_{place[1].hex}"


def place_from(text: str) -> Place | None:
    """The place that ``place_text`` wrote; None for anything else."""
    instant, _, id = text.partition("_")
    try:
        found = datetime.fromisoformat(instant), uuid.UUID(id)
    except ValueError:
        return None
    return found if found[0].tzinfo is None else None


def _mentions(words: str) -> sa.ColumnElement[bool]:
    recipient = sa.exists().where(
        RecipientRow.message_id == MessageRow.id,
        sa.or_(
            RecipientRow.address.icontains(words, autoescape=True),
            RecipientRow.name.icontains(words, autoescape=True),
        ),
    )
    return sa.or_(MessageRow.subject.icontains(words, autoescape=True), recipient)


def _older_than(place: Place) -> sa.ColumnElement[bool]:
    # Written out: row values are not in every SQLite and lose MariaDB its index.
    instant, id = place
    return sa.or_(
        MessageRow.created_at < instant,
        sa.and_(MessageRow.created_at == instant, MessageRow.id < id),
    )


def _day(text: str) -> datetime | None:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    if not 1970 <= day.year <= 9998:
        return None
    return datetime.combine(day, time(), UTC).replace(tzinfo=None)
