"""The last probe of each server: a try without mail, made by one of all workers.

Its row says what came of it and when the next one may begin. Functions work on the connection
given; its owner commits.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from ..errors import TransportError
from ..settings.relay import Relay
from ..storage.check_rows import upsert
from ..storage.tables import CHECK
from . import breaker

_ROWS: Final = uuid.UUID("c1c8a0b4-8f55-4b4e-9a6e-3d0c7f0e5a92")
_KIND: Final = "probe"
_PASSED, _FAILED, _NONE = "passed", "failed", "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What the last probe came to, at a moment in naive UTC.

    ``why`` is what stood in the way, None where it passed. ``expires`` is when the certificate
    ends that a probe saw last.
    """

    at: datetime
    why: str | None
    expires: datetime | None


def read(connection: sa.Connection, relay: Relay) -> Probe | None:
    """The last probe of ``relay``; None before the first."""
    query = sa.select(CHECK).where(CHECK.c.id == _row(relay), CHECK.c.verdict != _NONE)
    row = connection.execute(query).first()
    if row is None:
        return None
    told: dict[str, Any] = json.loads(row.steps)
    expires = told["expires"]
    return Probe(
        at=row.at, why=told["why"], expires=datetime.fromisoformat(expires) if expires else None
    )


def begin(
    connection: sa.Connection, relay: Relay, *, every: timedelta, worker: str, now: datetime
) -> bool:
    """Whether the caller may make the probe that is due: one of all workers, once in ``every``.

    The first one comes when ``every`` is over.
    """
    due = sa.update(CHECK).where(CHECK.c.id == _row(relay), CHECK.c.until <= now)
    if connection.execute(due.values(until=now + every)).rowcount:
        return True
    if connection.scalar(sa.select(CHECK.c.id).where(CHECK.c.id == _row(relay))) is None:
        _write(connection, relay, worker, now, until=now + every, verdict=_NONE)
    return False


def passed(
    connection: sa.Connection,
    relay: Relay,
    expires: datetime | None,
    *,
    every: timedelta,
    worker: str,
    now: datetime,
) -> None:
    """Write down that ``relay`` works, with a certificate until ``expires``."""
    until = now + every
    _write(connection, relay, worker, now, until=until, verdict=_PASSED, expires=expires)


def failed(
    connection: sa.Connection,
    relay: Relay,
    error: TransportError,
    *,
    known: Probe | None,
    worker: str,
    now: datetime,
) -> None:
    """Write down that ``relay`` does not work; the next probe comes as soon as the breaker's.

    ``known`` is the probe before, of which the certificate is kept.
    """
    _write(
        connection,
        relay,
        worker,
        now,
        until=now + breaker.pause(error),
        verdict=_FAILED,
        why=str(error),
        expires=known.expires if known else None,
    )


def _write(
    connection: sa.Connection,
    relay: Relay,
    worker: str,
    now: datetime,
    *,
    until: datetime,
    verdict: str,
    why: str | None = None,
    expires: datetime | None = None,
) -> None:
    steps = {"why": why, "expires": expires.isoformat() if expires else None}
    upsert(
        connection,
        _row(relay),
        kind=_KIND,
        at=now,
        by=worker,
        fingerprint=breaker.fingerprint(relay),
        verdict=verdict,
        steps=json.dumps(steps),
        until=until,
    )


def _row(relay: Relay) -> uuid.UUID:
    return uuid.uuid5(_ROWS, breaker.fingerprint(relay))
