"""How mail is doing, in a few queries that cost the same with a million messages.

Functions work on the connection given and only read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from ..settings.model import MessagingSettings, mailbox_of
from ..settings.relay import Relay
from ..storage.tables import DELIVERY
from ..values import OPEN, UNDERWAY, Priority, Status
from . import breaker, lanes, lost, mailboxes, presence, probes
from .claim import Time
from .conditions import MOST, Vitals
from .mailboxes import Place

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


def take(connection: sa.Connection, settings: MessagingSettings, relays: Sequence[Relay]) -> Vitals:
    """How mail to ``relays`` is doing."""
    now = Time().look(connection)
    failed = _ended(connection, Status.FAILED, now - LATELY, _decisive(settings))
    broken = breaker.read_all(connection, relays)
    several = len(relays) > 1
    # Without probes what the last one found would be true for ever.
    known = {
        relay.name: probe
        for relay in relays
        if settings.probe_every and (probe := probes.read(connection, relay))
    }
    silent = {
        name: probe.why
        for name, probe in known.items()
        if probe.why and not sent_since(connection, probe.at, by=name if several else None)
    }
    unread = _unread(connection, settings)
    return Vitals(
        now=now,
        oldest=oldest(connection, now),
        waiting=_count(connection, _WAITING.limit(MOST)),
        sent=_ended(connection, Status.SENT, now - LATELY, failed * _decisive(settings)),
        failed=failed,
        trouble=_told({name: found.why for name, found in broken.items()}, several=several),
        probe_failed=_told(silent, several=several),
        expires=min((one.expires for one in known.values() if one.expires), default=None),
        lost=lost.count(connection, now, 1),
        uncarried=lanes.uncarried(connection, relays, now, MOST),
        troubled=tuple({**broken, **silent}),
        relays=tuple(relay.name for relay in relays),
        unread=unread.trouble if unread else None,
        unread_since=unread.failed_since if unread else None,
        here=sum(process.here for process in presence.heard_of(connection)),
    )


def _unread(connection: sa.Connection, settings: MessagingSettings) -> Place | None:
    """The mailbox with returned mail, if the last look at it failed."""
    mailbox = mailbox_of(settings)
    place = mailboxes.read(connection, mailboxes.name_of(mailbox)) if mailbox else None
    return place if place is not None and place.failed_since is not None else None


def oldest(connection: sa.Connection, now: datetime) -> datetime | None:
    """Since when the longest waiting message could have left."""
    due = (
        connection.scalar(_OLDEST_DUE, {"wanted": word, "rank": priority.rank, "now": now})
        for word in OPEN
        for priority in Priority
    )
    found = [*due, connection.scalar(_OLDEST_LEFT, {"now": now})]
    return min(filter(None, found), default=None)


def sent_since(connection: sa.Connection, moment: datetime, *, by: str | None = None) -> bool:
    """Whether a server has taken a message since ``moment``; that of the relay ``by``, if any."""
    query = _ENDED if by is None else _ENDED.where(DELIVERY.c.relay == by)
    parameters = {"wanted": Status.SENT, "since": moment}
    return connection.execute(query.limit(1), parameters).first() is not None


def _told(reasons: Mapping[str, str], *, several: bool) -> str | None:
    """One text of the reason of each relay, None without any."""
    texts = [f"{name}: {why}" if several else why for name, why in reasons.items()]
    return " ".join(texts) or None


def _decisive(settings: MessagingSettings) -> int:
    """With how many sent for each failed one the failures are too few."""
    return 100 // (settings.alert_failures or 100) + 1


def _ended(connection: sa.Connection, status: Status, since: datetime, most: int) -> int:
    query = _ENDED.limit(max(MOST, most))
    return _count(connection, query, wanted=status, since=since)


def _count(connection: sa.Connection, query: sa.Select[Any], **parameters: object) -> int:
    counted = sa.select(sa.func.count()).select_from(query.subquery())
    return connection.scalar(counted, parameters) or 0
