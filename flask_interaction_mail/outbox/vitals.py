"""How mail is doing, in a few queries that cost the same with a million messages.

Functions work on the connection given and only read.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from ..settings.model import MessagingSettings
from ..settings.relay import Relay
from ..storage.tables import DELIVERY
from ..values import OPEN, UNDERWAY, Priority, Status
from . import breaker, presence, probes
from .claim import Time
from .conditions import MOST, Vitals

LATELY: Final = timedelta(hours=1)
_OLDEST_DUE: Final = sa.select(sa.func.min(DELIVERY.c.due_at)).where(
    DELIVERY.c.status == sa.bindparam("wanted"),
    DELIVERY.c.priority == sa.bindparam("rank"),
    DELIVERY.c.due_at <= sa.bindparam("now"),
)
# Whose worker has stopped, and nobody has taken it over.
_OLDEST_LEFT: Final = sa.select(sa.func.min(DELIVERY.c.lease_until)).where(
    DELIVERY.c.lease_until <= sa.bindparam("now")
)
# A number and not the id: then the index alone is read.
_ONE: Final = sa.literal(1, literal_execute=True).label("one")
_ENDED: Final = sa.select(_ONE).where(
    DELIVERY.c.status == sa.bindparam("wanted"), DELIVERY.c.finished_at >= sa.bindparam("since")
)
_WAITING: Final = sa.select(_ONE).where(DELIVERY.c.status.in_(UNDERWAY))


def take(connection: sa.Connection, settings: MessagingSettings, relay: Relay) -> Vitals:
    """How mail to ``relay`` is doing."""
    now = Time().look(connection)
    failed = _ended(connection, Status.FAILED, now - LATELY, _decisive(settings))
    broken = breaker.read(connection, relay)
    # Without probes what the last one found would be true for ever.
    probe = probes.read(connection, relay) if settings.probe_every else None
    return Vitals(
        now=now,
        oldest=oldest(connection, now),
        waiting=_count(connection, _WAITING.limit(MOST)),
        sent=_ended(connection, Status.SENT, now - LATELY, failed * _decisive(settings)),
        failed=failed,
        trouble=broken.why if broken else None,
        probe_failed=probe.why if probe and not sent_since(connection, probe.at) else None,
        expires=probe.expires if probe else None,
        here=sum(process.here for process in presence.heard_of(connection)),
    )


def oldest(connection: sa.Connection, now: datetime) -> datetime | None:
    """Since when the longest waiting message could have left."""
    due = (
        connection.scalar(_OLDEST_DUE, {"wanted": word, "rank": priority.rank, "now": now})
        for word in OPEN
        for priority in Priority
    )
    found = [*due, connection.scalar(_OLDEST_LEFT, {"now": now})]
    return min(filter(None, found), default=None)


def sent_since(connection: sa.Connection, moment: datetime) -> bool:
    """Whether a server has taken a message since ``moment``."""
    parameters = {"wanted": Status.SENT, "since": moment}
    return connection.execute(_ENDED.limit(1), parameters).first() is not None


def _decisive(settings: MessagingSettings) -> int:
    """With how many sent for each failed one the failures are too few."""
    return 100 // (settings.alert_failures or 100) + 1


def _ended(connection: sa.Connection, status: Status, since: datetime, most: int) -> int:
    query = _ENDED.limit(max(MOST, most))
    return _count(connection, query, wanted=status, since=since)


def _count(connection: sa.Connection, query: sa.Select[Any], **parameters: object) -> int:
    counted = sa.select(sa.func.count()).select_from(query.subquery())
    return connection.scalar(counted, parameters) or 0
