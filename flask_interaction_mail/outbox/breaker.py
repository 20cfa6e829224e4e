"""The circuit breaker: while a server is in trouble only a probe now and then talks to it.

Its state is a row that all workers share, for each server that was in trouble: workers with
overrides of their own may talk to another server. Functions work on the connection given; its
owner commits.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from ..errors import TransportError
from ..outcome import Stage
from ..settings.relay import SMTP, Relay
from ..storage.check_rows import upsert
from ..storage.tables import CHECK

_ROWS = uuid.UUID("b2a5f7ce-6f0e-4a55-8a3d-2f5fd1a7c9e4")
_KIND = "breaker"
# One statement with parameters, as every worker asks each second.
_OPEN = sa.select(CHECK.c.at, CHECK.c.until, CHECK.c.steps).where(
    CHECK.c.id == sa.bindparam("server"), CHECK.c.verdict == "open"
)
_ALL_OPEN = sa.select(CHECK.c.id, CHECK.c.at, CHECK.c.until, CHECK.c.steps).where(
    CHECK.c.kind == _KIND, CHECK.c.verdict == "open"
)
_CLOSE = sa.update(CHECK).values(verdict="closed", until=None)
PROBE_AFTER = timedelta(minutes=1)
# Servers lock an account after a few wrong passwords; this is seldom enough not to cause that.
PROBE_AFTER_REFUSED_LOGIN = timedelta(minutes=15)
_LONGEST = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """An open breaker: since when, until when (naive UTC), and why in plain words."""

    since: datetime
    until: datetime
    stage: str
    why: str


def read(connection: sa.Connection, relay: Relay) -> Open | None:
    """The breaker's state for ``relay``, None while it is closed."""
    row = connection.execute(_OPEN, {"server": _row(relay)}).first()
    return None if row is None else _open(row)


def read_all(connection: sa.Connection, relays: Sequence[Relay]) -> dict[str, Open]:
    """The breakers of ``relays`` that are open, by the names of these."""
    if len(relays) == 1:
        found = read(connection, relays[0])
        return {} if found is None else {relays[0].name: found}
    rows = {row.id: row for row in connection.execute(_ALL_OPEN)}
    ids = {relay.name: _row(relay) for relay in relays}
    return {name: _open(rows[id]) for name, id in ids.items() if id in rows}


def _open(row: Any) -> Open:
    told: dict[str, Any] = json.loads(row.steps)
    return Open(since=row.at, until=row.until, stage=told["stage"], why=told["why"])


def trip(
    connection: sa.Connection,
    relay: Relay,
    error: TransportError,
    *,
    worker: str,
    now: datetime,
) -> datetime:
    """Open the breaker because of ``error``, or keep it open after a probe that failed.

    Gives when the next probe may run. Whoever calls commits.
    """
    known = read(connection, relay)
    until = now + pause(error)
    upsert(
        connection,
        _row(relay),
        kind=_KIND,
        at=known.since if known else now,
        by=worker,
        fingerprint=fingerprint(relay),
        verdict="open",
        steps=json.dumps({"stage": error.stage, "why": str(error)}),
        until=until,
    )
    return until


def begin_probe(connection: sa.Connection, relay: Relay, now: datetime) -> bool:
    """Whether the caller may make the probe that is due: one of all workers, once a minute."""
    changed = connection.execute(
        sa.update(CHECK)
        .where(CHECK.c.id == _row(relay), CHECK.c.verdict == "open", CHECK.c.until <= now)
        .values(until=now + PROBE_AFTER)
    )
    return changed.rowcount == 1


def close(connection: sa.Connection, *relays: Relay) -> None:
    """Close the breakers of ``relays``: they work again, or were changed and may."""
    if relays:
        connection.execute(_CLOSE.where(CHECK.c.id.in_([_row(relay) for relay in relays])))


def pause(error: TransportError) -> timedelta:
    """How long to leave a server alone after ``error``: an hour at most, if it said how long."""
    if error.retry_after is not None:
        return max(PROBE_AFTER, min(timedelta(seconds=error.retry_after), _LONGEST))
    if error.stage in (Stage.TOKEN, Stage.AUTHENTICATION) and not error.transient:
        return PROBE_AFTER_REFUSED_LOGIN
    return PROBE_AFTER


def _row(relay: Relay) -> uuid.UUID:
    return uuid.uuid5(_ROWS, fingerprint(relay))


def fingerprint(relay: Relay) -> str:
    """64 hexadecimal digits, one for each server that can be in trouble of its own."""
    # Only what decides the conversation up to the first message; of the password only whether
    # there is one.
    facts: tuple[object, ...] = (
        relay.destination,
        relay.use_authentication,
        relay.helo,
        relay.secret is not None,
    )
    if relay.by_token:
        grant = relay.grant
        facts += (str(relay.sign_in), grant and (grant.token_url, grant.client_id, grant.scope))
    if relay.kind != SMTP:
        facts = (str(relay.kind), *facts)
    return hashlib.sha256(repr(facts).encode()).hexdigest()
