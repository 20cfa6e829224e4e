"""Lanes: which of the messages that are due are for one relay, and what becomes of the others.

All messages stand in one queue. With several relays each of them claims for itself, and what it
meets there for another one is put *aside*: it is due ten minutes later, under a word by which that
other one finds it at once. So no relay waits behind mail that it may not carry, and a message is
never forgotten, even if nobody looks for its word any more. Functions work on the connection given;
its owner commits.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cached_property
from typing import Final

import sqlalchemy as sa

from ..settings.relay import Relay
from ..storage.json_rows import JsonQuery, joined_update, json_table, rows_parameter
from ..storage.tables import DELIVERY, MESSAGE
from ..values import OPEN, Priority, Reason, Status
from . import breaker
from .choice import (
    BOUND_FOR,
    UNCARRIED,
    Choice,
    Relays,
    Trouble,
    Verdict,
    bound_to,
    from_domain,
    why,
)
from .claim import Picked, Sorted
from .fenced import by_index, lock_rows_only
from .loading import WANTED, wanted
from .transitions import GIVEN_UP, RETURNED

ASIDE_FOR: Final = timedelta(minutes=10)
_DETAIL: Final = 1000  # characters
_SENDERS: Final = JsonQuery(
    sa.select(WANTED.c.place, MESSAGE.c.sender, MESSAGE.c.envelope_sender).join_from(
        WANTED, MESSAGE, MESSAGE.c.id == WANTED.c.id
    )
)
_ROWS: Final = json_table(DELIVERY.c.id, DELIVERY.c.relay, DELIVERY.c.detail, DELIVERY.c.due_at)
_PUT_ASIDE: Final = (
    joined_update(DELIVERY)
    .where(DELIVERY.c.id == _ROWS.c.id)
    .values(reason=Reason.RELAY, relay=_ROWS.c.relay, detail=_ROWS.c.detail, due_at=_ROWS.c.due_at)
)
_FREE: Final = {"lease_until": None, "worker": None}
# What another worker has lost joins the queue, and is then put aside as the rest.
_RETURN: Final = (
    joined_update(DELIVERY)
    .where(DELIVERY.c.id == WANTED.c.id)
    .values(
        **RETURNED.choose((DELIVERY.c.attempts > 0, Status.DEFERRED), otherwise=Status.QUEUED),
        **_FREE,
        due_at=sa.bindparam("now", type_=DELIVERY.c.due_at.type),
    )
)
_GIVE_UP: Final = (
    joined_update(DELIVERY)
    .where(DELIVERY.c.id == _ROWS.c.id)
    .values(
        **GIVEN_UP.to(Status.HELD),
        **_FREE,
        reason=Reason.AMBIGUOUS,
        detail=_ROWS.c.detail,
        due_at=None,
        finished_at=sa.bindparam("now", type_=DELIVERY.c.finished_at.type),
    )
)
_IS_ASIDE: Final = sa.and_(
    DELIVERY.c.status.in_(OPEN),
    DELIVERY.c.priority.in_([priority.rank for priority in Priority]),
    DELIVERY.c.due_at > sa.bindparam("now"),
    DELIVERY.c.reason == Reason.RELAY,
)


class Lane:
    """What the relay ``name`` has to do, as of the last ``look``.

    ``moved`` is how many messages the last ``sort`` has left to other relays, or held; ``held`` are
    the ids of the latter.
    """

    def __init__(self, relays: Sequence[Relay], name: str) -> None:
        self.moved: int = 0
        self.held: Sequence[uuid.UUID] = ()
        self._relays = Relays(relays)
        self._name = name
        self._trouble: dict[str, Trouble] = {}
        self._carried = self._relays.carried_by(name, {})

    def look(self, connection: sa.Connection) -> breaker.Open | None:
        """Find out which relays are in trouble; gives the breaker of this one if it is open."""
        broken = breaker.read_all(connection, self._relays.relays)
        mine = broken.pop(self._name, None)
        self._trouble = {name: Trouble(met.since, met.why) for name, met in broken.items()}
        self._carried = self._relays.carried_by(self._name, self._trouble)
        return mine

    @cached_property
    def alone(self) -> bool:
        """Whether this is the only relay, and it may carry everything."""
        return len(self._relays.relays) == 1 and self._relays.alike

    @property
    def takes_part(self) -> bool:
        """Whether it has to look at what is due: it carries some of that, bound messages aside."""
        return self.alone or bool(self._carried)

    @property
    def asides(self) -> Sequence[str]:
        """Under which words its messages wait aside."""
        return () if self.alone else (self._name, *self._carried)

    def sort(
        self,
        connection: sa.Connection,
        lost: Sequence[Picked],
        due: Sequence[Picked],
        now: datetime,
    ) -> Sorted:
        """Of messages that this transaction has locked, those for this relay.

        ``lost`` are those that another worker had claimed. The others are put aside, or held if it
        cannot be found out whether they have left.
        """
        self.moved, self.held = 0, ()
        if self._relays.alike and self._all_mine((*lost, *due)):
            return Sorted(lost, due, ())
        domains = self._domains(connection, [*lost, *due])
        chosen = {
            picked.id: self._relays.choose(
                domains.get(picked.id, ""), picked.relay, self._trouble, now
            )
            for picked in (*lost, *due)
        }
        mine = {id for id, choice in chosen.items() if self._is_mine(choice)}
        doubtful = [id for id, choice in chosen.items() if choice.verdict is Verdict.DOUBTFUL]
        others = chosen.keys() - mine - {*doubtful}
        rows = {
            id: self._row(id, chosen[id], domains.get(id, ""), now)
            for id in sorted({*doubtful, *others})
        }
        if doubtful:
            held = rows_parameter(rows[id] for id in sorted(doubtful))
            connection.execute(_GIVE_UP, {**held, "now": now})
        if returned := [picked.id for picked in lost if picked.id in others]:
            connection.execute(_RETURN, {**wanted(sorted(returned)), "now": now})
        if aside := [rows[picked.id] for picked in due if picked.id in others]:
            connection.execute(_PUT_ASIDE, rows_parameter(sorted(aside)))
        self.moved, self.held = len(others) + len(doubtful), doubtful
        return Sorted(
            [picked for picked in lost if picked.id in mine],
            [picked for picked in due if picked.id in mine],
            doubtful,
        )

    def _all_mine(self, picked: Sequence[Picked]) -> bool:
        """Whether this relay carries what it has found, where each may carry everything."""
        return self.takes_part and all(one.relay in (None, self._name) for one in picked)

    def _is_mine(self, choice: Choice) -> bool:
        return choice.relay == self._name and choice.verdict is not Verdict.DOUBTFUL

    def _domains(self, connection: sa.Connection, picked: Sequence[Picked]) -> dict[uuid.UUID, str]:
        """The From domain of each message, where that decides anything."""
        if self._relays.alike:
            return {}
        ids = [one.id for one in picked]
        rows = _SENDERS.rows(connection, wanted(ids)) if ids else ()
        return {ids[place]: from_domain(*senders) for place, *senders in rows}

    def _row(
        self, id: uuid.UUID, choice: Choice, domain: str, now: datetime
    ) -> tuple[uuid.UUID, str, str, datetime]:
        until = now + ASIDE_FOR
        if choice.verdict is Verdict.BOUND and (met := self._trouble.get(choice.aside)):
            until = min(until, met.since + BOUND_FOR)
        return id, choice.aside, str(why(choice, domain, self._trouble))[:_DETAIL], until


def recall(connection: sa.Connection, now: datetime) -> None:
    """Have all that waits aside sorted anew: the settings have changed.

    On MariaDB this is the first statement of its transaction.
    """
    lock_rows_only(connection)
    by_index(connection)
    values = {"reason": None, "detail": None, "due_at": now}
    for aside in connection.scalars(_WORDS, {"now": now}).all():
        theirs = sa.update(DELIVERY).where(_IS_ASIDE, DELIVERY.c.relay == aside)
        connection.execute(theirs.values(**values, relay=bound_to(aside)), {"now": now})


def uncarried(connection: sa.Connection, relays: Sequence[Relay], now: datetime, most: int) -> int:
    """How many messages wait that none of ``relays`` may carry, counted up to ``most``."""
    if Relays(relays).alike:
        return 0
    counted = sa.select(sa.func.count()).select_from(_UNCARRIED.limit(most).subquery())
    return connection.scalar(counted, {"now": now}) or 0


_WORDS: Final = sa.select(DELIVERY.c.relay).where(_IS_ASIDE).distinct()
_UNCARRIED: Final = sa.select(sa.literal(1, literal_execute=True).label("one")).where(
    _IS_ASIDE, DELIVERY.c.relay == UNCARRIED
)
