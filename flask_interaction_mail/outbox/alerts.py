"""The alerts that hold, and what of them was told: a row for each, shared by all workers.

An alert that begins or ends raises the *fence* of its row, in one statement that asks for the
fence before, so that one worker does it. What is not told yet is claimed for a minute by the
worker that tells it, under that fence. If it stops in the middle, another one tells it. Functions
work on the connection given; its owner commits. Times are naive UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from ..storage.tables import ALERT
from .conditions import AlertName

_CLAIM: Final = timedelta(minutes=1)
# Seconds until the webhook is tried again; after the last it is given up.
_AGAIN: Final = (10, 60, 300, 900)
_NAMES: Final = {str(name): name for name in AlertName}  # a newer version may have others
_HOLDS: Final = ALERT.c.ended_at.is_(None)
_UNTOLD: Final = ALERT.c.told < ALERT.c.fence


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """An alert that began or ended, and is to be told: the ``tries``-th time, from 0."""

    name: AlertName
    fence: int
    detail: str
    began_at: datetime
    ended_at: datetime | None
    tries: int


class Seen(NamedTuple):
    """The row of an alert as a worker has seen it: ``detail`` is what was told of it last."""

    holds: bool
    began_at: datetime
    detail: str
    fence: int


def seen(connection: sa.Connection) -> dict[AlertName, Seen]:
    """The alerts that hold, and those that are over."""
    query = sa.select(ALERT.c.name, _HOLDS, ALERT.c.began_at, ALERT.c.detail, ALERT.c.fence)
    return {_NAMES[n]: Seen(*rest) for n, *rest in connection.execute(query) if n in _NAMES}


def changed(holding: Mapping[AlertName, str], before: Mapping[AlertName, Seen]) -> list[AlertName]:
    """The alerts that begin, are over, or are told once more as they are more urgent by now."""
    held = {name: one.detail for name, one in before.items() if one.holds}
    both = holding.keys() & held.keys() & {AlertName.SECRET}
    differ = (holding.keys() ^ held.keys()) | {n for n in both if holding[n] != held[n]}
    return [name for name in AlertName if name in differ]


def write(
    connection: sa.Connection,
    holding: Mapping[AlertName, str],
    *,
    before: Mapping[AlertName, Seen],
    now: datetime,
) -> None:
    """Begin the alerts that are ``holding``, end those that are over, and have both told.

    What was seen ``before`` must be older than what decided that they hold. Where another worker
    has changed an alert since, it knows better, and nothing changes.
    """
    for name in changed(holding, before):
        if name not in before:
            _begin(connection, name, holding[name], now)
            continue
        values: dict[str, Any] = {"ended_at": now}
        if name in holding:
            values = {"detail": holding[name]}
            if not before[name].holds:
                values |= {"began_at": now, "ended_at": None}
        its = _with(name, before[name].fence)
        connection.execute(its.values(**values, fence=ALERT.c.fence + 1, tries=0, due_at=now))


def _begin(connection: sa.Connection, name: AlertName, detail: str, now: datetime) -> None:
    values = {"began_at": now, "ended_at": None, "detail": detail}
    first = values | {"name": name, "fence": 1, "told": 0, "tries": 0, "due_at": now}
    try:
        with connection.begin_nested():
            connection.execute(sa.insert(ALERT).values(first))
    except sa.exc.IntegrityError:
        pass  # another worker has begun it at the same moment


def untold(connection: sa.Connection, now: datetime) -> list[Change]:
    """What may be told now."""
    rows = connection.execute(sa.select(ALERT).where(_UNTOLD, ALERT.c.due_at <= now))
    return [_change(_NAMES[row.name], row) for row in rows if row.name in _NAMES]


def claim(connection: sa.Connection, change: Change, now: datetime) -> bool:
    """Whether the caller may tell ``change``: one of all workers."""
    mine = _of(change).where(_UNTOLD, ALERT.c.due_at <= now)
    return connection.execute(mine.values(due_at=now + _CLAIM)).rowcount == 1


def told(connection: sa.Connection, change: Change) -> None:
    """``change`` was told, or is given up."""
    connection.execute(_of(change).values(told=change.fence))


def put_off(connection: sa.Connection, change: Change, now: datetime) -> bool:
    """Tell ``change`` again later; gives whether it will be."""
    if change.tries >= len(_AGAIN):
        told(connection, change)
        return False
    again = now + timedelta(seconds=_AGAIN[change.tries])
    connection.execute(_of(change).values(tries=change.tries + 1, due_at=again))
    return True


def _of(change: Change) -> sa.Update:
    return _with(change.name, change.fence)


def _with(name: AlertName, fence: int) -> sa.Update:
    return sa.update(ALERT).where(ALERT.c.name == name, ALERT.c.fence == fence)


def _change(name: AlertName, row: Any) -> Change:
    return Change(
        name=name,
        fence=row.fence,
        detail=row.detail,
        began_at=row.began_at,
        ended_at=row.ended_at,
        tries=row.tries,
    )
