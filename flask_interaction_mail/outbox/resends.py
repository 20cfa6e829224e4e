"""Which messages were sent again, and whether a message may be.

A message is sent again only when nothing of it waits any more, or both copies could leave. Every
function works on the connection that it is given and leaves the commit to its owner.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from .. import clock
from ..errors import SentAgain, StillWaiting
from ..language import mark
from ..messages.intent import PURGED, Intent
from ..messages.message import Original
from ..messages.route import SOMEBODY
from ..storage.tables import DELIVERY, MESSAGE, OUTBOX
from ..values import ENDED, Status
from . import keys
from .in_digest import IN_DIGEST, PARTLY_IN_DIGEST

_OF: Final = (
    sa.select(MESSAGE.c.id, MESSAGE.c.created_at, MESSAGE.c.resent_by)
    .where(MESSAGE.c.resend_of == sa.bindparam("original"))
    .order_by(MESSAGE.c.created_at.desc(), MESSAGE.c.id.desc())
    .limit(20)
)
_WAITING: Final = mark("It is still waiting: release it or cancel it first.")
_ON_ITS_WAY: Final = mark(
    "The server has not answered yet, for this message or for the digest that it is in: "
    "look again later."
)


class Resend(NamedTuple):
    """A message that was made of another: when (naive UTC), and by whom where that is known."""

    id: uuid.UUID
    at: datetime
    by: str | None


def resends_of(connection: sa.Connection, id: uuid.UUID) -> tuple[Resend, ...]:
    """The latest twenty messages that were made of ``id``, newest first."""
    rows = connection.execute(_OF, {"original": id})
    return tuple(Resend(id=row.id, at=row.created_at, by=row.resent_by) for row in rows)


def original(connection: sa.Connection, id: uuid.UUID) -> Original:
    """What message ``id`` says, to whom, and who caused it.

    Raises:
        LookupError: there is no such message.
        ValueError: the stored intent is damaged, or its body has been purged.
    """
    columns = (MESSAGE.c.intent, MESSAGE.c.pair, MESSAGE.c.actor, MESSAGE.c.key)
    row = _row(connection, id, columns)
    if row.intent == PURGED:
        raise ValueError(
            mark(
                "The text of this message is gone: it was kept only for the time that "
                "INTERACTION_MAIL_BODY_RETENTION gives, or came through Flask-Mail."
            )
        )
    return Original(
        intent=Intent.from_json(row.intent),
        pair=row.pair,
        actor=row.actor,
        key=row.key,
        number=0 if row.key is None else keys.use_of(connection, row.key).next,
    )


def check(connection: sa.Connection, id: uuid.UUID, after: uuid.UUID | None) -> None:
    """Make sure that message ``id`` may be sent again, if ``after`` is its latest resend.

    Raises:
        LookupError: there is no such message.
        StillWaiting: it has not ended, or a recipient gets it in a digest that is not done.
        SentAgain: there is a later resend than ``after``.
    """
    columns = (
        DELIVERY.c.status,
        IN_DIGEST.label("in_digest"),
        PARTLY_IN_DIGEST.label("partly_in_digest"),
    )
    row = _row(connection, id, columns)
    ended = row.status in ENDED
    if row.status == Status.SENDING or row.in_digest or (ended and row.partly_in_digest):
        raise StillWaiting(_ON_ITS_WAY)
    if not ended:
        raise StillWaiting(_WAITING)
    resends = resends_of(connection, id)
    if resends and resends[0].id != after:
        raise SentAgain(_sentence(resends[0]), newest=resends[0].id)


def lock(connection: sa.Connection, id: uuid.UUID) -> None:
    """Keep others from changing or resending message ``id`` until this transaction ends."""
    # On SQLite, where rows are not locked, this write locks the database.
    same = sa.update(DELIVERY).where(DELIVERY.c.id == id).values(size=DELIVERY.c.size)
    connection.execute(same)


def _row(connection: sa.Connection, id: uuid.UUID, columns: Sequence[sa.ColumnElement[Any]]) -> Any:
    found = sa.select(*columns).select_from(OUTBOX).where(MESSAGE.c.id == id)
    row = connection.execute(found).first()
    if row is None:
        raise LookupError(f"There is no message {id}.")
    return row


def _sentence(newest: Resend) -> str:
    at = f"{clock.from_db(newest.at):%Y-%m-%d %H:%M}"
    return mark("It was sent again on %(at)s UTC by %(by)s.", at=at, by=newest.by or SOMEBODY)
