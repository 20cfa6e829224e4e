"""Which messages had a key, and whether it may be used again. Nothing here writes.

A message that was cancelled, refused, expired or suppressed, and never left, frees its key. It has
left if the server accepted a recipient, or if nobody knows: an attempt was ambiguous, its worker
stopped in the middle of it, or it is in a digest that is not done.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from ..outcome import Result
from ..storage.tables import ATTEMPT, DELIVERY, MESSAGE, OUTBOX, RECIPIENT
from ..values import Status
from .in_digest import PARTLY_IN_DIGEST

_OVER: Final = (Status.FAILED, Status.SUPPRESSED, Status.CANCELLED)  # without having been sent
_LEFT: Final = sa.or_(
    DELIVERY.c.lost_leases > 0,
    PARTLY_IN_DIGEST,
    sa.exists().where(RECIPIENT.c.message_id == MESSAGE.c.id, RECIPIENT.c.status == Status.SENT),
    sa.exists().where(ATTEMPT.c.message_id == MESSAGE.c.id, ATTEMPT.c.result == Result.AMBIGUOUS),
)
_OF_KEYS: Final = (
    sa.select(
        MESSAGE.c.id,
        MESSAGE.c.key,
        MESSAGE.c.key_number,
        sa.or_(DELIVERY.c.status.not_in(_OVER), _LEFT).label("counts"),
    )
    .select_from(OUTBOX)
    .where(MESSAGE.c.key.in_(sa.bindparam("keys", expanding=True)))
    .order_by(MESSAGE.c.key_number.desc())
)


class Use(NamedTuple):
    """What a key was used for: the ids of its messages, newest first.

    ``taken_by`` is the newest that waits or has left, None where the key is free; ``next`` is
    the number of the next message.
    """

    ids: Sequence[uuid.UUID]
    taken_by: uuid.UUID | None
    next: int


def use_of(connection: sa.Connection, key: str) -> Use:
    """The messages that are stored with ``key``."""
    return uses_of(connection, [key])[key]


def uses_of(connection: sa.Connection, keys: Sequence[str]) -> dict[str, Use]:
    """The messages that are stored with each of ``keys``."""
    found: dict[str, list[sa.Row[Any]]] = {key: [] for key in keys}
    for row in connection.execute(_OF_KEYS, {"keys": keys}) if keys else ():
        if row.key in found:  # MariaDB finds others that differ in case or accents alone
            found[row.key].append(row)
    return {key: _use(rows) for key, rows in found.items()}


def _use(rows: Sequence[sa.Row[Any]]) -> Use:
    return Use(
        ids=[row.id for row in rows],
        taken_by=next((row.id for row in rows if row.counts), None),
        next=rows[0].key_number + 1 if rows else 0,
    )
