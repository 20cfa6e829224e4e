"""Addresses that do not exist any more, as far as reports say so of more than one message.

Functions work on the given connection; its owner commits. Times are naive UTC.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import sqlalchemy as sa

from ..storage.tables import DEAD, MESSAGE

APART: Final = timedelta(days=1)  # between two messages that came back; one may be an accident
_MOST: Final = 1000  # addresses that are looked at, those that came back last first


class Dead(NamedTuple):
    """An address, how many messages for it came back, and when the first and last were made."""

    address: str
    messages: int
    since: datetime
    last: datetime
    code: str


def note(connection: sa.Connection, id: uuid.UUID, dead: Mapping[str, str]) -> None:
    """A report about the message ``id`` says that these addresses do not exist, with this code."""
    if not dead:
        return
    created_at = sa.select(MESSAGE.c.created_at).where(MESSAGE.c.id == id)
    sent_at = connection.scalar(created_at)
    known = connection.scalars(sa.select(DEAD.c.address).where(DEAD.c.message_id == id)).all()
    rows = [
        {"message_id": id, "address": address, "sent_at": sent_at, "code": code}
        for address, code in {spelled(one): code for one, code in dead.items()}.items()
        if address not in known
    ]
    for row in rows:
        # MariaDB takes an address with accents for the one without, which is somebody else's.
        with suppress(sa.exc.IntegrityError), connection.begin_nested():
            connection.execute(sa.insert(DEAD), row)


def spelled(address: str) -> str:
    """How ``address`` is compared: whoever is meant by one spelling is meant by each."""
    return address.lower()


def read(connection: sa.Connection) -> dict[str, Dead]:
    """The addresses that do not exist, by their comparable spelling, in the order of these."""
    columns = DEAD.c
    first, last = sa.func.min(columns.sent_at), sa.func.max(columns.sent_at)
    rows = connection.execute(
        sa.select(columns.address, sa.func.count(), first, last, sa.func.max(columns.code))
        .group_by(columns.address, *_exactly(connection))
        .having(sa.func.count() > 1)
        .order_by(last.desc())
        .limit(_MOST)
    )
    found = (Dead(*row) for row in rows)
    # Times are compared here, as each database subtracts them in its own way.
    return {dead.address: dead for dead in sorted(found) if dead.last - dead.since >= APART}


def _exactly(connection: sa.Connection) -> Sequence[sa.ColumnElement[bytes]]:
    """What tells addresses apart that MariaDB takes for one: with accents, and without."""
    if connection.dialect.name not in ("mysql", "mariadb"):
        return ()
    return (sa.cast(DEAD.c.address, sa.LargeBinary),)


def mend(connection: sa.Connection, address: str) -> bool:
    """Forget what came back for ``address``; gives whether there was anything."""
    of_it = DEAD.c.address == spelled(address)
    return connection.execute(sa.delete(DEAD).where(of_it)).rowcount > 0
