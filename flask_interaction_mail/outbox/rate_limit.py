"""Floods in the outbox: what is above a rate is found when it is claimed, and held.

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

from ..storage.json_rows import joined_update, json_table, rows_parameter
from ..storage.tables import MESSAGE, RECIPIENT
from ..values import Reason, Status
from .claimed import Claimed
from .rates import WINDOW, By, Candidate, Neighbour, Rates, Who, above, digest_at, why

_RATED: Final = ("call", "merge_denied", "merge_completed")
_NOT_SENT: Final = (Status.SUPPRESSED, Status.CANCELLED)
# In a minute with more messages than that it is cheaper to look through all that a recipient
# ever got than through all that anybody got in that minute.
_FEW: Final = 1000


_WINDOW = MESSAGE.c.created_at.between(sa.bindparam("since"), sa.bindparam("until"))
_COUNTED = sa.and_(  # without IN, which SQLAlchemy renders anew for each execution
    # Of what nobody has judged only what was made earlier counts, and in a flood most is later.
    sa.or_(MESSAGE.c.fence > 0, MESSAGE.c.created_at <= sa.bindparam("last")),
    MESSAGE.c.size > 0,  # it could be composed
    *(MESSAGE.c.status != one for one in _NOT_SENT),
    MESSAGE.c.reason.is_distinct_from(Reason.RATE),
    sa.or_(
        *(MESSAGE.c.source == one for one in _RATED),
        sa.and_(MESSAGE.c.resend_of.is_not(None), MESSAGE.c.source != "flask_mail"),
    ),
)
# Of nothing but what is in the index, so that no row is looked up.
_BUSY = sa.select(sa.func.count()).select_from(
    sa.select(MESSAGE.c.created_at).where(_WINDOW).limit(_FEW + 1).subquery()
)
_WANTED = json_table(MESSAGE.c.id)
_HELD = json_table(MESSAGE.c.id, MESSAGE.c.due_at, MESSAGE.c.detail)
_HOLD = (
    joined_update(MESSAGE)
    .where(MESSAGE.c.id == _HELD.c.id)
    .values(
        status=Status.HELD,
        reason=Reason.RATE,
        due_at=_HELD.c.due_at,
        detail=_HELD.c.detail,
        lease_until=None,
        worker=None,
        lost_leases=0,
    )
)
_HOLD_RECIPIENTS = (
    joined_update(RECIPIENT)
    .where(RECIPIENT.c.message_id == _WANTED.c.id, RECIPIENT.c.status == Status.QUEUED)
    .values(status=Status.HELD)
)


def _crowded(
    who: sa.ColumnElement[Any], source: sa.FromClause, window: sa.ColumnElement[bool]
) -> sa.Select[Any]:
    """The counted messages of everybody who has more than ``limit`` of them in ``source``."""
    columns = (who.label("who"), MESSAGE.c.created_at, MESSAGE.c.id, MESSAGE.c.fence)
    together = sa.func.count().over(partition_by=who).label("together")
    counted = sa.and_(window, _COUNTED, who.is_not(None))
    numbered = sa.select(*columns, together).select_from(source).where(counted).subquery()
    return (
        sa.select(numbered.c.who, numbered.c.created_at, numbered.c.id, numbered.c.fence)
        .where(numbered.c.together > sa.bindparam("limit"))
        .order_by(numbered.c.created_at)
    )


_BOTH = MESSAGE.join(RECIPIENT, RECIPIENT.c.message_id == MESSAGE.c.id)
_RECENT = _crowded(RECIPIENT.c.address, _BOTH, _WINDOW)
_ACTORS = _crowded(MESSAGE.c.actor, MESSAGE, _WINDOW)


@cache
def _among_theirs(dialect: str) -> sa.Select[Any]:
    """By what each ever got. Which index is used must not depend on statistics: see ``by_index``.

    PostgreSQL looks an array up in one, and no index knows the time as it is written here.
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
    made = sa.func.coalesce(MESSAGE.c.created_at, MESSAGE.c.created_at)
    window = made.between(sa.bindparam("since"), sa.bindparam("until"))
    both = first.join(MESSAGE, MESSAGE.c.id == first.c.message_id)
    return _crowded(first.c.address, both, window)


def sift(
    connection: sa.Connection, claimed: Iterable[Claimed], *, rates: Rates, now: datetime
) -> set[uuid.UUID]:
    """Hold what is above a rate of the messages just ``claimed``; gives the ids.

    Only what was never claimed before is judged, so that what somebody released, and what is
    tried again, goes its way.
    """
    fresh = {one.id: one for one in claimed if one.fence == 1 and _is_rated(one)}
    if not fresh:
        return set()
    times = [one.created_at for one in fresh.values()]
    window = {"since": min(times) - WINDOW, "until": max(times) + WINDOW, "last": max(times)}
    busy: int = connection.scalar(_BUSY, window) or 0
    if busy <= min(rates.recipient, rates.actor, _FEW):
        return set()
    candidates = [_candidate(one) for one in fresh.values()]
    crowd = _crowd(connection, candidates, rates, window, busy=busy)
    held = above(candidates, crowd, rates) if crowd else {}
    if held:
        ids = [(id,) for id in held]
        at = {id: digest_at(now, fresh[id].expires_at) for id in held}
        rows = [(id, at[id], why(by, rates, at[id])) for id, by in held.items()]
        connection.execute(_HOLD, rows_parameter(rows))
        connection.execute(_HOLD_RECIPIENTS, rows_parameter(ids))
    return set(held)


def _is_rated(one: Claimed) -> bool:
    return one.source in _RATED or (one.resent and one.source != "flask_mail")


def _candidate(one: Claimed) -> Candidate:
    actor = () if one.actor is None else ((By.ACTOR, one.actor),)
    recipients = ((By.RECIPIENT, address) for address in one.envelope.recipients)
    return Candidate(one.created_at, one.id, (*recipients, *actor))


def _crowd(
    connection: sa.Connection,
    candidates: Iterable[Candidate],
    rates: Rates,
    window: Mapping[str, datetime],
    *,
    busy: int,
) -> dict[Who, list[Neighbour]]:
    """The neighbours of the candidates by those whose rate may be exceeded; seldom anybody."""
    named: dict[By, set[str]] = {By.RECIPIENT: set(), By.ACTOR: set()}
    for by, name in (who for one in candidates for who in one.whose):
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
    return {who: list(those.values()) for who, those in crowd.items()}
