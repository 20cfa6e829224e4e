"""Rows of ``interaction_mail_check`` that all workers share, such as the state of the breaker.

Functions work on the given connection; its owner commits.
"""

from __future__ import annotations

import uuid
from typing import Any

import sqlalchemy as sa

from .tables import CHECK


def upsert(connection: sa.Connection, id: uuid.UUID, **values: Any) -> None:
    """Update the row ``id`` with ``values``, or insert it if there is none."""
    update = sa.update(CHECK).where(CHECK.c.id == id).values(**values)
    if connection.execute(update).rowcount:
        return
    # Two workers may insert it at once: either row says the same.
    if not insert(connection, id, **values):
        connection.execute(update)


def insert(connection: sa.Connection, id: uuid.UUID, **values: Any) -> bool:
    """Insert the row ``id`` with ``values``; False if there is one, which another has committed."""
    try:
        with connection.begin_nested():
            connection.execute(sa.insert(CHECK).values(id=id, **values))
    except sa.exc.IntegrityError:
        return False
    return True
