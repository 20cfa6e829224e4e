"""Removes old messages and texts, ends what is held in vain, and erases an address.

Each function commits short transactions of its own. It looks for rows in one transaction and
changes them in the next, so that on SQLite every writing transaction begins with its write.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from .. import addresses
from ..errors import AddressError
from ..logs import about, log
from ..messages.intent import PURGED
from ..returned.naming import names, spellings
from ..storage.check_rows import upsert
from ..storage.tables import (
    ATTEMPT,
    CHECK,
    DEAD,
    DELIVERY,
    MESSAGE,
    METADATA,
    OUTBOX,
    RECIPIENT,
    REPORT,
    REVISION,
)
from ..storage.transactions import Transactions
from ..values import ENDED, Reason, Status
from . import digests, mailboxes, tally, tokens
from .fenced import lock_messages, lock_rows_only
from .messages import cancel
from .reports import ERASED

_BATCH: Final = 500  # rows a transaction
_LARGE: Final = 20  # reports that are read at once, each of up to 256 KiB
# Where the last purge of texts stopped, and when one last looked at all: a row of checks.
_TEXTS: Final = uuid.UUID("3f0c1a52-9d0e-4c57-8a43-6f4f3f6e1b90")
_LAST: Final = sa.select(CHECK.c.at, CHECK.c.until).where(CHECK.c.id == _TEXTS)
_DAY: Final = timedelta(days=1)  # after which all is looked at again
_BEGINNING: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - as the database has it, in UTC
_LATE: Final = timedelta(hours=1)  # what ended so long ago has been committed
_WHO: Final = (MESSAGE.c.actor, MESSAGE.c.key, MESSAGE.c.resent_by)
# Where an address may stand: the id of the message, and columns.
_KEPT: Final[Sequence[tuple[sa.Column[Any], Sequence[sa.Column[Any]]]]] = (
    (RECIPIENT.c.message_id, (RECIPIENT.c.address, RECIPIENT.c.reply, RECIPIENT.c.report)),
    (ATTEMPT.c.message_id, (ATTEMPT.c.verdicts, ATTEMPT.c.reply, ATTEMPT.c.diverted_to)),
    (REPORT.c.message_id, (REPORT.c.notes,)),
    (MESSAGE.c.id, (MESSAGE.c.intent, MESSAGE.c.route, MESSAGE.c.subject, MESSAGE.c.sender)),
    (DELIVERY.c.id, (DELIVERY.c.detail, DELIVERY.c.reply)),
)
# The same where hosts may have put it together with something else.
_BUILT: Final[Sequence[tuple[sa.Column[Any], Sequence[sa.Column[Any]]]]] = (
    (METADATA.c.message_id, (METADATA.c.value,)),
    (MESSAGE.c.id, _WHO),
)
# Not behind a letter or digit, but behind escapes of JSON, URLs and mail.
_BEFORE: Final = r"(?:(?<![a-z0-9])|(?<=\\[bfnrt])|(?<=\\u[0-9a-f]{4})|(?<=[%=][0-9a-f]{2}))"


@dataclass(frozen=True, slots=True, kw_only=True)
class Purged:
    """How many bodies, messages, and tests of the settings were removed."""

    bodies: int
    messages: int
    checks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Erased:
    """How many messages and tests an address was removed from, and where it still is."""

    messages: int
    checks: int
    in_flight: int  # messages that are being sent at this moment
    in_settings: bool


def purge(database: Transactions, *, now: datetime, bodies: timedelta, logs: timedelta) -> Purged:
    """Remove the texts of messages that ended ``bodies`` ago, and messages that ended ``logs`` ago.

    What came back about a message goes with it, the text of a report after ``bodies``. Tests of
    the settings and counts go at the age of ``logs``. What is held has not ended: it waits for
    somebody, or for its digest. Commits.
    """
    messages = _delete_messages(database, _finished_before(now - logs))
    texts = _remove_texts(database, now - bodies, now)
    arrived = sa.and_(REPORT.c.received_at < now - bodies, REPORT.c.content.is_not(None))
    with database.writing() as connection:
        connection.execute(sa.update(REPORT).where(arrived).values(content=None))
    in_use = sa.or_(CHECK.c.verdict == "open", CHECK.c.kind == "login")  # an open breaker
    old = sa.and_(CHECK.c.at < now - logs, sa.not_(in_use))
    with database.writing() as connection:
        checks = connection.execute(sa.delete(CHECK).where(old)).rowcount
    with database.writing() as connection:
        tokens.purge(connection, now)
        mailboxes.purge(connection, now)
    # Last, so that nobody's data is kept because counts cannot be merged.
    tally.merge(database, now)
    tally.forget(database, now - logs)
    return Purged(bodies=texts, messages=messages, checks=checks)


def end_digests(database: Transactions, *, now: datetime) -> list[uuid.UUID]:
    """End what is held for a digest that has ended or is gone; gives the ids. Commits.

    A worker of version 0.1 leaves it so when it sends a digest of this version.
    """
    with database.reading() as connection:
        unfinished = digests.unfinished(connection)
    ended: list[uuid.UUID] = []
    for digest, status in unfinished.items():
        text = "digest.unfinished: %s: what was in it is %s now"
        log.error(text, digest, status, extra=about(digest))
        with database.writing() as connection:
            lock_rows_only(connection)
            ended += digests.apply_outcome(connection, digest, status, None, now)
    return ended


def _finished_before(moment: datetime) -> sa.ColumnElement[bool]:
    return sa.and_(
        DELIVERY.c.created_at < moment,  # so it is, and there is an index of it
        DELIVERY.c.finished_at < moment,
        DELIVERY.c.status.in_(ENDED),
    )


def _remove_texts(database: Transactions, until: datetime, now: datetime) -> int:
    """Remove the texts of what ended before ``until``, beginning where the last purge stopped.

    Else each purge would look at all that ended since the log retention. That is done once a day,
    since what ended while a clock was slow seems to have ended before.
    """
    with database.reading() as connection:
        last = connection.execute(_LAST).first()
    # If the clock went wrong then, or texts are to stay longer now, all is looked at again.
    goes_on = last and last.until <= until and now - _DAY < last.at <= now
    since = last.until if last and goes_on else _BEGINNING
    count = sum(_remove_texts_of(database, status, since, until) for status in ENDED)
    with database.writing() as connection:
        upsert(
            connection,
            _TEXTS,
            kind="purge",
            at=last.at if last and goes_on else now,
            by="",
            fingerprint="",
            verdict="known",
            steps="{}",
            until=min(until, now - _LATE),
        )
    return count


def _remove_texts_of(
    database: Transactions, status: Status, since: datetime, until: datetime
) -> int:
    count = 0
    without = sa.update(MESSAGE).values(intent=PURGED, content=None)
    ended = (
        sa.select(DELIVERY.c.id, DELIVERY.c.finished_at)
        .select_from(OUTBOX)
        .where(
            DELIVERY.c.status == status,
            DELIVERY.c.finished_at >= sa.bindparam("since"),
            DELIVERY.c.finished_at < until,
            MESSAGE.c.intent != PURGED,
        )
        .order_by(DELIVERY.c.finished_at)
        .limit(_BATCH)
    )
    while True:
        with database.reading() as connection:
            rows = connection.execute(ended, {"since": since}).all()
        if not rows:
            return count
        with database.writing() as connection:
            ids = [row.id for row in rows]
            count += connection.execute(without.where(MESSAGE.c.id.in_(ids))).rowcount
        since = rows[-1].finished_at


def _delete_messages(database: Transactions, which: sa.ColumnElement[bool]) -> int:
    count = 0
    for ids in _batches(database, which):
        with database.writing() as connection:
            # SQLite follows foreign keys only where the host has told it to.
            for table in (RECIPIENT, ATTEMPT, METADATA, REPORT, DEAD):
                connection.execute(sa.delete(table).where(table.c.message_id.in_(ids)))
            connection.execute(sa.delete(DELIVERY).where(DELIVERY.c.id.in_(ids)))
            count += connection.execute(sa.delete(MESSAGE).where(MESSAGE.c.id.in_(ids))).rowcount
    return count


def _batches(
    database: Transactions, which: sa.ColumnElement[bool]
) -> Iterator[Sequence[uuid.UUID]]:
    """Ids of messages until there are no more; each batch has to be changed before the next."""
    while True:
        with database.reading() as connection:
            ids = connection.scalars(
                sa.select(MESSAGE.c.id).select_from(OUTBOX).where(which).limit(_BATCH)
            ).all()
        if not ids:
            return
        yield ids


def erase(database: Transactions, address: str, *, now: datetime) -> Erased:
    """Remove ``address`` from all messages, with their texts, and from all tests; commits.

    Messages that wait are cancelled first, those that are being sent are left alone. One that is
    in a digest for somebody else loses its text here and not there. That there was a message,
    when, and what became of it stays. Counts stay as well: they know domains and no addresses.

    Raises:
        AddressError: ``address`` is not a full address.
    """
    wanted = _full(address)
    found = _found(database, wanted)
    in_flight = [id for id, status in found.items() if status == Status.SENDING]
    ids = [id for id in found if id not in in_flight]
    for start in range(0, len(ids), _BATCH):
        with database.writing() as connection:
            _erase_messages(connection, ids[start : start + _BATCH], wanted, now)
    _erase_reports(database, wanted)
    with database.writing() as connection:
        which = sa.and_(CHECK.c.kind != "breaker", _mentions(wanted, CHECK.c.steps, CHECK.c.by))
        checks = connection.execute(sa.delete(CHECK).where(which)).rowcount
    return Erased(
        messages=len(ids),
        checks=checks,
        in_flight=len(in_flight),
        in_settings=_in_settings(database, wanted),
    )


def _full(address: str) -> str:
    domain = addresses.domain_of(address.strip())
    cleaned = addresses.clean_email(address, own_domains=(domain.lower(),))
    if addresses.is_short(cleaned):
        raise AddressError(
            f"{addresses.quoted(address)} is only the part before the @: write the whole address."
        )
    return cleaned


def _found(database: Transactions, address: str) -> dict[uuid.UUID, str]:
    """Messages that have ``address`` as a recipient, or anywhere in what was kept; their status."""
    is_it = _pattern(address)
    found = set[uuid.UUID]()
    with database.reading() as connection:
        for id, columns in _BUILT:
            found.update(connection.scalars(sa.select(id).where(_mentions(address, *columns))))
        for id, columns in _KEPT:
            named = sa.select(id, *columns).where(_mentions(address, *columns))
            rows = connection.execute(named.execution_options(yield_per=_BATCH))
            found.update(row[0] for row in rows if any(map(is_it.search, filter(None, row[1:]))))
        ids, status = sorted(found), sa.select(DELIVERY.c.id, DELIVERY.c.status)
        batches = (ids[start : start + _BATCH] for start in range(0, len(ids), _BATCH))
        return {
            row.id: row.status
            for batch in batches
            for row in connection.execute(status.where(DELIVERY.c.id.in_(batch)))
        }


def _pattern(address: str) -> re.Pattern[str]:
    """Finds ``address`` where it is not the end of a longer one, which is somebody else's."""
    texts = "|".join(map(re.escape, _spelled(address)))
    return re.compile(rf"{_BEFORE}(?:{texts})(?![a-z0-9])", re.IGNORECASE)


