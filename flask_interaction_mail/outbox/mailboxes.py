"""How far the mailbox with returned mail was read: by one of all workers, each message once.

Who wants to read takes a lease on the mailbox's row. The place is a UID, which counts for one
UIDVALIDITY (RFC 3501 §2.3.1.1); it is written with the lease's fence when everything up to there is
done, so that after a crash a part is looked at again, and nothing is left out. Functions work on
the connection given; its owner commits.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from ..errors import TransportError
from ..settings.mailbox import Mailbox
from ..storage.tables import MAILBOX
from .conditions import tellable
from .returned import Outcome

LEASE: Final = timedelta(minutes=5)  # longer than any step takes
_LONGEST_PAUSE: Final = timedelta(hours=1)  # while it cannot be read
_KEPT: Final = timedelta(days=180)  # of a mailbox that is in no settings any more

Counts = Mapping[Outcome, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A mailbox as its row has it; moments are naive UTC.

    ``looked_at`` is when it was last read to its end, ``failed_since`` since when it cannot be
    read, with the last ``trouble`` and its ``fault``. ``last`` counts what came of the last look
    that found anything, ``total`` of all.
    """

    fence: int
    lease_until: datetime | None
    due_at: datetime
    looked_at: datetime | None
    uid_validity: int | None
    uid: int
    failed_since: datetime | None
    failures: int
    fault: str | None
    trouble: str | None
    last: Counts
    total: Counts

    def is_read(self, now: datetime) -> bool:
        """Whether a worker reads it at this moment."""
        return self.lease_until is not None and self.lease_until > now


class Lease(NamedTuple):
    """The right to read the mailbox of the row ``name``, until another lease has a later fence."""

    name: str
    fence: int


def name_of(mailbox: Mailbox) -> str:
    """The row of ``mailbox``; another one where another folder is read."""
    where = (mailbox.server.lower(), mailbox.port, mailbox.login, mailbox.folder)
    return hashlib.sha256(repr(where).encode()).hexdigest()


def read(connection: sa.Connection, name: str) -> Place | None:
    """The row ``name``; None before the first look."""
    row = connection.execute(sa.select(MAILBOX).where(MAILBOX.c.name == name)).first()
    if row is None:
        return None
    told: dict[str, dict[str, int]] = json.loads(row.counts)
    values = {name: value for name, value in row._mapping.items() if name not in ("name", "counts")}
    return Place(**values, last=_known(told["last"]), total=_known(told["total"]))


def add(connection: sa.Connection, name: str, now: datetime) -> None:
    """Make the row, due at once; raises IntegrityError if another worker has made it meanwhile."""
    values = {"name": name, "fence": 0, "due_at": now, "uid": 0, "failures": 0}
    connection.execute(sa.insert(MAILBOX).values(**values, counts=_written({}, {})))


def claim(connection: sa.Connection, name: str, now: datetime, *, due: bool) -> Lease | None:
    """Take the lease if nobody has it, and if a look is ``due`` where that counts."""
    free = sa.or_(MAILBOX.c.lease_until.is_(None), MAILBOX.c.lease_until <= now)
    ready = [MAILBOX.c.due_at <= now] if due else []
    taken = connection.execute(
        sa.update(MAILBOX)
        .where(MAILBOX.c.name == name, free, *ready)
        .values(fence=MAILBOX.c.fence + 1, lease_until=now + LEASE)
    )
    if not taken.rowcount:
        return None
    fence = sa.select(MAILBOX.c.fence).where(MAILBOX.c.name == name)
    return Lease(name, connection.execute(fence).scalar_one())


def renew(connection: sa.Connection, lease: Lease, now: datetime) -> bool:
    """Keep the lease; False if another worker has it by now."""
    return _update(connection, lease, lease_until=now + LEASE)


def advance(
    connection: sa.Connection, lease: Lease, validity: int, uid: int, now: datetime
) -> bool:
    """Write down that all up to ``uid`` is done, and keep the lease; False as ``renew``."""
    values = {"uid_validity": validity, "uid": uid, "lease_until": now + LEASE}
    return _update(connection, lease, **values)


def finish(
    connection: sa.Connection,
    lease: Lease,
    counts: Counts,
    *,
    trouble: str | None,
    now: datetime,
    every: timedelta,
) -> None:
    """End the lease: the mailbox was read to its end, with ``counts``.

    ``trouble`` is why noted reports could not be moved, if so.
    """
    told = tellable(trouble) if trouble else None
    values = {"looked_at": now, "failed_since": None, "failures": 0, "fault": None}
    _end(connection, lease, counts, due_at=now + every, trouble=told, **values)


def fail(
    connection: sa.Connection,
    lease: Lease,
    counts: Counts,
    error: TransportError,
    *,
    now: datetime,
    every: timedelta,
) -> None:
    """End the lease: it could not be read to its end. After each failure the pause is longer."""
    place = read(connection, lease.name)
    failures = place.failures + 1 if place else 1
    pause = min(every * 2 ** min(failures - 1, 10), max(every, _LONGEST_PAUSE))
    _end(
        connection,
        lease,
        counts,
        due_at=now + pause,
        failed_since=(place and place.failed_since) or now,
        failures=failures,
        fault=error.fault,
        trouble=tellable(str(error)),
    )


def give_back(connection: sa.Connection, lease: Lease) -> None:
    """End the lease; another worker may begin at once."""
    _update(connection, lease, lease_until=None)


def all_due(connection: sa.Connection, now: datetime) -> None:
    """Have every mailbox be read as soon as somebody looks: the settings have changed."""
    connection.execute(sa.update(MAILBOX).where(MAILBOX.c.due_at > now).values(due_at=now))


def purge(connection: sa.Connection, now: datetime) -> None:
    """Remove the rows of mailboxes that were not read for half a year."""
    connection.execute(sa.delete(MAILBOX).where(MAILBOX.c.due_at < now - _KEPT))


def _end(connection: sa.Connection, lease: Lease, counts: Counts, **values: object) -> None:
    place = read(connection, lease.name)
    if place is None:
        return
    found = any(counts.values())
    total = {word: place.total.get(word, 0) + counts.get(word, 0) for word in Outcome}
    written = _written(counts if found else place.last, total)
    _update(connection, lease, lease_until=None, counts=written, **values)


def _update(connection: sa.Connection, lease: Lease, **values: Any) -> bool:
    mine = sa.update(MAILBOX).where(MAILBOX.c.name == lease.name, MAILBOX.c.fence == lease.fence)
    return connection.execute(mine.values(**values)).rowcount == 1


def _known(counts: Mapping[str, int]) -> Counts:
    return {word: counts[word] for word in Outcome if counts.get(word)}


def _written(last: Counts, total: Counts) -> str:
    return json.dumps({"last": dict(last), "total": dict(total)})
