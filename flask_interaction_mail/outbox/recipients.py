"""What became of each recipient, for those who read it.

A recipient's row is written only where their fate may differ from that of others. What the server
has accepted for everybody with one reply has status and reply in its delivery row alone.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Final

import sqlalchemy as sa

from ..storage.tables import DELIVERY, RECIPIENT
from ..values import OPEN, RecipientVerdict, Status

_SHARED: Final = sa.and_(
    DELIVERY.c.status == Status.SENT, sa.or_(*(RECIPIENT.c.status == status for status in OPEN))
)
# What delivery made of it, whatever came back since.
OWN_STATUS: Final = sa.case((_SHARED, DELIVERY.c.status), else_=RECIPIENT.c.status)
# Also of a message that is still open a report may come; it shows once it has left.
_SAID: Final = sa.and_(OWN_STATUS == Status.SENT, RECIPIENT.c.returned.is_not(None))
STATUS: Final = sa.case((_SAID, RECIPIENT.c.returned), else_=OWN_STATUS)
# Where the server said nothing new, its last reply stays.
REPLY: Final = sa.case(
    (_SHARED, sa.func.coalesce(DELIVERY.c.reply, RECIPIENT.c.reply)), else_=RECIPIENT.c.reply
)
_WITH_DELIVERY: Final = RECIPIENT.join(DELIVERY, DELIVERY.c.id == RECIPIENT.c.message_id)


def recipients_of(
    connection: sa.Connection, ids: Iterable[uuid.UUID]
) -> dict[uuid.UUID, tuple[RecipientVerdict, ...]]:
    """The recipients of each of these messages, in their order."""
    found: dict[uuid.UUID, list[RecipientVerdict]] = {}
    columns = RECIPIENT.c
    for row in connection.execute(
        sa.select(
            columns.message_id,
            columns.address,
            columns.name,
            columns.field,
            columns.digest_id,
            columns.report,
            STATUS.label("status"),
            REPLY.label("reply"),
        )
        .select_from(_WITH_DELIVERY)
        .where(columns.message_id.in_(list(ids)))
        .order_by(columns.message_id, columns.position)
    ):
        found.setdefault(row.message_id, []).append(
            RecipientVerdict(
                address=row.address,
                name=row.name,
                field=row.field,
                status=Status(row.status),
                reply=row.reply,
                digest=row.digest_id,
                report=row.report,
            )
        )
    return {id: tuple(verdicts) for id, verdicts in found.items()}
