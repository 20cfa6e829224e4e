"""How mail is doing, in a few queries that cost the same with a million messages.

Functions work on the connection given and only read.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from ..settings.model import MessagingSettings
from ..settings.relay import Relay
from ..storage.tables import DELIVERY
from ..values import NORMAL_PRIORITY, OPEN, UNDERWAY, Status
from . import breaker, presence, probes
from .claim import Time

LATELY: Final = timedelta(hours=1)
MOST: Final = 10_000  # of what is counted, unless more decides something
_OLDEST_DUE: Final = sa.select(sa.func.min(DELIVERY.c.due_at)).where(
    DELIVERY.c.status == sa.bindparam("wanted"),
    DELIVERY.c.priority == NORMAL_PRIORITY,
    DELIVERY.c.due_at <= sa.bindparam("now"),
)
# Whose worker has stopped, and nobody has taken it over.
_OLDEST_LEFT: Final = sa.select(sa.func.min(DELIVERY.c.lease_until)).where(
    DELIVERY.c.lease_until <= sa.bindparam("now")
)
_ENDED: Final = sa.select(DELIVERY.c.id).where(
    DELIVERY.c.status == sa.bindparam("wanted"), DELIVERY.c.finished_at >= sa.bindparam("since")
)
_WAITING: Final = sa.select(DELIVERY.c.id).where(DELIVERY.c.status.in_(UNDERWAY))


@dataclass(frozen=True, slots=True, kw_only=True)
class Vitals:
    """What is true at ``now``, the database's time; moments are naive UTC.

    - ``oldest`` is since when the longest waiting message could have left. What waits for its
      ``send_at``, or for its next attempt, is not late.
    - ``waiting`` are counted up to ``MOST``; ``sent`` up to that or as far as it decides whether
      the ``failed`` ones are many. Both ended within the last hour.
    - ``mail_since_probe`` says whether the server has taken mail since the last probe.
    - ``here`` is how many processes deliver.
    """

    now: datetime
    oldest: datetime | None
    waiting: int
    sent: int
    failed: int
    broken: breaker.Open | None
    probe: probes.Probe | None
    mail_since_probe: bool
    here: int

    @property
    def late(self) -> timedelta:
        """How long the longest waiting message waits."""
        return self.now - self.oldest if self.oldest else timedelta(0)


def take(connection: sa.Connection, settings: MessagingSettings, relay: Relay) -> Vitals:
    """How mail to ``relay`` is doing."""
    now = Time().look(connection)
    failed = _ended(connection, Status.FAILED, now - LATELY, _decisive(settings))
    probe = probes.read(connection, relay)
    return Vitals(
        now=now,
        oldest=oldest(connection, now),
        waiting=_count(connection, _WAITING.limit(MOST)),
        sent=_ended(connection, Status.SENT, now - LATELY, failed * _decisive(settings)),
        failed=failed,
        broken=breaker.read(connection, relay),
        probe=probe,
        mail_since_probe=probe is not None and sent_since(connection, probe.at),
        here=sum(process.here for process in presence.heard_of(connection)),
    )


def oldest(connection: sa.Connection, now: datetime) -> datetime | None:
    """Since when the longest waiting message could have left."""
    due = [connection.scalar(_OLDEST_DUE, {"wanted": word, "now": now}) for word in OPEN]
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
