"""Signs of life of each process that delivers, for ``status`` and ``doctor``.

A sign is a row of the table of checks, for each process and way of delivery.
"""

from __future__ import annotations

import enum
import json
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from ..errors import InteractionMailError
from ..logs import log
from ..storage import check_rows
from ..storage.tables import CHECK
from ..storage.transactions import Transactions
from .claim import Time

_ROWS = uuid.UUID("5a0f2f0e-2f3b-4a37-9d0b-6d1c1b6f4a11")
_KIND = "presence"
_EVERY: Final = timedelta(minutes=1)  # between two signs of life
_AGAIN: Final = timedelta(seconds=5)  # after one that could not be left
_GONE: Final = timedelta(minutes=2, seconds=30)  # after the last one
_FORGOTTEN: Final = timedelta(days=1)


class How(enum.StrEnum):
    """A way of delivery, as it is shown."""

    WORKER = "worker"
    ONCE = "worker --once"
    THREAD = "thread"
    SYNC = "sync"


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """A process that delivers: since when, and when it was last heard of (naive UTC).

    ``server`` is the application server that it belongs to, ``trouble`` what is wrong with that.
    """

    who: str
    how: How
    since: datetime
    seen: datetime
    here: bool  # whether it was heard of lately
    server: str | None = None
    trouble: str | None = None


class Pulse:
    """The signs of life of this process, one a minute at most."""

    def __init__(
        self,
        store: Transactions,
        who: str,
        how: How,
        *,
        server: str | None = None,
        trouble: str | None = None,
    ) -> None:
        self._store = store
        self._who = who
        self._how = how
        self._facts = json.dumps({"server": server, "trouble": trouble})
        self._id = uuid.uuid5(_ROWS, f"{who} {how}")
        self._since: datetime | None = None
        self._next = 0.0

    def beat(self) -> None:
        """Leave a sign if the last is a minute old; what fails is tried again. Never raises."""
        if time.monotonic() < self._next:
            return
        wait = _EVERY
        try:
            with self._store.writing() as connection:
                self._sign(connection, Time().look(connection))
        except (InteractionMailError, sa.exc.SQLAlchemyError) as error:
            wait = _AGAIN
            log.debug("presence.not_told: %s", type(error).__name__)
        self._next = time.monotonic() + wait.total_seconds()

    def end(self) -> None:
        """Remove the sign: this process delivers no more. Never raises."""
        if self._since is None:
            return
        self._since, self._next = None, 0.0
        try:
            with self._store.writing() as connection:
                connection.execute(sa.delete(CHECK).where(CHECK.c.id == self._id))
        except (InteractionMailError, sa.exc.SQLAlchemyError) as error:
            log.debug("presence.not_told: %s", type(error).__name__)

    def _sign(self, connection: sa.Connection, now: datetime) -> None:
        if self._since is None:
            gone = sa.and_(CHECK.c.kind == _KIND, CHECK.c.until < now - _FORGOTTEN)
            connection.execute(sa.delete(CHECK).where(gone))
        self._since = self._since or now
        values: dict[str, Any] = {
            "kind": _KIND,
            "at": self._since,
            "by": self._who,
            "fingerprint": "",
            "verdict": self._how,
            "steps": self._facts,
            "until": now,
        }
        check_rows.upsert(connection, self._id, **values)


def heard_of(connection: sa.Connection) -> Sequence[Presence]:
    """The processes that gave a sign of life within a day, the latest first."""
    now = Time().look(connection)
    rows = connection.execute(
        sa.select(CHECK)
        .where(CHECK.c.kind == _KIND, CHECK.c.until >= now - _FORGOTTEN)
        .order_by(CHECK.c.until.desc(), CHECK.c.at.desc())
    )
    return [_presence(row, now) for row in rows]


def _presence(row: Any, now: datetime) -> Presence:
    return Presence(
        who=row.by,
        how=How(row.verdict),
        since=row.at,
        seen=row.until,
        here=row.until >= now - _GONE and row.verdict != How.ONCE,
        **json.loads(row.steps),
    )
