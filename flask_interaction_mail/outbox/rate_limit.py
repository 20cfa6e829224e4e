"""Finds messages above a rate when they are claimed, and holds them.

Every function works on the connection that it is given and leaves the commit to its owner;
times are naive UTC.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import cache
from typing import Any, Final

import sqlalchemy as sa

from ..messages.intent import MAILING
from ..storage.json_rows import joined_update, json_table, rows_parameter
from ..storage.tables import DELIVERY, MESSAGE, OUTBOX, RECIPIENT
from ..values import Reason, Status
from .claimed import Claimed
from .rates import WINDOW, By, Candidate, Neighbour, Rates, Who, above, digest_at, why
from .transitions import HELD_FOR_RATE

_RATED: Final = ("call", "merge_denied", "merge_completed", MAILING)
_NOT_SENT: Final = (Status.SUPPRESSED, Status.CANCELLED)
# In a minute with more messages it is cheaper to look through all that a recipient ever got than
# through all that anybody got in that minute.
_FEW: Final = 1000


_WINDOW = DELIVERY.c.created_at.between(sa.bindparam("since"), sa.bindparam("until"))
_COUNTED = sa.and_(  # without IN, which SQLAlchemy renders anew for each execution
    # Of what nobody has claimed only earlier messages count, and in a flood most are later.
    sa.or_(DELIVERY.c.fence > 0, DELIVERY.c.created_at <= sa.bindparam("last")),
    DELIVERY.c.size > 0,  # it could be composed
    *(DELIVERY.c.status != status for status in _NOT_SENT),
    DELIVERY.c.reason.is_distinct_from(Reason.RATE),
    sa.or_(
        *(MESSAGE.c.source == source for source in _RATED),
        sa.and_(MESSAGE.c.resend_of.is_not(None), MESSAGE.c.source != "flask_mail"),
    ),
)
# Only columns of the index, so that no row is read.
_BUSY = sa.select(sa.func.count()).select_from(
    sa.select(DELIVERY.c.created_at).where(_WINDOW).limit(_FEW + 1).subquery()
)
_WANTED = json_table(DELIVERY.c.id)
_HELD = json_table(DELIVERY.c.id, DELIVERY.c.due_at, DELIVERY.c.detail)
_HOLD = (
    joined_update(DELIVERY)
    .where(DELIVERY.c.id == _HELD.c.id)
    .values(
        **HELD_FOR_RATE.to(Status.HELD),
        reason=Reason.RATE,
        due_at=_HELD.c.due_at,
        detail=_HELD.c.detail,
        relay=None,
        lease_until=None,
        worker=None,
        lost_leases=0,
    )
)
_HOLD_RECIPIENTS = (
    joined_update(RECIPIENT)
    .where(RECIPIENT.c.message_id == _WANTED.c.id, HELD_FOR_RATE.possible_for_recipient)
    .values(**HELD_FOR_RATE.to(Status.HELD))
)


def _crowded(
    who: sa.ColumnElement[Any], source: sa.FromClause, window: sa.ColumnElement[bool]
) -> sa.Select[Any]:
    """The counted messages of everybody with more than ``limit`` of them in ``source``."""
    columns = (who.label("who"), DELIVERY.c.created_at, DELIVERY.c.id, DELIVERY.c.fence)
    together = sa.func.count().over(partition_by=who).label("together")
    counted = sa.and_(window, _COUNTED, who.is_not(None))
    numbered = sa.select(*columns, together).select_from(source).where(counted).subquery()
    return (
        sa.select(numbered.c.who, numbered.c.created_at, numbered.c.id, numbered.c.fence)
        .where(numbered.c.together > sa.bindparam("limit"))
        .order_by(numbered.c.created_at)
    )


_BOTH = OUTBOX.join(RECIPIENT, RECIPIENT.c.message_id == DELIVERY.c.id)
_RECENT = _crowded(RECIPIENT.c.address, _BOTH, _WINDOW)
_ACTORS = _crowded(MESSAGE.c.actor, OUTBOX, sa.and_(_WINDOW, MESSAGE.c.source != MAILING))


@cache
def _among_theirs(dialect: str) -> sa.Select[Any]:
    """The same by all that each recipient ever got, found by the index of addresses alone.

    PostgreSQL takes that for an array, and the coalesced time keeps it from choosing another one.
    """
    named = json_table(RECIPIENT.c.address)
    wanted: Any = sa.select(named.c.address)
    if dialect == "postgresql":
        wanted = sa.any_(sa.func.array(wanted.scalar_subquery()))
        chosen = RECIPIENT.c.address == wanted
    else:
        chosen = RECIPIENT.c.address.in_(wanted)
    theirs = sa.select(RECIPIENT.c.message_id, RECIPIENT.c.address).where(chosen).cte("theirs")
    first = theirs.prefix_with("MATERIALIZED", dialect="postgresql")
    made = sa.func.coalesce(DELIVERY.c.created_at, DELIVERY.c.created_at)
    window = made.between(sa.bindparam("since"), sa.bindparam("until"))
    delivery = first.join(DELIVERY, DELIVERY.c.id == first.c.message_id)
    both = delivery.join(MESSAGE, MESSAGE.c.id == DELIVERY.c.id)
    return _crowded(first.c.address, both, window)


def hold_excess(
    connection: sa.Connection, claimed: Iterable[Claimed], *, rates: Rates, now: datetime
) -> set[uuid.UUID]:
    """Hold those of the messages just ``claimed`` that are above a rate; gives their ids.

    Only messages that were never claimed before count as new. What somebody released, or what is
    tried again, is not held.
    """
    fresh = {new.id: new for new in claimed if new.fence == 1 and _is_rated(new)}
    if not fresh:
        return set()
    times = [new.created_at for new in fresh.values()]
    window = {"since": min(times) - WINDOW, "until": max(times) + WINDOW, "last": max(times)}
    busy: int = connection.scalar(_BUSY, window) or 0
    if busy <= min(rates.recipient, rates.actor, _FEW):
        return set()
    candidates = [_candidate(new) for new in fresh.values()]
    crowd = _crowd(connection, candidates, rates, window, busy=busy)
    held = above(candidates, crowd, rates) if crowd else {}
    if held:
        ids = [(id,) for id in held]
        at = {id: digest_at(now, fresh[id].expires_at) for id in held}
        rows = [(id, at[id], why(by, rates, at[id])) for id, by in held.items()]
        connection.execute(_HOLD, rows_parameter(rows))
        connection.execute(_HOLD_RECIPIENTS, rows_parameter(ids))
    return set(held)


def _is_rated(new: Claimed) -> bool:
    return new.source in _RATED or (new.resent and new.source != "flask_mail")


def _candidate(new: Claimed) -> Candidate:
    # Code of the host decided whom a mailing goes to, not who started it.
    actor = () if new.actor is None or new.source == MAILING else ((By.ACTOR, new.actor),)
    recipients = ((By.RECIPIENT, address) for address in new.envelope.recipients)
    return Candidate(new.created_at, new.id, (*recipients, *actor))


def _crowd(
    connection: sa.Connection,
    candidates: Iterable[Candidate],
    rates: Rates,
    window: Mapping[str, datetime],
    *,
    busy: int,
) -> dict[Who, list[Neighbour]]:
    """The neighbours of the candidates, by each person whose rate may be exceeded; seldom any."""
    named: dict[By, set[str]] = {By.RECIPIENT: set(), By.ACTOR: set()}
    for by, name in (who for candidate in candidates for who in candidate.people):
        named[by].add(name)
    crowd: dict[Who, dict[uuid.UUID, Neighbour]] = {}
    for by, names in named.items():
        if not names or busy <= min(rates.of(by), _FEW):
            continue
        query, which = _ACTORS if by is By.ACTOR else _RECENT, dict[str, str]()
        if by is By.RECIPIENT and busy > _FEW:
            query = _among_theirs(connection.dialect.name)
            which = rows_parameter((name,) for name in names)
        limit = {"limit": rates.of(by)}
        for who, created_at, id, fence in connection.execute(query, {**window, **which, **limit}):
            # Once, however often a message names its recipient.
            crowd.setdefault((by, who), {})[id] = Neighbour(created_at, id, fence > 0)
    return {who: list(neighbours.values()) for who, neighbours in crowd.items()}
