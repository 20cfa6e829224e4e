"""Changes claimed messages while the claim is in force; how their rows are found and locked."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any

import sqlalchemy as sa

from ..storage.json_rows import joined_update, json_table, rows_parameter
from ..storage.tables import DELIVERY

_WAYS = ("seqscan", "bitmapscan", "hashjoin", "mergejoin")
# Written out: parameters would be bound anew in each transaction.
_BY_INDEX = sa.text(
    "SELECT " + ", ".join(f"set_config('enable_{way}', 'off', true)" for way in _WAYS)
)


def by_index(connection: sa.Connection) -> None:
    """Find rows by index for the rest of this transaction, whatever the statistics say.

    Those of PostgreSQL are out of date for tables that fill and empty within minutes. A plan that
    was made for an empty outbox reads the whole of a long one for each batch.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(_BY_INDEX)


def lock_rows_only(connection: sa.Connection) -> None:
    """Lock no gaps between rows in this transaction, of which this is the first statement.

    On MariaDB such locks would stop the host's inserts, and lead to deadlocks.
    """
    if connection.dialect.name in ("mysql", "mariadb"):
        connection.execute(sa.text("SET TRANSACTION ISOLATION LEVEL READ COMMITTED"))


def _rows_first(query: sa.Select[Any]) -> sa.Select[Any]:
    """``query`` as ``json_rows.joined_update`` has MySQL and MariaDB find rows."""
    for dialect in ("mysql", "mariadb"):
        query = query.prefix_with("STRAIGHT_JOIN", dialect=dialect).with_hint(
            DELIVERY, "FORCE INDEX (PRIMARY)", dialect
        )
    return query


_WANTED = json_table(DELIVERY.c.id)
_LOCK = _rows_first(
    sa.select(DELIVERY.c.id, DELIVERY.c.status)
    .join_from(_WANTED, DELIVERY, DELIVERY.c.id == _WANTED.c.id)
    .with_for_update()
)


def lock_messages(connection: sa.Connection, ids: Iterable[uuid.UUID]) -> Sequence[Any]:
    """Wait until nobody else writes the messages ``ids``, and keep others out until the commit.

    Gives ``id`` and ``status`` of each, as they are now. All who lock several messages go by their
    ids, and lock a message before its recipients, so that nobody waits in a circle.
    """
    by_index(connection)
    return connection.execute(_LOCK, rows_parameter((id,) for id in sorted(ids))).all()


class Overtaken(Exception):
    """A change that was to be made at once with another found something else than expected."""


class Change:
    """An update of claimed messages that leaves out those whose claim was lost meanwhile.

    ``rows`` begin with id and fence; the ``values`` to set may refer to their other columns.
    ``beside`` updates one row of another table in the same statement.
    """

    def __init__(
        self, rows: sa.TableValuedAlias, *, beside: sa.Update | None = None, **values: Any
    ) -> None:
        # The fencing token: after another claim the message has a higher one.
        ours = sa.and_(
            DELIVERY.c.id == rows.c.id,
            DELIVERY.c.fence == rows.c.fence,
            DELIVERY.c.lease_until.is_not(None),  # NULL unless a worker has it
        )
        found = sa.select(DELIVERY.c.id).join_from(rows, DELIVERY, ours).with_for_update()
        self._find = _rows_first(found)
        self._update = joined_update(DELIVERY).where(ours).values(**values)
        self._update_and_tell = self._update.returning(DELIVERY.c.id)
        if beside is not None:
            other = beside.returning(sa.literal(1).label("done")).cte("beside")
            done = sa.select(sa.func.count(other.c.done)).scalar_subquery()
            self._update_both = self._update.add_cte(other).returning(DELIVERY.c.id, done)

    def apply(
        self,
        connection: sa.Connection,
        rows: Iterable[Sequence[object]],
        beside: Mapping[str, object] | None = None,
        **others: object,
    ) -> set[uuid.UUID]:
        """Change those of ``rows`` whose claim is in force; gives their ids.

        With parameters for the row ``beside`` them, which only PostgreSQL can do, change all.

        Raises:
            Overtaken: a claim was lost, or the row beside is gone. Roll back: some may be done.
        """
        if not (changed := sorted(rows, key=itemgetter(0))):  # by id, as everybody locks
            return set()
        by_index(connection)
        parameters = {**rows_parameter(changed), **others}
        if beside is not None:
            found = connection.execute(self._update_both, {**parameters, **beside}).all()
            if len(found) < len(changed) or not all(done for _, done in found):
                raise Overtaken
            return {id for id, _ in found}
        if connection.dialect.update_returning:
            return set(connection.scalars(self._update_and_tell, parameters))
        ours = set(connection.scalars(self._find, parameters))  # MySQL and MariaDB
        connection.execute(self._update, parameters)
        return ours
