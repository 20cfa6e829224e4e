"""How many messages a relay with a limit has been given in this minute, by all workers together.

A minute is one of the clock, and a message counts when it is claimed: around the turn of a minute
twice the limit may leave within 60 s. One row for each relay, by its name, that all workers share.
Functions work on the connection given; its owner commits.
"""

from __future__ import annotations

import json
import uuid
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from ..settings.relay import Relay
from ..storage.check_rows import insert, upsert
from ..storage.tables import CHECK

_ROWS: Final = uuid.UUID("5d2b6a0e-8c5f-4b1f-9b0a-3f6f1c2a7e44")
_KIND: Final = "minute"
_MINUTE: Final = timedelta(minutes=1)
_KNOWN: Final = sa.select(CHECK.c.at, CHECK.c.steps).where(CHECK.c.id == sa.bindparam("relay"))
_LOCKED: Final = _KNOWN.with_for_update()


def left(connection: sa.Connection, relay: Relay, now: datetime) -> int | None:
    """How many more messages ``relay`` may be given in this minute; None without a limit."""
    if relay.max_per_minute is None:
        return None
    return max(0, relay.max_per_minute - (_taken(connection, _KNOWN, relay, now) or 0))


def book(connection: sa.Connection, relay: Relay, count: int, *, worker: str, now: datetime) -> int:
    """Count ``count`` messages for ``relay``, as many as there is room for; gives that number."""
    if relay.max_per_minute is None or not count:
        return count
    taken = _taken(connection, _LOCKED, relay, now)
    if taken is None:  # the first time: have a row that can be locked
        insert(connection, _row(relay), **_values(0, worker, now))
        taken = _taken(connection, _LOCKED, relay, now) or 0
    fits = max(0, min(count, relay.max_per_minute - taken))
    upsert(connection, _row(relay), **_values(taken + fits, worker, now))
    return fits


def _values(taken: int, worker: str, now: datetime) -> dict[str, Any]:
    return {
        "kind": _KIND,
        "at": _began(now),
        "by": worker,
        "fingerprint": "",
        "verdict": "known",
        "steps": json.dumps({"taken": taken}),
        "until": _began(now) + _MINUTE,
    }


def _taken(
    connection: sa.Connection, query: sa.Select[Any], relay: Relay, now: datetime
) -> int | None:
    """How many it was given in this minute; None if there is no row."""
    row = connection.execute(query, {"relay": _row(relay)}).first()
    if row is None:
        return None
    return int(json.loads(row.steps)["taken"]) if row.at >= _began(now) else 0


def _began(now: datetime) -> datetime:
    return now.replace(second=0, microsecond=0)


def _row(relay: Relay) -> uuid.UUID:
    return uuid.uuid5(_ROWS, relay.name)
