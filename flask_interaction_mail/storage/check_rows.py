"""Rows of the table of checks that all workers share: what is known now, and not what was tried.

Functions work on the connection given; its owner commits.
"""

from __future__ import annotations

import uuid
from typing import Any

import sqlalchemy as sa

from .tables import CHECK


def put(connection: sa.Connection, row: uuid.UUID, **values: Any) -> None:
    """Write ``values`` over the row ``row``, which is added if there is none."""
    change = sa.update(CHECK).where(CHECK.c.id == row).values(**values)
    if connection.execute(change).rowcount:
        return
    # Two workers may add it at once: either row says the same.
    try:
        with connection.begin_nested():
            connection.execute(sa.insert(CHECK).values(id=row, **values))
    except sa.exc.IntegrityError:
        connection.execute(change)