def _is_recipient(address: str) -> sa.ColumnElement[bool]:
    return sa.func.lower(RECIPIENT.c.address).in_([one.lower() for one in spellings(address)])


def _mentions(address: str, *columns: sa.ColumnElement[Any]) -> sa.ColumnElement[bool]:
    return sa.or_(
        *(
            column.icontains(text, autoescape=True)
            for column in columns
            for text in _spelled(address)
        )
    )


def _spelled(address: str) -> set[str]:
    """JSON texts may spell what is not ASCII with escapes."""
    return {text for one in spellings(address) for text in (one, json.dumps(one)[1:-1])}


def _erase_messages(
    connection: sa.Connection, ids: Sequence[uuid.UUID], address: str, now: datetime
) -> None:
    cancel(connection, ids, Reason.WITHDRAWN, now)
    locked = lock_messages(connection, ids)
    ids = [row.id for row in locked if row.status != Status.SENDING]  # claimed meanwhile
    of_these = RECIPIENT.c.message_id.in_(ids)
    connection.execute(
        sa.update(RECIPIENT)
        .where(of_these, _is_recipient(address))
        .values(address=ERASED, name="", reply=None)
    )
    # A reply about one recipient may well name another.
    connection.execute(sa.update(RECIPIENT).where(of_these).values(reply=None, report=None))
    connection.execute(sa.delete(REPORT).where(REPORT.c.message_id.in_(ids)))
    connection.execute(sa.delete(DEAD).where(DEAD.c.message_id.in_(ids)))
    connection.execute(
        sa.update(ATTEMPT)
        .where(ATTEMPT.c.message_id.in_(ids))
        .values(verdicts="{}", reply=None, diverted_to=None)
    )
    connection.execute(sa.delete(METADATA).where(METADATA.c.message_id.in_(ids)))
    connection.execute(
        sa.update(DELIVERY).where(DELIVERY.c.id.in_(ids)).values(detail=None, reply=None)
    )
    connection.execute(_forget(ids, address))


