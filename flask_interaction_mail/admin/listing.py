"""The list of the outbox, a page at a time, at the same cost wherever the page begins.

What an index answers takes one look. What has to be sifted, such as a word in a subject, is
looked for in steps: from the newest message back, until the page is full or its time is up.
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

from ..outbox import messages
from ..outbox.filters import Filters, Place, older_than, place_text, to_any
from ..outbox.queries import LISTED
from ..storage.tables import MessageRow, RecipientRow
from ..values import RecipientVerdict

PAGE = 50  # messages
BATCH = 500  # messages of an export that are read at once
STEP = 1000  # messages that are sifted at once, to begin with
SECONDS = 0.15  # that a search may take, as far as its steps can be foreseen
SECONDS_OF_KIND = 0.02  # the same where only kind or reason have to be compared
_FEW: Final = 1000  # messages to one address that are named one by one
_FIRST: Final = uuid.UUID(int=0)
_HEAD: Final = 2048  # bytes of a message; From stands among its first fields
_NEWEST_FIRST: Final = (MessageRow.created_at.desc(), MessageRow.id.desc())
_EXPORTED: Final = (
    *LISTED,
    MessageRow.finished_at,
    MessageRow.attempts,
    MessageRow.message_id,
    sa.func.substr(MessageRow.content, 1, _HEAD, type_=sa.LargeBinary()).label("head"),
)
Conditions = Sequence[sa.ColumnElement[bool]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One line of the list."""

    row: Any
    recipients: tuple[RecipientVerdict, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some lines of the list, newest first; ``older`` is the place of the next page, or "".

    ``searched_to`` (naive UTC) is set where time was up before the page was full, ``exact``
    where messages to exactly one address were looked for.
    """

    lines: tuple[Listed, ...]
    older: str
    searched_to: datetime | None
    exact: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Query:
    """What is looked for, in two parts; see ``Filters``."""

    columns: Sequence[Any]
    narrowing: Conditions
    sifting: Conditions

    def rows(self, connection: sa.Connection, within: Conditions, limit: int) -> Sequence[Any]:
        """The newest rows among those ``within``."""
        return connection.execute(
            sa.select(*self.columns)
            .where(*self.narrowing, *self.sifting, *within)
            .order_by(*_NEWEST_FIRST)
            .limit(limit)
        ).all()

    def end_of_step(self, connection: sa.Connection, behind: Conditions, step: int) -> Any:
        """When the last of the next ``step`` messages was created; None if there are fewer."""
        return connection.scalar(
            sa.select(MessageRow.created_at)
            .where(*self.narrowing, *behind)
            .order_by(MessageRow.created_at.desc())
            .offset(step)
            .limit(1)
        )


def page(connection: sa.Connection, filters: Filters) -> Page:
    """A page of the list."""
    seconds = SECONDS if filters.q else SECONDS_OF_KIND
    return _listing(connection, filters, LISTED, PAGE, seconds)


def batch(connection: sa.Connection, filters: Filters) -> Page:
    """A longer page, with what an export says of each message."""
    return _listing(connection, filters, _EXPORTED, BATCH, SECONDS)


def _listing(
    connection: sa.Connection, filters: Filters, columns: Sequence[Any], size: int, seconds: float
) -> Page:
    query, exact = _query(connection, filters, columns)
    rows: Sequence[Any]
    if query.sifting:
        rows, reached = _sifted(connection, query, filters.place, size + 1, seconds)
    else:
        rows, reached = query.rows(connection, _behind(filters.place), size + 1), None
    shown, full = rows[:size], len(rows) > size
    recipients = messages.recipients_of(connection, [row.id for row in shown])
    end = (shown[-1].created_at, shown[-1].id) if full else reached
    return Page(
        lines=tuple(Listed(row=row, recipients=recipients.get(row.id, ())) for row in shown),
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
        named = MessageRow.id.in_(found)
        return _Query(columns=columns, narrowing=[*narrowing, named, *rest], sifting=()), True
    # So many that some of them are found soon.
    to_it = to_any(RecipientRow.address.in_(filters.addresses))
    return _Query(columns=columns, narrowing=narrowing, sifting=[to_it, *rest]), True


def _to_address(connection: sa.Connection, addresses: Sequence[str]) -> list[uuid.UUID]:
    if not addresses:
        return []
    to_it = sa.select(RecipientRow.message_id).where(RecipientRow.address.in_(addresses))
    return list(dict.fromkeys(connection.scalars(to_it.limit(_FEW + 1))))


def _sifted(
    connection: sa.Connection, query: _Query, place: Place | None, limit: int, seconds: float
) -> tuple[list[Any], Place | None]:
    """Rows, at most ``limit``, and the place up to which was looked; None for the end."""
    until, step, rows = time.monotonic() + seconds, STEP, list[Any]()
    while True:
        began = time.monotonic()
        behind = _behind(place)
        end = query.end_of_step(connection, behind, step)
        within = behind if end is None else [*behind, MessageRow.created_at >= end]
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
