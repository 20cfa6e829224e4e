"""Which messages somebody wants to see, in SQL: the list, the export, commands, the host's code."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from ..storage.tables import DELIVERY, MESSAGE, METADATA, OUTBOX, RECIPIENT
from ..values import RETURNED, Reason, Status
from .messages import NAMED_BY_PROVIDER

Conditions = Sequence[sa.ColumnElement[bool]]

_FEW: Final = 1000  # messages up to which a query names each by its id
_STATUS_OF: Final[Mapping[str, Status]] = {
    # Not of "rate": what was held for that keeps it when its digest has left.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A search in parts: statuses, what else an index answers, and what is compared in each row.

    ``ids`` names the messages that are searched if they are few, None for all of them.
    """

    columns: Sequence[Any]
    statuses: Sequence[Status] | None
    narrowing: Conditions
    sifting: Conditions
    ids: Sequence[uuid.UUID] | None = None

    def among(self, ids: Sequence[uuid.UUID]) -> Query:
        """The same search among those few."""
        narrowing = [*self.narrowing, DELIVERY.c.id.in_(ids)]
        if self.sifting:
            of_message = sa.select(MESSAGE.c.id).where(MESSAGE.c.id == DELIVERY.c.id)
            narrowing.append(of_message.where(*self.sifting).correlate(DELIVERY).exists())
        return replace(self, narrowing=narrowing, sifting=(), ids=ids)

    @property
    def branches(self) -> list[Conditions]:
        """What narrows: for each status by itself, so that the index gives them in order."""
        if self.statuses is None:
            return [self.narrowing]
        return [[in_status(status), *self.narrowing] for status in self.statuses]

    def count(self, connection: sa.Connection) -> int:
        """How many messages match."""
        if self.statuses == ():
            return 0
        matching = sa.select(sa.func.count()).select_from(OUTBOX if self.sifting else DELIVERY)
        if self.statuses is not None:
            matching = matching.where(sa.or_(*map(in_status, self.statuses)))
        return connection.scalar(matching.where(*self.narrowing, *self.sifting)) or 0


def in_status(status: Status) -> sa.ColumnElement[bool]:
    """Messages of this status; of those that came back, the ones whose worst report says so."""
    return (DELIVERY.c.returned if status in RETURNED else DELIVERY.c.status) == status


class _Mark(NamedTuple):
    """Something that few messages have: what finds their ids, and the condition for one."""

    bearers: sa.Select[Any]
    condition: sa.ColumnElement[bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the messages have in common; what is empty does not narrow. Instants are naive UTC.

    ``statuses`` are alternatives; with () nothing matches. ``addresses`` are spellings of one
    recipient's, all of ``metadata`` has to be there. ``text`` is looked for in the subject and in
    names and addresses of recipients. ``since`` is included, ``until`` is not.
    """

    statuses: tuple[Status, ...] | None = None
    reason: str = ""
    kind: str = ""
    relay: str = ""
    text: str = ""
    addresses: tuple[str, ...] = ()
    message_id: str | None = None
    provider_id: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    since: datetime | None = None
    until: datetime | None = None

    @property
    def possible(self) -> tuple[Status, ...] | None:
        """The statuses that match; () where those that are wanted never have the reason.

        Each of them has an index by itself.
        """
        of_reason = _STATUS_OF.get(self.reason)
        if of_reason is None:
            return self.statuses
        return (of_reason,) if self.statuses is None or of_reason in self.statuses else ()

    def query(self, connection: sa.Connection, columns: Sequence[Any] = ()) -> Query:
        """How to find ``columns`` of them on ``connection``."""
        marks = self._marks()
        query = Query(
            columns=columns,
            statuses=self.possible,
            narrowing=self._narrowing(),
            sifting=[*(mark.condition for mark in marks), *self._comparing()],
        )
        for mark in marks:
            ids = [*dict.fromkeys(connection.scalars(mark.bearers.limit(_FEW + 1)))]
            if len(ids) <= _FEW:
                return query.among(ids)
        return query

    def _narrowing(self) -> Conditions:
        found: list[sa.ColumnElement[bool]] = []
        if self.reason in _STATUS_OF:
            found.append(DELIVERY.c.reason == self.reason)
        if self.since is not None:
            found.append(DELIVERY.c.created_at >= self.since)
        if self.until is not None:
            found.append(DELIVERY.c.created_at < self.until)
        return found

    def _comparing(self) -> Conditions:
        found: list[sa.ColumnElement[bool]] = []
        if self.text:
            found.append(_mentions(self.text))
        if self.reason and self.reason not in _STATUS_OF:
            found.append(DELIVERY.c.reason == self.reason)
        if self.kind:
            found.append(MESSAGE.c.kind == self.kind)
        if self.relay:
            found.append(DELIVERY.c.relay == self.relay)
        return found

    def _marks(self) -> list[_Mark]:
        found = []
        if self.message_id is not None:
            is_it = MESSAGE.c.message_id == self.message_id
            found.append(_Mark(sa.select(MESSAGE.c.id).where(is_it), is_it))
        if self.provider_id is not None:
            named = (
                sa.select(id).where(name == self.provider_id) for id, name in NAMED_BY_PROVIDER
            )
            bearers = sa.select(sa.union(*named).subquery().c.id)
            found.append(_Mark(bearers, DELIVERY.c.id.in_(bearers)))
        for name, value in self.metadata.items():
            bearers = sa.select(METADATA.c.message_id).where(
                METADATA.c.name == name, METADATA.c.value == value
            )
            of_message = bearers.where(METADATA.c.message_id == DELIVERY.c.id)
            found.append(_Mark(bearers, of_message.correlate(DELIVERY).exists()))
        if self.addresses:
            to_it = RECIPIENT.c.address.in_(self.addresses)
            found.append(_Mark(sa.select(RECIPIENT.c.message_id).where(to_it), _to_any(to_it)))
        return found


def _mentions(words: str) -> sa.ColumnElement[bool]:
    recipient = sa.or_(
        RECIPIENT.c.address.icontains(words, autoescape=True),
        RECIPIENT.c.name.icontains(words, autoescape=True),
    )
    return sa.or_(MESSAGE.c.subject.icontains(words, autoescape=True), _to_any(recipient))


def _to_any(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    """Messages of which some recipient fulfils ``condition``, looked at one by one.

    Not EXISTS: for that PostgreSQL reads the recipients of all messages, however few are asked for.
    """
    of_message = RECIPIENT.c.message_id == DELIVERY.c.id
    fitting = sa.select(sa.func.count()).select_from(RECIPIENT).where(of_message, condition)
    return fitting.correlate(DELIVERY).scalar_subquery() > 0