def _erase_reports(database: Transactions, address: str) -> None:
    """Remove the text of each report that names ``address``, whoever its message was for."""
    columns = (REPORT.c.message_id, REPORT.c.digest)
    last: tuple[uuid.UUID, str] | None = None
    while True:
        kept = sa.select(*columns, REPORT.c.content).where(REPORT.c.content.is_not(None))
        if last:
            kept = kept.where(
                sa.or_(columns[0] > last[0], sa.and_(columns[0] == last[0], columns[1] > last[1]))
            )
        with database.reading() as connection:
            rows = connection.execute(kept.order_by(*columns).limit(_LARGE)).all()
        if not rows:
            return
        last = (rows[-1].message_id, rows[-1].digest)
        for row in rows:
            if names(row.content, address):
                this = sa.and_(columns[0] == row.message_id, columns[1] == row.digest)
                with database.writing() as connection:
                    connection.execute(sa.update(REPORT).where(this).values(content=None))


def _forget(ids: Sequence[uuid.UUID], address: str) -> sa.Update:
    who = {column: sa.case((_mentions(address, column), None), else_=column) for column in _WHO}
    return (
        sa.update(MESSAGE)
        .where(MESSAGE.c.id.in_(ids))
        .values(who)
        .values(intent=PURGED, content=None, route="[]", subject=f"({ERASED})", sender=None)
    )


def _in_settings(database: Transactions, address: str) -> bool:
    fields = REVISION.c.fields
    with database.reading() as connection:
        query = sa.select(sa.literal(1)).where(_mentions(address, fields)).limit(1)
        return connection.scalar(query) is not None
