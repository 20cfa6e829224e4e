"""The tables as typed classes, for hosts that read them.

A message can be asked for what becomes of it, too: ``MessageRow.status`` and others are read from
its ``DeliveryRow``, which is faster to search. ``RecipientRow.status`` and ``reply`` are what
became of the recipient, wherever that is written. These are for reading alone.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.orm import column_property

from .outbox.recipients import REPLY, STATUS
from .storage.tables import (
    DELIVERY,
    MESSAGE,
    MOVED,
    RECIPIENT,
    AlertRow,
    AttemptRow,
    CheckRow,
    DeliveryRow,
    MessageRow,
    MetadataRow,
    RecipientRow,
    SettingsRow,
)

__all__ = [
    "AlertRow",
    "AttemptRow",
    "CheckRow",
    "DeliveryRow",
    "MessageRow",
    "MetadataRow",
    "RecipientRow",
    "SettingsRow",
]


def _add(row: type, name: str, value: sa.ColumnElement[object], id: sa.Column[object]) -> None:
    """Have ``row.name`` read ``value`` of the message that is named in its column ``id``."""
    theirs = sa.select(value).where(DELIVERY.c.id == id).correlate(id.table).scalar_subquery()
    # Always true: it names the table of ``row`` where nothing else in a query does.
    read = sa.case((id.is_not(None), theirs))
    sa.inspect(row).add_property(name, column_property(read))


for _name in MOVED:
    _add(MessageRow, _name, DELIVERY.c[_name], MESSAGE.c.id)
for _name, _value in (("status", STATUS), ("reply", REPLY)):
    _add(RecipientRow, _name, _value, RECIPIENT.c.message_id)
