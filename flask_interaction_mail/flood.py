"""Floods in the outbox: what is above a rate is found when it is claimed, and held.

Every function works on the connection that it is given and leaves the commit to its owner;
times are naive UTC.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from .given_rows import document, given
from .models import MESSAGE, RECIPIENT
from .rates import WINDOW, By, Candidate, Neighbour, Rates, Who, above, digest_at, why
from .values import Reason, Status

_RATED: Final = ("call", "merge_denied", "merge_completed")
_NOT_SENT: Final = (Status.SUPPRESSED, Status.CANCELLED)
# In a minute with more messages than that it is cheaper to look through all that a recipient
# ever got than through all that anybody got in that minute.
_FEW: Final = 2000


_WINDOW = MESSAGE.c.created_at.between(sa.bindparam("since"), sa.bindparam("until"))
_COUNTED = sa.and_(
    _WINDOW,
    MESSAGE.c.size > 0,  # it could be composed
    MESSAGE.c.status.not_in(_NOT_SENT),
    MESSAGE.c.reason.is_distinct_from(Reason.RATE),
    sa.or_(
        MESSAGE.c.source.in_(_RATED),
        sa.and_(MESSAGE.c.resend_of.is_not(None), MESSAGE.c.source != "flask_mail"),
    ),
)
_BUSY = sa.select(sa.func.count()).select_from(
    sa.select(MESSAGE.c.id).where(_WINDOW).limit(_FEW + 1).subquery()
)
_WANTED = given(MESSAGE.c.id)
_ADDRESSES = (
    sa.select(RECIPIENT.c.message_id, RECIPIENT.c.address)
    .join_from(_WANTED, RECIPIENT, RECIPIENT.c.message_id == _WANTED.c.id)
    .where(RECIPIENT.c.status == Status.QUEUED)
)
_HELD = given(MESSAGE.c.id, MESSAGE.c.due_at, MESSAGE.c.detail)
_HOLD = (
    sa.update(MESSAGE)
    .where(MESSAGE.c.id == _HELD.c.id)
    .values(
        status=Status.HELD,
        reason=Reason.RATE,
        due_at=_HELD.c.due_at,
        detail=_HELD.c.detail,
        fence=MESSAGE.c.fence + 1,  # it is judged
    )
)
_HOLD_RECIPIENTS = (
    sa.update(RECIPIENT)
    .where(RECIPIENT.c.message_id == _WANTED.c.id, RECIPIENT.c.status == Status.QUEUED)
    .values(status=Status.HELD)
)


def _crowded(who: sa.ColumnElement[Any], source: sa.FromClause) -> sa.Select[Any]:
    """The counted messages of everybody who has more than ``limit`` of them in ``source``."""
    columns = (who.label("who"), MESSAGE.c.created_at, MESSAGE.c.id, MESSAGE.c.fence)
    named = sa.and_(_COUNTED, who.is_not(None))
    counted = sa.select(*columns).select_from(source).where(named).distinct().subquery()
    together = sa.func.count().over(partition_by=counted.c.who).label("together")
    numbered = sa.select(counted, together).subquery()
    return (
        sa.select(numbered.c.who, numbered.c.created_at, numbered.c.id, numbered.c.fence)
        .where(numbered.c.together > sa.bindparam("limit"))
        .order_by(numbered.c.created_at)
    )


def _among_theirs() -> sa.Select[Any]:
    named = _ADDRESSES.with_only_columns(RECIPIENT.c.address).distinct().subquery()
    theirs = RECIPIENT.alias("theirs")
    source = named.join(theirs, theirs.c.address == named.c.address)
    return _crowded(theirs.c.address, source.join(MESSAGE, MESSAGE.c.id == theirs.c.message_id))


_AMONG_RECENT = _crowded(
    RECIPIENT.c.address, MESSAGE.join(RECIPIENT, RECIPIENT.c.message_id == MESSAGE.c.id)
)
_AMONG_THEIRS = _among_theirs()
_ACTORS = _crowded(MESSAGE.c.actor, MESSAGE)


def sift(
    connection: sa.Connection, picked: Iterable[Any], *, rates: Rates, now: datetime
) -> set[uuid.UUID]:
    """Hold what is above a rate of ``picked``, rows of messages about to be claimed; their ids.

    Only what was never claimed is judged, so that what somebody released, and what is tried
    again, goes its way.
    """
    fresh = {one.id: one for one in picked if one.fence == 0 and _is_rated(one)}
    crowd = _crowd(connection, list(fresh.values()), rates) if fresh else {}
    if not crowd:
        return set()
    held = above(_candidates(connection, fresh.values()), crowd, rates)
    if held:
        ids = [(id,) for id in held]
        at = {id: digest_at(now, fresh[id].expires_at) for id in held}
        rows = [(id, at[id], why(by, rates, at[id])) for id, by in held.items()]
        connection.execute(_HOLD, document(rows))
        connection.execute(_HOLD_RECIPIENTS, document(ids))
    return set(held)


def _is_rated(row: Any) -> bool:
    return row.source in _RATED or (row.resend_of is not None and row.source != "flask_mail")


def _crowd(
    connection: sa.Connection, fresh: Sequence[Any], rates: Rates
) -> dict[Who, list[Neighbour]]:
    """The neighbours of ``fresh`` by those whose rate may be exceeded; seldom anybody."""
    times = [one.created_at for one in fresh]
    window = {"since": min(times) - WINDOW, "until": max(times) + WINDOW}
    busy: int = connection.scalar(_BUSY, window) or 0
    many = busy > _FEW
    ids = document((one.id,) for one in fresh) if many else {}
    queries: list[tuple[By, sa.Select[Any], dict[str, str]]] = []
    if many or busy > rates.recipient:
        queries.append((By.RECIPIENT, _AMONG_THEIRS if many else _AMONG_RECENT, ids))
    if (many or busy > rates.actor) and any(one.actor is not None for one in fresh):
        queries.append((By.ACTOR, _ACTORS, {}))
    crowd: dict[Who, list[Neighbour]] = {}
    for by, query, which in queries:
        limit = {"limit": rates.of(by)}
        for who, created_at, id, fence in connection.execute(query, {**window, **which, **limit}):
            crowd.setdefault((by, who), []).append(Neighbour(created_at, id, fence > 0))
    return crowd


def _candidates(connection: sa.Connection, fresh: Iterable[Any]) -> list[Candidate]:
    whose = {one.id: [(By.ACTOR, one.actor)] if one.actor is not None else [] for one in fresh}
    for id, address in connection.execute(_ADDRESSES, document((id,) for id in whose)):
        whose[id].append((By.RECIPIENT, address))
    return [Candidate(one.created_at, one.id, tuple(whose[one.id])) for one in fresh]
