"""Counts what comes of mail, in the transaction that says what came of it.

A process adds to rows of its own for this minute and hour, so that no two processes write one row.
Who purges merges them later, into hours and then into days. What is counted, and what is merged
when, is in ``counts.py``. Times are naive UTC.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import date, datetime, timedelta
from functools import cache
from typing import Any, Final

import sqlalchemy as sa

from ..logs import log
from ..storage.database import in_short, is_away
from ..storage.json_rows import json_table, rows_parameter
from ..storage.tables import ACTIVITY, DELIVERY, MESSAGE, OUTBOX, RECIPIENT
from ..storage.transactions import Transactions
from ..values import Status
from .claimed import AttemptResult
from .counts import (
    ALL,
    COUNTED,
    DAY,
    DAYS,
    HOUR,
    HOURS,
    MOST,
    NAMED,
    OTHER,
    Counts,
    Names,
    Row,
    add_results,
    begin_of,
    days_before,
    hours_before,
)
from .fenced import lock_rows_only

_LOCK: Final = "merging"  # a row that only one process at a time can add to
_LOCKED_AT: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - as the database has it, in UTC
_TOGETHER: Final = 5000  # rows in one statement
_COLUMNS: Final = [column.key for column in ACTIVITY.c]
_GIVEN: Final = json_table(*ACTIVITY.c)
# Without a condition SQLite takes ON CONFLICT for that of a join.
_GIVEN_ROWS: Final = sa.select(_GIVEN).where(sa.true())
_DAYS_NAMES: Final = (
    sa.select(ACTIVITY.c.what, ACTIVITY.c.name)
    .where(
        sa.or_(*(ACTIVITY.c.what == what for what in NAMED)),
        ACTIVITY.c.at >= sa.bindparam("day", type_=ACTIVITY.c.at.type),
    )
    .distinct()
)


class Tally(threading.local):
    """Counts for one process. Every method works in the transaction of the given connection.

    Each thread has rows of its own: those of several relays record at the same time, and would wait
    for each other in a circle.
    """

    def __init__(self) -> None:
        self._names = Names()
        self._day: date | None = None  # of which the names are known
        # A claim and a record may be under way at the same time.
        self._recorder, self._claimer = uuid.uuid4().hex, uuid.uuid4().hex

    def recorded(
        self, connection: sa.Connection, results: Sequence[AttemptResult], now: datetime
    ) -> None:
        """Count ``results``, which were recorded ``now``, and what ended together with them."""
        counts = self._counts(connection, now)
        add_results(counts, results, now)
        others = [id for result in results for id in result.ended]
        others += [result.claimed.id for result in results if result.waits_for_digest]
        if others:
            _add_done_by_digest(connection, counts, others, now)
        _add(connection, counts.rows(self._recorder))

    def held(self, connection: sa.Connection, ids: Sequence[uuid.UUID], now: datetime) -> None:
        """Count the messages ``ids``, which were held when they were to be claimed, if possible."""
        with _if_possible(connection):
            counts = self._counts(connection, now)
            kinds = sa.select(MESSAGE.c.kind).where(MESSAGE.c.id.in_(ids))
            for kind in connection.scalars(kinds):
                counts.message(now, kind, Status.HELD, made_at=now)
            _add(connection, counts.rows(self._claimer))

    def _counts(self, connection: sa.Connection, now: datetime) -> Counts:
        if (day := now.date()) != self._day:
            for what, name in connection.execute(_DAYS_NAMES, {"day": begin_of(DAY, now)}):
                self._names.add(what, day, [name])
            self._names.forget_before(day - DAY)
            self._day = day
        return Counts(self._names)


def add_failed(connection: sa.Connection, kinds: Iterable[str], now: datetime) -> None:
    """Count messages of these kinds that had failed when they were stored, if possible.

    That is done in the transactions of a host, so each has rows of its own.
    """
    counts = Counts(Names())
    for kind in kinds:
        counts.message(now, kind, Status.FAILED, made_at=now)
    with _if_possible(connection):
        _add(connection, counts.rows(uuid.uuid4()))


@contextmanager
def _if_possible(connection: sa.Connection) -> Iterator[None]:
    """Where the database refuses counts, the transaction goes on without them.

    While it is away, or too busy, all of the transaction fails.
    """
    # A statement that fails ends the whole transaction on PostgreSQL alone.
    may_end = connection.dialect.name == "postgresql"
    try:
        with connection.begin_nested() if may_end else nullcontext():
            yield
    except sa.exc.SQLAlchemyError as error:
        if is_away(error):
            raise
        uncounted(error)


def uncounted(error: Exception) -> None:
    """Write into the log that the database refused counts, and why."""
    log.error(
        "activity.uncounted: %s; later: flask interaction-mail activity rebuild", in_short(error)
    )


def _add_done_by_digest(
    connection: sa.Connection, counts: Counts, ids: Sequence[uuid.UUID], now: datetime
) -> None:
    """Count those of the messages ``ids`` that are done, as far as they were in digests."""
    done = sa.and_(DELIVERY.c.id.in_(ids), DELIVERY.c.status.in_((Status.SENT, Status.FAILED)))
    messages = sa.select(DELIVERY.c.status, MESSAGE.c.kind, MESSAGE.c.created_at)
    for status, kind, made_at in connection.execute(messages.select_from(OUTBOX).where(done)):
        counts.message(now, kind, status, made_at=made_at)
    theirs = (
        sa.select(RECIPIENT.c.address, RECIPIENT.c.status)
        .join(DELIVERY, DELIVERY.c.id == RECIPIENT.c.message_id)
        .where(done, RECIPIENT.c.digest_id.is_not(None))
    )
    for address, status in connection.execute(theirs):
        counts.recipient(now, address, status)


def _add(connection: sa.Connection, rows: Sequence[Row]) -> None:
    """Add ``rows`` to what is there."""
    if rows:
        statement = _adding(connection.dialect.name)
        connection.execute(statement, rows_parameter(rows))


@cache
def _adding(dialect: str) -> Any:
    return _add_to(dialect, _GIVEN_ROWS)


def _add_to(dialect: str, rows: sa.Select[Any]) -> Any:
    """The statement that adds ``rows`` to those with the same key, or inserts them."""
    # Of the dialects only the one in use is imported, as each takes up to 20 ms.
    match dialect:
        case "mysql" | "mariadb":
            from sqlalchemy.dialects import mysql

            adding = mysql.insert(ACTIVITY).from_select(_COLUMNS, rows)
            return adding.on_duplicate_key_update(_sums(adding.inserted))
        case "postgresql":
            from sqlalchemy.dialects import postgresql

            into = postgresql.insert(ACTIVITY).from_select(_COLUMNS, rows)
            return into.on_conflict_do_update(
                index_elements=[*ACTIVITY.primary_key], set_=_sums(into.excluded)
            )
        case _:
            from sqlalchemy.dialects import sqlite

            put = sqlite.insert(ACTIVITY).from_select(_COLUMNS, rows)
            return put.on_conflict_do_update(
                index_elements=[*ACTIVITY.primary_key], set_=_sums(put.excluded)
            )


def _sums(new: Any) -> dict[str, sa.ColumnElement[Any]]:
    sums = {name: ACTIVITY.c[name] + new[name] for name in COUNTED}
    return {**sums, "example": sa.func.coalesce(new.example, ACTIVITY.c.example)}


# -- merging -----------------------------------------------------------------------------

Which = Callable[[sa.FromClause], sa.ColumnElement[bool]]

_OLD: Final = ACTIVITY.alias("old")
_INTO: Final = json_table(ACTIVITY.c.at, ACTIVITY.c.writer)


def _unmerged(table: sa.FromClause) -> sa.ColumnElement[bool]:
    return table.c.writer.not_in((HOURS, DAYS))


def _hours(table: sa.FromClause) -> sa.ColumnElement[bool]:
    return table.c.writer == HOURS


def _within(table: sa.FromClause) -> sa.ColumnElement[bool]:
    return sa.and_(
        table.c.what == sa.bindparam("what"),
        table.c.at >= sa.bindparam("begin", type_=ACTIVITY.c.at.type),
        table.c.at < sa.bindparam("end", type_=ACTIVITY.c.at.type),
    )


def _merged(which: Which) -> sa.Select[Any]:
    """The sums of those rows, as rows of the span that is the parameter."""
    return (
        sa.select(
            _OLD.c.what,
            _INTO.c.at,
            _OLD.c.name,
            _INTO.c.writer,
            *(sa.func.sum(_OLD.c[column]) for column in COUNTED),
            sa.func.max(_OLD.c.example),
        )
        .select_from(_OLD.join(_INTO, sa.true()))
        .where(_within(_OLD), which(_OLD))
        .group_by(_OLD.c.what, _INTO.c.at, _OLD.c.name, _INTO.c.writer)
    )


def merge(database: Transactions, now: datetime) -> None:
    """Merge what processes have counted into hours, and old hours into days; commits after each.

    Two processes may do it at the same time. Nobody adds to hours that are merged: they ended an
    hour ago.
    """
    for what in ALL:
        _merge(database, what, _unmerged, hours_before(now), HOUR, HOURS)
        _merge(database, what, _hours, days_before(what, now), DAY, DAYS)


def _merge(
    database: Transactions,
    what: str,
    which: Which,
    before: datetime,
    step: timedelta,
    writer: uuid.UUID,
) -> None:
    old = sa.and_(ACTIVITY.c.what == what, ACTIVITY.c.at < before, which(ACTIVITY))
    found = sa.select(ACTIVITY.c.at).where(old).distinct()
    with database.reading() as connection:
        spans = sorted({begin_of(step, at) for at in connection.scalars(found)})
    for begin in spans:
        within = {"what": what, "begin": begin, "end": begin + step}
        with _alone(database) as connection:
            adding = _add_to(connection.dialect.name, _merged(which))
            connection.execute(adding, {**within, **rows_parameter([(begin, writer)])})
            done = sa.delete(ACTIVITY).where(_within(ACTIVITY), which(ACTIVITY))
            connection.execute(done, within)
            if writer == DAYS and what in NAMED:
                _limit_names(connection, what, begin)


@contextmanager
def _alone(database: Transactions) -> Iterator[sa.Connection]:
    """A transaction that begins when no other process merges, or deletes counts."""
    with database.writing() as connection:
        lock_rows_only(connection)
        _add(connection, [(_LOCK, _LOCKED_AT, "", HOURS, 1, 0, 0, 0, None)])
        yield connection


def _limit_names(connection: sa.Connection, what: str, day: datetime) -> None:
    """Keep the most frequent names of a day, and merge the others."""
    of_day = sa.and_(ACTIVITY.c.what == what, ACTIVITY.c.at == day, ACTIVITY.c.writer == DAYS)
    rows = connection.execute(sa.select(*ACTIVITY.c).where(of_day, ACTIVITY.c.name != OTHER)).all()
    rest = sorted(rows, key=lambda row: (-sum(row[4:8]), row.name))[MOST:]
    if rest:
        names = [row.name for row in rest]
        connection.execute(sa.delete(ACTIVITY).where(of_day, ACTIVITY.c.name.in_(names)))
        sums = (int(sum(column)) for column in zip(*(row[4:8] for row in rest), strict=True))
        _add(connection, [(what, day, OTHER, DAYS, *sums, None)])


def forget(database: Transactions, before: datetime) -> None:
    """Remove what was counted before that time; commits."""
    with _alone(database) as connection:
        _delete_before(connection, before)


def replace(database: Transactions, until: datetime, rows: Sequence[Row]) -> None:
    """Put ``rows`` in the place of all that was counted before ``until``; commits."""
    with _alone(database) as connection:
        _delete_before(connection, until)
        for start in range(0, len(rows), _TOGETHER):
            _add(connection, rows[start : start + _TOGETHER])


def _delete_before(connection: sa.Connection, end: datetime) -> None:
    """Delete by the beginning of the key: a scan would wait for all who count at this moment."""
    for what in ALL:
        old = sa.and_(ACTIVITY.c.what == what, ACTIVITY.c.at < end)
        connection.execute(sa.delete(ACTIVITY).where(old))
