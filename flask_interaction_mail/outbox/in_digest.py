"""Which messages are in a digest that is not done, in SQL.

A digest is on its way: what is in it can be neither cancelled nor released by itself.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from ..storage.tables import DELIVERY, RECIPIENT
from ..values import Reason, Status

# Some recipient gets it in a digest.
PARTLY_IN_DIGEST: Final = (
    sa.exists()
    .where(
        RECIPIENT.c.message_id == DELIVERY.c.id,
        RECIPIENT.c.status == Status.HELD,
        RECIPIENT.c.digest_id.is_not(None),
    )
    .correlate(DELIVERY)
)
# All that is left of it is in digests: it waits for no moment of its own.
IN_DIGEST: Final = sa.and_(
    DELIVERY.c.status == Status.HELD,
    DELIVERY.c.reason.is_not_distinct_from(Reason.RATE),
    DELIVERY.c.due_at.is_(None),
)
