"""What every page of the panel shows at its top: who delivers, the server, what waits.

Each query is answered by an index or stops after a hundred messages, so that a page costs the same
however long the outbox is. Nothing here writes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa

from .. import clock
from ..language import recalled
from ..outbox import breaker, presence
from ..outbox.presence import How, Presence
from ..settings.layers import InForce
from ..settings.model import relays_of
from ..settings.relay import Relay
from ..state import State
from ..storage.tables import DELIVERY
from ..text import counted
from ..values import UNDERWAY, Reason, Status

_MOST: Final = 99
_TODAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """The state of delivery now.

    ``broken`` are the relays in trouble, by their names, of so many ``relays``.
    ``at_work`` are the processes that deliver. ``called`` is when ``worker --once`` was last heard
    of within a day, ``oldest`` when the oldest message was made that waits and could have left
    (both naive UTC). ``attention`` counts the messages that need somebody, up to a hundred: held,
    refused for now, or failed within a day.
    """

    at_work: Sequence[Presence]
    called: datetime | None
    broken: Mapping[str, breaker.Open]
    oldest: datetime | None
    attention: int
    relays: int = 1

    @property
    def shown_attention(self) -> str:
        """The count as it is shown, such as "99+" for all that are not counted."""
        return counted(self.attention, _MOST)


def overview(state: State, present: InForce) -> Overview:
    """The state of delivery under the settings ``present``."""
    now = clock.now()
    relays = relays_of(present.settings, state.config.transport)
    with state.database.reading() as connection:
        heard_of = presence.heard_of(connection)
        calls = (process.seen for process in heard_of if process.how is How.ONCE)
        return Overview(
            at_work=[process for process in heard_of if process.here],
            called=next(calls, None),
            broken=_broken(connection, relays) if present.settings.configured else {},
            relays=len(relays),
            oldest=oldest_waiting(connection, now),
            attention=_attention(connection, now),
        )


def _broken(connection: sa.Connection, relays: Sequence[Relay]) -> dict[str, breaker.Open]:
    """The trouble of each server; why is in the reader's language."""
    found = breaker.read_all(connection, relays)
    return {name: replace(met, why=recalled(met.why)) for name, met in found.items()}


def oldest_waiting(connection: sa.Connection, now: datetime) -> datetime | None:
    """When the oldest message was made that waits (naive UTC); None if none does.

    What waits for its ``send_at`` is not late, however long ago it was made.
    """
    for_relay = DELIVERY.c.reason.is_not_distinct_from(Reason.RELAY)
    could_leave = {Status.QUEUED: sa.or_(DELIVERY.c.due_at <= now, for_relay)}
    firsts = [
        connection.scalar(
            sa.select(DELIVERY.c.created_at)
            # A range, and its order: else PostgreSQL looks through all that was sent before, by
            # another index.
            .where(DELIVERY.c.status.between(status, status), could_leave.get(status, sa.true()))
            .order_by(DELIVERY.c.status, DELIVERY.c.created_at)
            .limit(1)
        )
        for status in UNDERWAY
    ]
    return min((first for first in firsts if first is not None), default=None)


def _attention(connection: sa.Connection, now: datetime) -> int:
    held = sa.select(DELIVERY.c.id).where(
        DELIVERY.c.status == Status.HELD,
        DELIVERY.c.reason.is_distinct_from(Reason.RATE),  # these leave by themselves
    )
    deferred = sa.select(DELIVERY.c.id).where(DELIVERY.c.status == Status.DEFERRED)
    newest_failed = (
        sa.select(DELIVERY.c.finished_at)
        .where(DELIVERY.c.status == Status.FAILED)
        .order_by(DELIVERY.c.created_at.desc())
        .limit(_MOST + 1)
        .subquery()
    )
    failed = sa.select(newest_failed.c.finished_at).where(
        newest_failed.c.finished_at > now - _TODAY
    )
    counts = [
        connection.scalar(sa.select(sa.func.count()).select_from(query.limit(_MOST + 1).subquery()))
        for query in (held, deferred, failed)
    ]
    return min(sum(count or 0 for count in counts), _MOST + 1)
