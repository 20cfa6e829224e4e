"""Counts what comes of mail, in the transaction that says what came of it.

A process writes what it has counted in this hour as one document, in a row of its own: no two
processes write one row. On SQLite a long document has notes beside it. Who purges merges the
documents of past hours into rows by hour, and those later into days. What is counted, and what is
merged when, is in ``counts.py``. Times are naive UTC.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from datetime import date, datetime
from functools import cache
from typing import Any, Final, TypeVar

import sqlalchemy as sa

from ..logs import log
from ..storage.database import in_short, is_away
from ..storage.driver_rows import add_rows, change_rows, takes_rows
from ..storage.json_rows import json_table, rows_parameter
from ..storage.tables import ACTIVITY, DELIVERY, MESSAGE, OUTBOX, RECIPIENT, TALLY
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
    Document,
    GrowingDocument,
    Names,
    Row,
    Sums,
    add_results,
    add_to,
    begin_of,
    days_before,
    encode,
    hours_before,
    rows_of,
)
from .fenced import Overtaken, lock_rows_only

_LOCK: Final = "merging"  # a row that only one process at a time can add to
_LOCKED_AT: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - as the database has it, in UTC
_TOGETHER: Final = 5000  # rows in one statement
_AT_ONCE: Final = 500  # documents in one transaction
_PAGE: Final = 3000  # characters of a document within one page of SQLite, which writes whole ones
_NOTES: Final = 16
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
_INSERT: Final = sa.insert(TALLY)
# Writes a document again, with more in it.
GROW: Final = (
    sa.update(TALLY)
    .where(TALLY.c.id == sa.bindparam("its"), TALLY.c.hour == sa.bindparam("of"))
    .values(counts=sa.bindparam("grown"))
)


class Tally:
    """Counts for one process and relay; each method works in the transaction of the connection.

    Relays have documents of their own: they record at the same time, and would wait for each other
    in a circle.
    """

    def __init__(self) -> None:
        self._names = Names()
        self._day: date | None = None  # of which the names are known
        # The document that is known to be in the database, and the one of an open transaction.
        self._mine: GrowingDocument | None = None
        self._next: GrowingDocument | None = None

    def recorded(
        self, connection: sa.Connection, results: Sequence[AttemptResult], now: datetime
    ) -> None:
        """Count ``results``, which were recorded ``now``, and what ended together with them.

        Call ``committed`` after the commit. Without, the next document is a new one, so that it
        does not matter whether the database has this one.

        Raises:
            Overtaken: nothing is to be committed; begin again.
        """
        counts = self._counts(connection, now)
        add_results(counts, results, now)
        others = [id for result in results for id in result.ended]
        others += [result.claimed.id for result in results if result.waits_for_digest]
        if others:
            _add_done_by_digest(connection, counts, others, now)
        mine, self._mine, self._next = self._mine, None, None
        more = counts.hours.pop(hour := begin_of(HOUR, now), None)
        self._next = _add_more(connection, mine, hour, more) if more else mine
        _insert(connection, counts.hours)  # what was said at the end of the last hour

    def grown(
        self, connection: sa.Connection, results: Sequence[AttemptResult], now: datetime
    ) -> dict[str, object] | None:
        """Give the parameters of ``GROW`` that count ``results``, which all were accepted.

        Call ``committed`` after the commit. None if there is nothing to grow: call ``recorded``.
        """
        mine, hour = self._mine, begin_of(HOUR, now)
        if not mine or mine.hour != hour:
            return None
        self._mine, self._next = None, mine
        counts = self._counts(connection, now)
        add_results(counts, results, now)
        return _grown(mine, counts.hours[hour])

    def committed(self) -> None:
        """Take what was counted last as being in the database."""
        self._mine = self._next

    def held(self, connection: sa.Connection, ids: Sequence[uuid.UUID], now: datetime) -> None:
        """Count the messages ``ids``, which were held when they were to be claimed, if possible."""
        with _if_possible(connection):
            counts = self._counts(connection, now)
            kinds = sa.select(MESSAGE.c.kind).where(MESSAGE.c.id.in_(ids))
            for kind in connection.scalars(kinds):
                counts.message(now, kind, Status.HELD, made_at=now)
            _insert(connection, counts.hours)

    def _counts(self, connection: sa.Connection, now: datetime) -> Counts:
        if (day := now.date()) != self._day:
            begin = begin_of(DAY, now)
            names = [(row[0], row[1]) for row in connection.execute(_DAYS_NAMES, {"day": begin})]
            names += [(row[0], row[2]) for row in not_merged(connection, begin)]
            for what, name in names:
                self._names.add(what, day, [name])
            self._names.forget_before(day - DAY)
            self._day = day
        return Counts(self._names)


def add_failed(connection: sa.Connection, kinds: Iterable[str], now: datetime) -> None:
    """Count messages of these kinds that had failed when they were stored, if possible.

    That is done in the transactions of a host, so each has a document of its own.
    """
    counts = Counts(Names())
    for kind in kinds:
        counts.message(now, kind, Status.FAILED, made_at=now)
    with _if_possible(connection):
        _insert(connection, counts.hours)


def not_merged(connection: sa.Connection, since: datetime) -> list[Row]:
    """What all processes have counted ``since`` an hour and nobody has merged yet.

    It has the form of rows of the table; totals are by the minute.
    """
    query = sa.select(TALLY.c.hour, TALLY.c.counts).where(TALLY.c.hour >= since)
    documents: dict[datetime, Document] = {}
    for hour, counts in connection.execute(query):
        document = documents.setdefault(hour, more := json.loads(counts))
        if document is not more:
            add_to(document, more)
    return [row for hour, document in documents.items() for row in rows_of(hour, document)]


def _add_more(
    connection: sa.Connection, mine: GrowingDocument | None, hour: datetime, more: Document
) -> GrowingDocument:
    """Write ``more`` as a part of the document of this ``hour``, or as a new one."""
    if mine and mine.hour == hour and _grow(connection, mine, more):
        return mine
    new = GrowingDocument(uuid.uuid4(), hour)
    connection.execute(_INSERT, {"id": new.id, "hour": hour, "counts": new.add(more)})
    return new


def _grow(connection: sa.Connection, document: GrowingDocument, more: Document) -> bool:
    """Write ``more`` into ``document``, or one of its notes; gives whether that was still there."""
    if not takes_rows(connection):
        return bool(connection.execute(GROW, _grown(document, more)).rowcount)
    written, hour = document.note(more), document.hour
    changes = [({"counts": counts}, {"id": id, "hour": hour}) for id, counts in written.items()]
    missing = len(changes) - change_rows(connection, TALLY, changes)
    if 0 < missing < len(changes):  # they are being merged, and this would count something twice
        raise Overtaken
    if not missing and not document.notes and len(written[document.id]) > _PAGE:
        document.notes = [uuid.uuid4() for _ in range(_NOTES)]
        rows = [{"id": id, "hour": hour, "counts": "{}"} for id in document.notes]
        add_rows(connection, TALLY, rows)
    return not missing


def _grown(document: GrowingDocument, more: Document) -> dict[str, object]:
    """The parameters of ``GROW`` that add ``more``."""
    return {"its": document.id, "of": document.hour, "grown": document.add(more)}


def _insert(connection: sa.Connection, hours: Mapping[datetime, Document]) -> None:
    """Write new documents."""
    for hour, counts in hours.items():
        new = {"id": uuid.uuid4(), "hour": hour, "counts": encode(counts)}
        connection.execute(_INSERT, new)


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


def merge(database: Transactions, now: datetime) -> None:
    """Merge documents of past hours into rows, and old hours into days; commits after each.

    Two processes may do it at the same time. Who adds to a document meanwhile finds it gone, and
    begins another.
    """
    _merge_documents(database, hours_before(now))
    for what in ALL:
        _merge_hours(database, what, days_before(what, now))


_ITS: Final = TALLY.c.id == sa.bindparam("its")
# One by one: for several, MariaDB may scan the table, and wait for all who count at this moment.
_LOCK_ONE: Final = sa.select(TALLY.c.hour, TALLY.c.counts).where(_ITS).with_for_update()
_DELETE_ONE: Final = sa.delete(TALLY).where(_ITS)


def _merge_documents(database: Transactions, before: datetime) -> None:
    for ids in _parts(_documents(database, before), _AT_ONCE):
        with _alone(database) as connection:
            sums = Sums()
            for id in ids:
                for hour, counts in connection.execute(_LOCK_ONE, {"its": id}):
                    rows = rows_of(hour, json.loads(counts))
                    sums.add((what, begin_of(HOUR, at), *rest) for what, at, *rest in rows)
            _add(connection, sums.rows())
            _delete(connection, ids)


def _documents(database: Transactions, before: datetime) -> Sequence[uuid.UUID]:
    with database.reading() as connection:
        old = sa.select(TALLY.c.id).where(TALLY.c.hour < before).order_by(TALLY.c.id)
        return connection.scalars(old).all()


def _delete(connection: sa.Connection, ids: Sequence[uuid.UUID]) -> None:
    if ids:
        connection.execute(_DELETE_ONE, [{"its": id} for id in ids])


_OLD: Final = ACTIVITY.alias("old")
_INTO: Final = json_table(ACTIVITY.c.at, ACTIVITY.c.span)


def _hours_within(table: sa.FromClause) -> sa.ColumnElement[bool]:
    return sa.and_(
        table.c.what == sa.bindparam("what"),
        table.c.at >= sa.bindparam("begin", type_=ACTIVITY.c.at.type),
        table.c.at < sa.bindparam("end", type_=ACTIVITY.c.at.type),
        table.c.span == HOURS,
    )


_DAY: Final = (
    sa.select(
        _OLD.c.what,
        _INTO.c.at,
        _OLD.c.name,
        _INTO.c.span,
        *(sa.func.sum(_OLD.c[column]) for column in COUNTED),
        sa.func.max(_OLD.c.example),
    )
    .select_from(_OLD.join(_INTO, sa.true()))
    .where(_hours_within(_OLD))
    .group_by(_OLD.c.what, _INTO.c.at, _OLD.c.name, _INTO.c.span)
)


def _merge_hours(database: Transactions, what: str, before: datetime) -> None:
    old = sa.and_(ACTIVITY.c.what == what, ACTIVITY.c.at < before, ACTIVITY.c.span == HOURS)
    found = sa.select(ACTIVITY.c.at).where(old).distinct()
    with database.reading() as connection:
        days = sorted({begin_of(DAY, at) for at in connection.scalars(found)})
    for day in days:
        within = {"what": what, "begin": day, "end": day + DAY}
        with _alone(database) as connection:
            adding = _add_to(connection.dialect.name, _DAY)
            connection.execute(adding, {**within, **rows_parameter([(day, DAYS)])})
            connection.execute(sa.delete(ACTIVITY).where(_hours_within(ACTIVITY)), within)
            if what in NAMED:
                _limit_names(connection, what, day)


@contextmanager
def _alone(database: Transactions) -> Iterator[sa.Connection]:
    """A transaction that begins when no other process merges, or deletes counts."""
    with database.writing() as connection:
        lock_rows_only(connection)
        _add(connection, [(_LOCK, _LOCKED_AT, "", HOURS, 1, 0, 0, 0, None)])
        yield connection


def _limit_names(connection: sa.Connection, what: str, day: datetime) -> None:
    """Keep the most frequent names of a day, and merge the others."""
    of_day = sa.and_(ACTIVITY.c.what == what, ACTIVITY.c.at == day, ACTIVITY.c.span == DAYS)
    rows = connection.execute(sa.select(*ACTIVITY.c).where(of_day, ACTIVITY.c.name != OTHER)).all()
    rest = sorted(rows, key=lambda row: (-sum(row[4:8]), row.name))[MOST:]
    if rest:
        names = [row.name for row in rest]
        connection.execute(sa.delete(ACTIVITY).where(of_day, ACTIVITY.c.name.in_(names)))
        sums = (int(sum(column)) for column in zip(*(row[4:8] for row in rest), strict=True))
        _add(connection, [(what, day, OTHER, DAYS, *sums, None)])


def forget(database: Transactions, before: datetime) -> None:
    """Remove what was counted before that hour; commits."""
    replace(database, before, (), {})


def replace(
    database: Transactions,
    until: datetime,
    rows: Sequence[Row],
    documents: Mapping[datetime, Document],
) -> None:
    """Put these in the place of all that was counted before the hour ``until``; commits."""
    ids = _documents(database, until)
    with _alone(database) as connection:
        for what in ALL:  # by the beginning of the key, which needs no scan
            old = sa.and_(ACTIVITY.c.what == what, ACTIVITY.c.at < until)
            connection.execute(sa.delete(ACTIVITY).where(old))
        _delete(connection, ids)
        for more in _parts(rows, _TOGETHER):
            _add(connection, more)
        _insert(connection, documents)


T = TypeVar("T")


def _parts(whole: Sequence[T], length: int) -> Iterator[Sequence[T]]:
    return (whole[start : start + length] for start in range(0, len(whole), length))
