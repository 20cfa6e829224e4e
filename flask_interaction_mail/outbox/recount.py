"""Counts anew what the outbox still knows: for mail from before there were counts, or lost ones.

Attempts say what was deferred and refused, the messages themselves what they came to. Not known
any more are: that a message was held and released since (its attempt counts as deferred), and
that it was to leave later than it was made.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from ..outcome import Result
from ..storage.tables import ATTEMPT, DELIVERY, MESSAGE, OUTBOX, RECIPIENT
from ..storage.transactions import Transactions
from ..values import Reason, Status
from . import tally
from .counts import (
    HOUR,
    Counts,
    Document,
    Names,
    Sums,
    add_to,
    begin_of,
    hours_before,
    merged,
    refusals,
    rows_of,
)
from .recipients import OWN_STATUS

_AT_ONCE: Final = 1000  # messages
# Processes that record at this moment have counted it themselves.
_RECENT: Final = timedelta(minutes=2)
_SOON: Final = timedelta(seconds=50)  # a message is tried again after a minute at the earliest
_ENDED: Final = (Status.SENT, Status.FAILED, Status.HELD)
_NOT_TRIED: Final = (Reason.NOT_CONFIGURED, Reason.UNADDRESSED)

_MESSAGES: Final = (
    sa.select(
        DELIVERY.c.id,
        DELIVERY.c.status,
        DELIVERY.c.reason,
        DELIVERY.c.finished_at,
        DELIVERY.c.server,
        MESSAGE.c.kind,
        MESSAGE.c.created_at,
    )
    .select_from(OUTBOX)
    .order_by(DELIVERY.c.id)
    .limit(_AT_ONCE)
)
_RECIPIENTS: Final = sa.select(
    RECIPIENT.c.message_id, RECIPIENT.c.address, OWN_STATUS.label("status"), RECIPIENT.c.digest_id
).join(DELIVERY, DELIVERY.c.id == RECIPIENT.c.message_id)
_ATTEMPTS: Final = sa.select(ATTEMPT).order_by(ATTEMPT.c.message_id, ATTEMPT.c.number)


def rebuild(database: Transactions, now: datetime) -> int:
    """Replace all counts but those of this hour; gives how many messages were looked at.

    Reads the outbox in short transactions, and commits one that writes.
    """
    until = begin_of(HOUR, now - _RECENT)
    names, sums = Names(), Sums()
    recent: dict[datetime, Document] = {}
    number = 0
    for messages, recipients, attempts in _batches(database):
        number += len(messages)
        counts = Counts(names)
        for message in messages:
            theirs = recipients.get(message.id, ())
            _Story(message, theirs, attempts.get(message.id, ())).count(counts)
        for hour, document in counts.hours.items():
            if hour < hours_before(now):
                sums.add(merged(row, now) for row in rows_of(hour, document))
            elif hour < until:
                add_to(recent.setdefault(hour, {}), document)
    tally.replace(database, until, sums.rows(), recent)
    return number


Rows = dict[uuid.UUID, list[Any]]


def _batches(database: Transactions) -> Iterator[tuple[Sequence[Any], Rows, Rows]]:
    """Messages by their ids, with their recipients and attempts."""
    after = uuid.UUID(int=0)
    while True:
        with database.reading() as connection:
            messages = connection.execute(_MESSAGES.where(DELIVERY.c.id > after)).all()
            if not messages:
                return
            ids = [message.id for message in messages]
            after = ids[-1]
            recipients = connection.execute(_RECIPIENTS.where(RECIPIENT.c.message_id.in_(ids)))
            attempts = connection.execute(_ATTEMPTS.where(ATTEMPT.c.message_id.in_(ids)))
            both = _by_message(recipients), _by_message(attempts)
        yield messages, *both


def _by_message(rows: Iterable[Any]) -> Rows:
    found: Rows = {}
    for row in rows:
        found.setdefault(row.message_id, []).append(row)
    return found


class _Story:
    """What one message went through, from its rows."""

    def __init__(self, message: Any, recipients: Sequence[Any], rows: Sequence[Any]) -> None:
        self._message = message
        self._recipients = recipients
        self._attempts = _attempts(row for row in rows if row.finished_at is not None)

    def count(self, counts: Counts) -> None:
        """Count all of it."""
        message, by_rate = self._message, self._message.reason == Reason.RATE
        made_at = message.created_at
        if by_rate:
            counts.message(made_at, message.kind, Status.HELD, made_at=made_at)
        self._count_attempts(counts)
        if message.status in _ENDED and message.finished_at is not None:
            counts.message(message.finished_at, message.kind, message.status, made_at=made_at)
        if message.reason in _NOT_TRIED:
            return
        at = message.finished_at or (self._attempts[-1].at if self._attempts else made_at)
        for to in self._recipients:
            if to.status in _ENDED and not (by_rate and to.status == Status.HELD):
                counts.recipient(at, to.address, to.status)

    def _count_attempts(self, counts: Counts) -> None:
        message = self._message
        ended = {to.address for to in self._recipients if to.status in _ENDED}
        waiting = {to.address for to in self._recipients if to.digest_id is None}
        for attempt in self._attempts:
            for row, replies in attempt.transactions:
                said = refusals(row.result, row.reply, replies)
                counts.refused(row.finished_at, said, message.id)
                decided = (to for to, reply in replies.items() if reply[:1] in ("2", "5"))
                waiting -= ended.intersection(decided)
            if attempt is not self._attempts[-1] or not self._last_was_final:
                counts.message(attempt.at, message.kind, Status.DEFERRED, made_at=attempt.at)
                for address in waiting:
                    counts.recipient(attempt.at, address, Status.DEFERRED)

    @property
    def _last_was_final(self) -> bool:
        """Whether the message came to what it is now by the last of its attempts with rows."""
        message = self._message
        if message.status == Status.SENT or message.reason == Reason.RATE:
            return message.server is None  # else by one that has no row
        if message.status not in _ENDED or message.finished_at is None:
            return False
        return bool(message.finished_at - self._attempts[-1].at < _SOON)


class _Attempt(NamedTuple):
    """One attempt: its transactions with the server, and the replies to each recipient."""

    transactions: list[tuple[Any, dict[str, str]]]

    @property
    def at(self) -> datetime:
        """When it was over."""
        over: datetime = self.transactions[-1][0].finished_at
        return over


def _attempts(rows: Iterable[Any]) -> list[_Attempt]:
    """Attempts of the transactions in ``rows``: one that accepted some may have gone on."""
    attempts: list[_Attempt] = []
    for row in rows:
        transaction = row, json.loads(row.verdicts)
        if attempts and _goes_on(attempts[-1].transactions[-1][0], row):
            attempts[-1].transactions.append(transaction)
        else:
            attempts.append(_Attempt([transaction]))
    return attempts


def _goes_on(before: Any, row: Any) -> bool:
    soon: bool = row.started_at - before.finished_at < _SOON
    return soon and before.result == Result.ACCEPTED
