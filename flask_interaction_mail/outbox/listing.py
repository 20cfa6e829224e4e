"""The list of the outbox, page by page, at the same cost wherever the page begins.

A filter that an index serves takes one query for each status. A filter that has to scan, such as a
word in a subject, goes from the newest message back in steps, until the page is full or its time is
up. Nothing here writes.
"""

from __future__ import annotations

import heapq
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from ..storage.tables import DELIVERY, MESSAGE, OUTBOX
from ..values import OF_MESSAGES, RecipientVerdict, Status
from .filters import Exact, Filters, Place, newer_than, older_than, place_text
from .queries import LISTED
from .recipients import recipients_of
from .wanted import Conditions, Query, Wanted

PAGE = 50  # messages
STEP = 1000  # messages of the first step
SECONDS = 0.15  # that a search for a word may take, as far as its steps can be foreseen
SECONDS_OF_KIND = 0.02  # the same if only kind or reason have to be compared
_AN_HOUR: Final = 3600.0  # s
MOST: Final = 10_000  # messages that are counted; of more is only known that there are more
_NEWER: Final = 99
_FIRST: Final = uuid.UUID(int=0)
_NEWEST_FIRST: Final = (DELIVERY.c.created_at.desc(), DELIVERY.c.id.desc())
_CHOSEN: Final = (MESSAGE.c.id, DELIVERY.c.created_at)  # what a place in the list is made of


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the list."""

    row: Any
    recipients: tuple[RecipientVerdict, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Rows of the list, newest first; ``older`` is the place of the next page, or "".

    ``searched_to`` (naive UTC) is set if time was up before the page was full. ``exact`` says
    whether the filter was one whole address, one Message-ID, a provider's name for a message, or
    a name and value of metadata.
    """

    rows: Sequence[Any]
    older: str
    searched_to: datetime | None
    exact: Exact


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Lines of the list with their recipients; the rest as in ``Found``."""

    lines: tuple[Line, ...]
    older: str
    searched_to: datetime | None
    exact: Exact

    @property
    def newest(self) -> str:
        """The place of the first line, "" if there is none."""
        row = self.lines[0].row if self.lines else None
        return place_text((row.created_at, row.id)) if row else ""


class Total(NamedTuple):
    """How many messages there are; ``more`` says that there are more than the ``number``."""

    number: int
    more: bool


def _rows(connection: sa.Connection, query: Query, within: Conditions, limit: int) -> Sequence[Any]:
    """The newest rows that match, among those ``within``."""
    matching = sa.select(*query.columns).select_from(OUTBOX).where(*query.sifting, *within)
    newest = matching.order_by(*_NEWEST_FIRST).limit(limit)
    found = [connection.execute(newest.where(*branch)).all() for branch in query.branches]
    return found[0] if len(found) == 1 else _merged(found, limit)


def _end_of_step(
    connection: sa.Connection, query: Query, behind: Conditions, step: int
) -> datetime | None:
    """When the last of the next ``step`` messages was created; None if fewer are left."""
    ends = (
        connection.scalar(
            sa.select(DELIVERY.c.created_at)
            .where(*branch, *behind)
            .order_by(DELIVERY.c.created_at.desc())
            .offset(step)
            .limit(1)
        )
        for branch in query.branches
    )
    return max((end for end in ends if end is not None), default=None)


def _merged(found: Iterable[Sequence[Any]], limit: int) -> list[Any]:
    newest_first = heapq.merge(*found, key=lambda row: (row.created_at, row.id), reverse=True)
    return list(islice(newest_first, limit))


def page(connection: sa.Connection, filters: Filters) -> Page:
    """A page of the list."""
    found = search(connection, filters, LISTED, filters.lines or PAGE)
    recipients = recipients_of(connection, [row.id for row in found.rows])
    return Page(
        lines=tuple(Line(row=row, recipients=recipients.get(row.id, ())) for row in found.rows),
        older=found.older,
        searched_to=found.searched_to,
        exact=found.exact,
    )


def search(
    connection: sa.Connection,
    filters: Filters,
    columns: Sequence[Any] = _CHOSEN,
    size: int = PAGE,
    seconds: float | None = None,
) -> Found:
    """Up to ``size`` rows behind the place of ``filters``, with id and created_at among theirs.

    A search takes about ``seconds`` if it has to scan.
    """
    if seconds is None:
        seconds = SECONDS if filters.q else SECONDS_OF_KIND
    query, exact = _query(connection, filters, columns)
    rows: Sequence[Any]
    if query.sifting:
        rows, reached = _scan(connection, query, filters.place, size + 1, seconds)
    else:
        rows, reached = _rows(connection, query, _behind(filters.place), size + 1), None
    shown, full = rows[:size], len(rows) > size
    end = (shown[-1].created_at, shown[-1].id) if full else reached
    return Found(
        rows=shown,
        older=place_text(end) if end else "",
        searched_to=None if full or reached is None else reached[0],
        exact=exact,
    )


def ids_of(
    connection: sa.Connection, wanted: Wanted, place: Place | None, size: int
) -> tuple[list[uuid.UUID], Place | None]:
    """Up to ``size`` messages behind ``place``, newest first, and the place of what follows.

    It takes as long as it takes.
    """
    query = wanted.query(connection, _CHOSEN)
    rows, _ = _scan(connection, query, place, size, _AN_HOUR)
    last = (rows[-1].created_at, rows[-1].id) if len(rows) == size else None
    return [row.id for row in rows], last


def counts(connection: sa.Connection, filters: Filters) -> Mapping[Status, int] | None:
    """How many messages match by status, whichever status is wanted; each up to ``MOST`` + 1.

    None where that would take a scan.
    """
    query, _ = _query(connection, replace(filters, status=""), _CHOSEN)
    if query.sifting or filters.reason:
        return None
    if query.ids is not None:
        named = dict[str | None, int]()
        for column in (DELIVERY.c.status, DELIVERY.c.returned):
            each = sa.select(column, sa.func.count()).group_by(column).where(*query.narrowing)
            named |= {row[0]: row[1] for row in connection.execute(each)}
        return {status: named.get(status, 0) for status in Status}
    branches = replace(query, statuses=tuple(Status)).branches
    # Of columns that are in the index, so that no row is read.
    wanted = sa.select(DELIVERY.c.created_at)
    limited = (wanted.where(*branch).limit(MOST + 1) for branch in branches)
    counted = (sa.select(sa.func.count()).select_from(one.subquery()) for one in limited)
    row = connection.execute(sa.select(*(one.scalar_subquery() for one in counted))).one()
    return dict(zip(Status, row, strict=True))


def total(counted: Mapping[Status, int], statuses: Sequence[Status] | None) -> Total:
    """How many of those that are ``counted`` have one of ``statuses``; all if that is None."""
    wanted = [counted[status] for status in (OF_MESSAGES if statuses is None else statuses)]
    return Total(sum(min(count, MOST) for count in wanted), any(count > MOST for count in wanted))


def newer(connection: sa.Connection, filters: Filters, place: Place) -> int:
    """How many messages match that are newer than ``place``, up to 99; 0 if that takes a scan."""
    query, _ = _query(connection, filters, _CHOSEN)
    if query.sifting:
        return 0
    return len(_rows(connection, query, [newer_than(place)], _NEWER))


def rows_of(connection: sa.Connection, ids: Sequence[uuid.UUID]) -> Sequence[Any]:
    """What the list shows of the messages ``ids``, as far as they exist; in no order."""
    return connection.execute(
        sa.select(*LISTED).select_from(OUTBOX).where(DELIVERY.c.id.in_(ids))
    ).all()


def _query(
    connection: sa.Connection, filters: Filters, columns: Sequence[Any]
) -> tuple[Query, Exact]:
    *exactly, (_, as_text) = filters.alternatives
    for exact, wanted in exactly:
        query = wanted.query(connection, columns)
        if query.ids is None or query.ids:
            return query, exact
    return as_text.query(connection, columns), ""


def _scan(
    connection: sa.Connection, query: Query, place: Place | None, limit: int, seconds: float
) -> tuple[list[Any], Place | None]:
    """Up to ``limit`` rows, and the place where the scan stopped; None if it was complete."""
    until, step, rows = time.monotonic() + seconds, STEP, list[Any]()
    while True:
        began = time.monotonic()
        behind = _behind(place)
        end = _end_of_step(connection, query, behind, step)
        within = behind if end is None else [*behind, DELIVERY.c.created_at >= end]
        rows += _rows(connection, query, within, limit - len(rows))
        if end is None or len(rows) >= limit:
            return rows, None
        place, now = (end, _FIRST), time.monotonic()
        fits = int(step * (until - now) / max(now - began, 1e-6))
        if fits < STEP:
            return rows, place
        step = min(2 * step, fits)


def _behind(place: Place | None) -> list[sa.ColumnElement[bool]]:
    return [older_than(place)] if place else []
