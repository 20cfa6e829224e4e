"""All messages that match, in pieces, with what an export says of each. Nothing here writes.

A message is a row of plain values here, without an object for each recipient, so that a file of
many thousand lines takes seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from ..storage.json_rows import json_table, rows_parameter
from ..storage.tables import DELIVERY, MESSAGE, RECIPIENT
from . import listing
from .filters import Filters
from .messages import RELAY
from .recipients import REPLY, STATUS

BATCH = 1000  # messages that are read at once
_HEAD: Final = 2048  # bytes of a message, with From among its first fields
_BEGINNING: Final = sa.func.substr(MESSAGE.c.content, 1, _HEAD, type_=sa.LargeBinary())
_EXPORTED: Final = (
    DELIVERY.c.id,
    DELIVERY.c.created_at,
    DELIVERY.c.finished_at,
    DELIVERY.c.status,
    DELIVERY.c.reason,
    DELIVERY.c.detail,
    DELIVERY.c.attempts,
    MESSAGE.c.kind,
    MESSAGE.c.subject,
    MESSAGE.c.message_id,
    DELIVERY.c.provider_id,
    MESSAGE.c.sender,
    # Up to version 0.1 it stood there alone.
    sa.case((MESSAGE.c.sender.is_(None), _BEGINNING)).label("head"),
    RELAY,
)
# By place, because making ids of what is read would cost more than reading it.
_WANTED: Final = json_table(sa.column("place", sa.Integer()), RECIPIENT.c.message_id)
_RECIPIENTS: Final = (
    sa.select(
        _WANTED.c.place,
        RECIPIENT.c.field,
        RECIPIENT.c.name,
        RECIPIENT.c.address,
        STATUS.label("status"),
        REPLY.label("reply"),
    )
    .join_from(_WANTED, RECIPIENT, RECIPIENT.c.message_id == _WANTED.c.message_id)
    .join(DELIVERY, DELIVERY.c.id == RECIPIENT.c.message_id)
    .order_by(_WANTED.c.place, RECIPIENT.c.position)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Messages of an export, newest first; ``older`` is the place of the next piece, or "".

    ``recipients`` has field, name, address, status and reply of each one, for each row.
    """

    rows: Sequence[Any]
    recipients: Sequence[Sequence[Sequence[Any]]]
    older: str


def piece(connection: sa.Connection, filters: Filters) -> Piece:
    """The messages behind the place of ``filters``, up to ``BATCH`` of them."""
    found = listing.search(connection, filters, _EXPORTED, BATCH, listing.SECONDS)
    recipients: list[list[Any]] = [[] for _ in found.rows]
    wanted = rows_parameter((place, row.id) for place, row in enumerate(found.rows))
    for place, *recipient in connection.execute(_RECIPIENTS, wanted) if found.rows else ():
        recipients[place].append(recipient)
    return Piece(rows=found.rows, recipients=recipients, older=found.older)
