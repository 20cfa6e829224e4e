"""How many recipients and connections a server takes at once, learned when one was too many.

Each limit is a row that all workers share, by server and port. It counts for a while, and then the
server is tried anew. Functions work on the connection given; its owner commits.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import sqlalchemy as sa

from ..settings.relay import Relay
from ..storage.check_rows import upsert
from ..storage.tables import CHECK


@dataclass(frozen=True, slots=True)
class ServerLimit:
    """A limit of a server; ``rows`` is the namespace of its rows, ``what`` names its number."""

    kind: str
    what: str
    rows: uuid.UUID
    counts_for: timedelta

    def row(self, relay: Relay) -> uuid.UUID:
        """The id of its row for ``relay``."""
        return uuid.uuid5(self.rows, _place(relay))

    def told(self, steps: str | None) -> int | None:
        """The number that was written down; None for nothing."""
        return None if steps is None else int(json.loads(steps)[self.what])


RECIPIENTS: Final = ServerLimit(
    "room", "recipients", uuid.UUID("6a3a3c0e-6d5b-4a35-9a0f-0c7b1f6e8d12"), timedelta(days=1)
)
CONNECTIONS: Final = ServerLimit(
    "connections",
    "connections",
    uuid.UUID("0d6f9b52-3f0a-4d0c-8a8e-5b1b6a7d2c94"),
    timedelta(hours=1),
)
# One statement with parameters for both, as every worker asks before a claim.
_KNOWN: Final = sa.select(CHECK.c.id, CHECK.c.steps).where(
    sa.or_(
        CHECK.c.id == sa.bindparam(RECIPIENTS.what), CHECK.c.id == sa.bindparam(CONNECTIONS.what)
    ),
    CHECK.c.until > sa.bindparam("now"),
)


class Known(NamedTuple):
    """How many ``recipients`` a server takes in one transaction, and ``connections`` from us.

    None is not known.
    """

    recipients: int | None
    connections: int | None


def read(connection: sa.Connection, relay: Relay, now: datetime) -> Known:
    """What is known of ``relay``."""
    limits = (RECIPIENTS, CONNECTIONS)
    rows = {limit.what: limit.row(relay) for limit in limits}
    found = {row.id: row.steps for row in connection.execute(_KNOWN, {**rows, "now": now})}
    return Known(*(limit.told(found.get(rows[limit.what])) for limit in limits))


def learn(
    connection: sa.Connection,
    relay: Relay,
    limit: ServerLimit,
    most: int,
    *,
    worker: str,
    now: datetime,
) -> None:
    """Write down that ``relay`` takes ``most``, for as long as the ``limit`` counts."""
    upsert(
        connection,
        limit.row(relay),
        kind=limit.kind,
        at=now,
        by=worker,
        fingerprint=hashlib.sha256(_place(relay).encode()).hexdigest(),
        verdict="known",
        steps=json.dumps({limit.what: most}),
        until=now + limit.counts_for,
    )


def _place(relay: Relay) -> str:
    return str(relay).lower()
