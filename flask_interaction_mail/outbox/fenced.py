"""Changes of claimed messages by whoever still has the claim, and how their rows are found."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from ..storage.json_rows import joined_update, rows_parameter
from ..storage.tables import MESSAGE

_BY_INDEX = sa.select(
    *(
        sa.func.set_config(f"enable_{way}", "off", True)
        for way in ("seqscan", "bitmapscan", "hashjoin", "mergejoin")
    )
)


def by_index(connection: sa.Connection) -> None:
    """For the rest of this transaction: find rows by index, whatever the statistics say.

    PostgreSQL's are late on tables that fill and empty within minutes, and a plan made for an
    empty outbox reads the whole of a long one for each batch.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(_BY_INDEX)


def lock_rows_only(connection: sa.Connection) -> None:
    """For this transaction, whose first statement it is: no locks on what is between rows.

    MariaDB's would stop the host's inserts, and lead to deadlocks.
    """
    if connection.dialect.name in ("mysql", "mariadb"):
        connection.execute(sa.text("SET TRANSACTION ISOLATION LEVEL READ COMMITTED"))


class ClaimsLost(Exception):
    """Another worker has taken over what was claimed."""


class Change:
    """A change of claimed messages, and of none whose claim was lost meanwhile.

    ``rows`` begin with id and fence; the ``values`` to set may refer to what follows.
    """

    def __init__(self, rows: sa.TableValuedAlias, **values: Any) -> None:
        # The fencing token: a claim that was lost meanwhile has another one.
        ours = sa.and_(
            MESSAGE.c.id == rows.c.id,
            MESSAGE.c.fence == rows.c.fence,
            MESSAGE.c.lease_until.is_not(None),  # NULL unless a worker has it
        )
        found = sa.select(MESSAGE.c.id).join_from(rows, MESSAGE, ours).with_for_update()
        # As json_rows.joined_update does it: this is for MySQL and MariaDB only.
        self._find = found.prefix_with("STRAIGHT_JOIN").with_hint(MESSAGE, "FORCE INDEX (PRIMARY)")
        self._update = joined_update(MESSAGE).where(ours).values(**values)
        self._update_and_tell = self._update.returning(MESSAGE.c.id)

    def apply(
        self, connection: sa.Connection, rows: Iterable[Sequence[object]], **others: object
    ) -> set[uuid.UUID]:
        """Change those of ``rows`` whose claim is in force; gives their ids."""
        if not (changed := list(rows)):
            return set()
        by_index(connection)
        parameters = {**rows_parameter(changed), **others}
        if connection.dialect.update_returning:
            return set(connection.scalars(self._update_and_tell, parameters))
        ours = set(connection.scalars(self._find, parameters))  # MySQL and MariaDB
        connection.execute(self._update, parameters)
        return ours

    def apply_to_all(
        self, connection: sa.Connection, rows: Sequence[Sequence[object]], **others: object
    ) -> None:
        """Change all of ``rows``, and fetch none to learn which they were.

        Raises:
            ClaimsLost: some claims are not in force; the transaction is of no use then.
        """
        if not rows:
            return
        by_index(connection)
        result = connection.execute(self._update, {**rows_parameter(rows), **others})
        if result.rowcount != len(rows):
            raise ClaimsLost(f"{result.rowcount} of {len(rows)} claims are in force")
