"""The list of the outbox, page by page, at the same cost wherever the page begins.

A filter that an index serves takes one query. A filter that has to scan, such as a word in a
subject, goes from the newest message back in steps, until the page is full or its time is up.
Nothing here writes.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from ..storage.tables import DELIVERY, MESSAGE, OUTBOX, RECIPIENT
from ..values import RecipientVerdict
from .filters import Filters, Place, older_than, place_text, to_any
from .queries import LISTED
from .recipients import recipients_of

PAGE = 50  # messages
BATCH = 500  # messages of an export that are read at once
STEP = 1000  # messages of the first step
SECONDS = 0.15  # that a search for a word may take, as far as its steps can be foreseen
SECONDS_OF_KIND = 0.02  # the same if only kind or reason have to be compared
_FEW: Final = 1000  # messages to one address, up to which a query names each by its id
_FIRST: Final = uuid.UUID(int=0)
_HEAD: Final = 2048  # bytes of a message, with From among its first fields
_BEGINNING: Final = sa.func.substr(MESSAGE.c.content, 1, _HEAD, type_=sa.LargeBinary())
_NEWEST_FIRST: Final = (DELIVERY.c.created_at.desc(), DELIVERY.c.id.desc())
_EXPORTED: Final = (
    *LISTED,
    DELIVERY.c.finished_at,
    DELIVERY.c.attempts,
    MESSAGE.c.message_id,
    MESSAGE.c.sender,
    # Up to version 0.1 it stood there alone.
    sa.case((MESSAGE.c.sender.is_(None), _BEGINNING)).label("head"),
)
Conditions = Sequence[sa.ColumnElement[bool]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the list."""

    row: Any
    recipients: tuple[RecipientVerdict, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Lines of the list, newest first; ``older`` is the place of the next page, or "".

    ``searched_to`` (naive UTC) is set if time was up before the page was full. ``exact`` is set
    if the filter was one whole address.
    """

    lines: tuple[Line, ...]
    older: str
    searched_to: datetime | None
    exact: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Query:
    """A filter in two parts: what an index serves, and what has to scan; see ``Filters``."""

    columns: Sequence[Any]
    narrowing: Conditions
    sifting: Conditions

    def rows(self, connection: sa.Connection, within: Conditions, limit: int) -> Sequence[Any]:
        """The newest rows that match, among those ``within``."""
        return connection.execute(
            sa.select(*self.columns)
            .select_from(OUTBOX)
            .where(*self.narrowing, *self.sifting, *within)
            .order_by(*_NEWEST_FIRST)
            .limit(limit)
        ).all()

    def end_of_step(self, connection: sa.Connection, behind: Conditions, step: int) -> Any:
        """When the last of the next ``step`` messages was created; None if fewer are left."""
        return connection.scalar(
            sa.select(DELIVERY.c.created_at)
            .where(*self.narrowing, *behind)
            .order_by(DELIVERY.c.created_at.desc())
            .offset(step)
            .limit(1)
        )


def page(connection: sa.Connection, filters: Filters) -> Page:
    """A page of the list."""
    seconds = SECONDS if filters.q else SECONDS_OF_KIND
    return _listing(connection, filters, LISTED, PAGE, seconds)


def export_page(connection: sa.Connection, filters: Filters) -> Page:
    """A page of up to ``BATCH`` lines, with all columns of an export."""
    return _listing(connection, filters, _EXPORTED, BATCH, SECONDS)


def _listing(
    connection: sa.Connection, filters: Filters, columns: Sequence[Any], size: int, seconds: float
) -> Page:
    query, exact = _query(connection, filters, columns)
    rows: Sequence[Any]
    if query.sifting:
        rows, reached = _scan(connection, query, filters.place, size + 1, seconds)
    else:
        rows, reached = query.rows(connection, _behind(filters.place), size + 1), None
    shown, full = rows[:size], len(rows) > size
    recipients = recipients_of(connection, [row.id for row in shown])
    end = (shown[-1].created_at, shown[-1].id) if full else reached
    return Page(
        lines=tuple(Line(row=row, recipients=recipients.get(row.id, ())) for row in shown),
        older=place_text(end) if end else "",
        searched_to=None if full or reached is None else reached[0],
        exact=exact,
    )


def _query(
    connection: sa.Connection, filters: Filters, columns: Sequence[Any]
) -> tuple[_Query, bool]:
    narrowing, sifting = filters.narrowing(), filters.sifting()
    found = _to_address(connection, filters.addresses)
    if not found:
        return _Query(columns=columns, narrowing=narrowing, sifting=sifting), False
    rest = filters.comparing()
    if len(found) <= _FEW:
        named = DELIVERY.c.id.in_(found)
        return _Query(columns=columns, narrowing=[*narrowing, named, *rest], sifting=()), True
    # Messages to this address are so frequent that a scan finds some soon.
    to_it = to_any(RECIPIENT.c.address.in_(filters.addresses))
    return _Query(columns=columns, narrowing=narrowing, sifting=[to_it, *rest]), True


def _to_address(connection: sa.Connection, addresses: Sequence[str]) -> list[uuid.UUID]:
    if not addresses:
        return []
    to_it = sa.select(RECIPIENT.c.message_id).where(RECIPIENT.c.address.in_(addresses))
    return list(dict.fromkeys(connection.scalars(to_it.limit(_FEW + 1))))


def _scan(
    connection: sa.Connection, query: _Query, place: Place | None, limit: int, seconds: float
) -> tuple[list[Any], Place | None]:
    """Up to ``limit`` rows, and the place where the scan stopped; None if it was complete."""
    until, step, rows = time.monotonic() + seconds, STEP, list[Any]()
    while True:
        began = time.monotonic()
        behind = _behind(place)
        end = query.end_of_step(connection, behind, step)
        within = behind if end is None else [*behind, DELIVERY.c.created_at >= end]
        rows += query.rows(connection, within, limit - len(rows))
        if end is None or len(rows) >= limit:
            return rows, None
        place, now = (end, _FIRST), time.monotonic()
        fits = int(step * (until - now) / max(now - began, 1e-6))
        if fits < STEP:
            return rows, place
        step = min(2 * step, fits)


def _behind(place: Place | None) -> list[sa.ColumnElement[bool]]:
    return [older_than(place)] if place else []
