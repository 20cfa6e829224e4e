"""Messages in the outbox: look them up, call them back, release what is held.

Every function works on the connection that it is given and leaves the commit to its owner.
``insert`` puts messages in, ``claim`` and ``record`` are for those who deliver them.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from .. import clock
from ..language import mark
from ..messages.intent import PURGED, REDIRECT
from ..messages.message import earlier
from ..messages.route import RouteStep
from ..storage.tables import ATTEMPT, DELIVERY, MESSAGE, METADATA, OUTBOX, RECIPIENT
from ..values import UNDERWAY, Notification, Priority, Reason, RecipientVerdict, Status
from .choice import UNCARRIED
from .in_digest import IN_DIGEST, PARTLY_IN_DIGEST
from .recipients import recipients_of
from .transitions import CANCELLED, RELEASED

# The relay that has a message, had it last, or has to have it next; NULL for none so far.
RELAY: Final = sa.case((~DELIVERY.c.relay.startswith(UNCARRIED), DELIVERY.c.relay)).label("relay")
# Where the names stand that mail providers gave messages: a message's id, and one of its names. The
# last is beside the status, and the only one where a first attempt ended the matter. They are asked
# one by one: a condition over both uses no index, and MariaDB may refuse to unite their texts.
NAMED_BY_PROVIDER: Final = (
    (DELIVERY.c.id, DELIVERY.c.provider_id),
    (ATTEMPT.c.message_id, ATTEMPT.c.provider_id),
)
_AGAIN: Final = MESSAGE.alias("again")
_REDIRECT: Final = (
    sa.select(_AGAIN.c.id)
    .where(_AGAIN.c.resend_of == MESSAGE.c.id, _AGAIN.c.source == REDIRECT)
    .where(MESSAGE.c.source != REDIRECT)  # a copy that somebody makes of it is no other one
    .order_by(_AGAIN.c.id)
    .limit(1)
)
# In which message a request went to the default To, as it had reached nobody.
REDIRECTED_AS: Final = _REDIRECT.correlate(MESSAGE).scalar_subquery().label("redirected_as")
_CANCELLABLE: Final = sa.and_(CANCELLED.possible, ~IN_DIGEST)
_HAS_CONTENT: Final = (
    sa.exists()
    .where(MESSAGE.c.id == DELIVERY.c.id, MESSAGE.c.content.is_not(None))
    .correlate(DELIVERY)
)
_RELEASABLE: Final = sa.and_(RELEASED.possible, _HAS_CONTENT, ~IN_DIGEST)
_IN_NO_DIGEST: Final = RECIPIENT.c.digest_id.is_(None)
_CALLED_BACK_IN_PART: Final = str(
    mark("It was cancelled for everybody but those who get it in a digest, which is on its way.")
)


def has_message_id(connection: sa.Connection, message_id: str) -> bool:
    """Whether a message bears ``message_id``."""
    found = sa.select(MESSAGE.c.id).where(MESSAGE.c.message_id == message_id).limit(1)
    return connection.scalar(found) is not None


def of_origin(
    connection: sa.Connection, origin: uuid.UUID, behind: tuple[datetime, uuid.UUID]
) -> list[tuple[datetime, uuid.UUID]]:
    """The next 1,000 messages that the call ``origin`` stored: when they were made, and their ids.

    They come in that order, ``behind`` such a place. Instants are naive UTC.
    """
    at, id = behind
    rows = connection.execute(
        sa.select(DELIVERY.c.created_at, DELIVERY.c.id)
        .select_from(OUTBOX)
        .where(
            MESSAGE.c.origin == origin,
            DELIVERY.c.created_at >= at,
            sa.or_(DELIVERY.c.created_at > at, DELIVERY.c.id > id),
        )
        .order_by(DELIVERY.c.created_at, DELIVERY.c.id)
        .limit(1000)
    )
    return [(row.created_at, row.id) for row in rows]


def waiting_at(connection: sa.Connection, relay: str) -> int:
    """How many messages have not left and are bound to ``relay``, which may have taken them."""
    waits = DELIVERY.c.status.in_((*UNDERWAY, Status.HELD))
    found = sa.select(sa.func.count()).select_from(DELIVERY)
    return connection.scalar(found.where(waits, DELIVERY.c.relay == relay)) or 0


def load(connection: sa.Connection, ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, Notification]:
    """Snapshots of the messages with these ids, as far as they exist."""
    wanted = list(ids)
    columns = MESSAGE.c
    rows = connection.execute(
        sa.select(
            columns.id,
            columns.message_id,
            columns.kind,
            columns.key,
            columns.key_number,
            DELIVERY.c.status,
            DELIVERY.c.reason,
            columns.subject,
            columns.route,
            columns.created_at,
            DELIVERY.c.priority,
            RELAY,
            REDIRECTED_AS,
        )
        .select_from(OUTBOX)
        .where(columns.id.in_(wanted))
    ).all()
    recipients, metadata = recipients_of(connection, wanted), metadata_of(connection, wanted)
    return {
        row.id: _snapshot(row, recipients.get(row.id, ()), metadata.get(row.id, {})) for row in rows
    }


def metadata_of(
    connection: sa.Connection, ids: Sequence[uuid.UUID]
) -> dict[uuid.UUID, dict[str, str]]:
    """The names and values that hosts gave the messages ``ids``, of those that have any."""
    found: dict[uuid.UUID, dict[str, str]] = {}
    rows = sa.select(*METADATA.c).where(METADATA.c.message_id.in_(ids)).order_by(METADATA.c.name)
    for id, name, value in connection.execute(rows):
        found.setdefault(id, {})[name] = value
    return found


def _snapshot(
    row: Any, recipients: tuple[RecipientVerdict, ...], metadata: Mapping[str, str]
) -> Notification:
    return Notification(
        id=row.id,
        message_id=row.message_id,
        kind=row.kind,
        key=row.key,
        status=Status(row.status),
        reason=Reason.stored(row.reason),
        subject=row.subject,
        recipients=recipients,
        route=read_route(row.route),
        created_at=clock.from_db(row.created_at),
        earlier=earlier(row.key, row.key_number),
        priority=Priority.ranked(row.priority),
        metadata=metadata,
        relay=row.relay,
        redirected_as=row.redirected_as,
    )


def read_steps(text: str) -> tuple[RouteStep, ...]:
    """The steps of a stored route."""
    return tuple(map(RouteStep.from_json, json.loads(text)))


def read_route(text: str) -> tuple[str, ...]:
    """The sentences of a stored route."""
    return tuple(map(str, read_steps(text)))


class Earlier(NamedTuple):
    """The latest request for a pair by one requester."""

    id: uuid.UUID
    status: Status
    reason: Reason | None
    message_id: str | None
    created_at: datetime


_FIRST: Final = MESSAGE.alias("first")
_IS_FIRST: Final = sa.and_(_FIRST.c.id == MESSAGE.c.resend_of, MESSAGE.c.source == REDIRECT)
_LATEST_REQUEST: Final = (
    sa.select(
        MESSAGE.c.id,
        DELIVERY.c.status,
        DELIVERY.c.reason,
        MESSAGE.c.message_id,
        # Of one that reached nobody the time of the first counts.
        sa.func.coalesce(_FIRST.c.created_at, MESSAGE.c.created_at).label("created_at"),
    )
    .select_from(OUTBOX.outerjoin(_FIRST, _IS_FIRST))
    .where(
        MESSAGE.c.pair == sa.bindparam("pair"),
        MESSAGE.c.actor.is_not_distinct_from(sa.bindparam("actor")),
    )
    .order_by(MESSAGE.c.created_at.desc(), MESSAGE.c.id.desc())
    .limit(1)
)


def latest_request(connection: sa.Connection, pair: str, actor: str | None) -> Earlier | None:
    """The newest merge request for ``pair`` that ``actor`` caused, if there is one."""
    row = connection.execute(_LATEST_REQUEST, {"pair": pair, "actor": actor}).first()
    if row is None:
        return None
    return Earlier(
        id=row.id,
        status=Status(row.status),
        reason=Reason.stored(row.reason),
        message_id=row.message_id,
        created_at=row.created_at,
    )


def of_pair(connection: sa.Connection, pair: str) -> list[uuid.UUID]:
    """The requests for ``pair``."""
    return list(connection.scalars(sa.select(MESSAGE.c.id).where(MESSAGE.c.pair == pair)))


def redirects_of(connection: sa.Connection, ids: Sequence[uuid.UUID]) -> Sequence[uuid.UUID]:
    """In which messages the requests ``ids`` went to the default To."""
    found = connection.scalars(sa.select(REDIRECTED_AS).where(MESSAGE.c.id.in_(ids)))
    return [id for id in found if id is not None]


def cancel(
    connection: sa.Connection, ids: Iterable[uuid.UUID], reason: Reason, now: datetime
) -> list[uuid.UUID]:
    """Call back those of ``ids`` that have not left; gives the ids that were cancelled.

    The others are closed: a request that comes back does not go to the default To any more. With a
    digest all that is in it is cancelled. What is in a digest cannot be by itself: a message that
    is partly in one is cancelled for its other recipients, and held for the rest.
    """
    if not (ids := sorted(ids)):
        return []
    unwanted = sa.update(DELIVERY).where(DELIVERY.c.id.in_(ids), DELIVERY.c.closed.is_(None))
    connection.execute(unwanted.values(closed=reason))
    take = sa.update(DELIVERY).where(_CANCELLABLE).values(due_at=None)
    cancelled = _changed(connection, take, ids)
    if cancelled:
        # Now that they are locked, no digest can be done before this.
        connection.execute(
            sa.update(DELIVERY)
            .where(DELIVERY.c.id.in_(cancelled))
            .values(
                **CANCELLED.choose((PARTLY_IN_DIGEST, Status.HELD), otherwise=Status.CANCELLED),
                reason=sa.case((PARTLY_IN_DIGEST, Reason.RATE), else_=reason),
                detail=sa.case((PARTLY_IN_DIGEST, _CALLED_BACK_IN_PART)),
                finished_at=sa.case((~PARTLY_IN_DIGEST, now)),
            )
        )
        forget_flask_mail(connection, cancelled)
        theirs = sa.and_(RECIPIENT.c.message_id.in_(cancelled), _IN_NO_DIGEST)
        connection.execute(
            sa.update(RECIPIENT)
            .where(theirs, CANCELLED.possible_for_recipient)
            .values(**CANCELLED.to(Status.CANCELLED))
        )
        cancelled += _cancel_members(connection, cancelled, now)
    return [*dict.fromkeys(cancelled)]


def _cancel_members(
    connection: sa.Connection, ids: Sequence[uuid.UUID], now: datetime
) -> list[uuid.UUID]:
    """Call back what is in those digests that are among ``ids``; gives its ids."""
    is_digest = sa.and_(MESSAGE.c.id.in_(ids), MESSAGE.c.source == "digest")
    digests = connection.scalars(sa.select(MESSAGE.c.id).where(is_digest)).all()
    if not digests:
        return []
    from .digests import apply_outcome  # late: for those who deliver

    members = (apply_outcome(connection, id, Status.CANCELLED, None, now) for id in digests)
    return [id for of_digest in members for id in of_digest]


def _changed(
    connection: sa.Connection, update: sa.Update, ids: Iterable[uuid.UUID]
) -> list[uuid.UUID]:
    """Those of ``ids`` that ``update`` changes, one by one in the order that all processes keep."""
    return [
        id
        for id in sorted(ids)
        if connection.execute(update.where(DELIVERY.c.id == id)).rowcount == 1
    ]


def forget_flask_mail(connection: sa.Connection, ids: Sequence[uuid.UUID]) -> None:
    """Drop the bodies of those messages among ``ids`` that came through Flask-Mail and are done.

    What other extensions send holds links that let somebody in, such as password resets.
    """
    done = sa.select(DELIVERY.c.id).where(
        DELIVERY.c.id.in_(ids),
        DELIVERY.c.status.in_((Status.SENT, Status.FAILED, Status.CANCELLED)),
    )
    connection.execute(
        sa.update(MESSAGE)
        # By its own key as well: else MariaDB goes through all messages, and locks them.
        .where(MESSAGE.c.id.in_(ids), MESSAGE.c.id.in_(done), MESSAGE.c.source == "flask_mail")
        .values(intent=PURGED, content=None)
    )


def release(connection: sa.Connection, ids: Iterable[uuid.UUID], now: datetime) -> list[uuid.UUID]:
    """Send what is held and in no digest, unchanged: same bytes, same Message-ID, due at once."""
    let_go = (
        sa.update(DELIVERY)
        .where(_RELEASABLE)
        .values(
            **RELEASED.to(Status.QUEUED),
            reason=None,
            detail=None,
            relay=None,
            due_at=now,
            lost_leases=0,
            finished_at=None,
        )
    )
    released = _changed(connection, let_go, ids)
    if released:
        theirs = sa.and_(RECIPIENT.c.message_id.in_(released), _IN_NO_DIGEST)
        connection.execute(
            sa.update(RECIPIENT)
            .where(theirs, RELEASED.possible_for_recipient)
            .values(**RELEASED.to(Status.QUEUED))
        )
    return released
