"""What a worker has claimed, and what it says about it afterwards."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from .fetched_rows import Query
from .given_rows import document, given, update
from .models import MESSAGE, RECIPIENT
from .outcome import Delivery
from .transport.base import Envelope
from .values import Reason, Status

OPEN = (Status.QUEUED, Status.DEFERRED)
WANTED = given(MESSAGE.c.id, sa.column("place", sa.Integer()), sa.column("begun", sa.Integer()))
# By place, because comparing ids would cost more than reading them.
_MESSAGES = Query(
    sa.select(
        WANTED.c.place,
        MESSAGE.c.content,
        MESSAGE.c.fence,
        MESSAGE.c.attempts,
        MESSAGE.c.created_at,
        MESSAGE.c.expires_at,
        MESSAGE.c.source,
        MESSAGE.c.actor,
        MESSAGE.c.resend_of,
        MESSAGE.c.lost_leases,
        MESSAGE.c.envelope_sender,
        MESSAGE.c.smtputf8,
    ).join_from(WANTED, MESSAGE, MESSAGE.c.id == WANTED.c.id)
)
_RECIPIENTS = Query(
    sa.select(WANTED.c.place, RECIPIENT.c.position, RECIPIENT.c.address, RECIPIENT.c.status)
    .join_from(WANTED, RECIPIENT, RECIPIENT.c.message_id == WANTED.c.id)
    .order_by(WANTED.c.place, RECIPIENT.c.position)
)
_BY_INDEX = sa.select(
    *(
        sa.func.set_config(f"enable_{way}", "off", True)
        for way in ("seqscan", "bitmapscan", "hashjoin", "mergejoin")
    )
)
_FEW_BYTES = 1_000_000  # of content that may be in the memory several times
# What drivers and types raise at a value that does not belong into its column.
_UNREADABLE = (ValueError, TypeError, LookupError, sa.exc.StatementError)


# Nobody changes these three. They are not frozen because one of each is made for every message,
# and that would take twice as long.
@dataclass(slots=True, kw_only=True)
class Claimed:
    """A message that this worker may send until its lease ends."""

    id: uuid.UUID
    fence: int
    attempts: int  # counted attempts so far
    created_at: datetime
    expires_at: datetime | None
    source: str
    actor: str | None
    resent: bool  # an administrator asked for it
    refused_before: bool  # an earlier attempt failed for good for some recipient
    lost_before: bool  # another worker had it, and did not end
    places: tuple[tuple[int, str], ...]  # position and address of whom it is still to reach
    envelope: Envelope


@dataclass(slots=True, kw_only=True)
class Verdict:
    """What is to be written down about one claimed message."""

    claimed: Claimed
    status: Status
    reason: Reason | None
    detail: str | None
    due_at: datetime
    counted: bool  # whether the attempt counts against the schedule
    recipients: Mapping[str, tuple[Status, str | None]]  # address -> status, reply
    attempt: Attempt | None


@dataclass(slots=True, kw_only=True)
class Attempt:
    """One conversation about one message, for the log."""

    started_at: datetime
    finished_at: datetime
    server: str
    result: str
    stage: str
    reply: str | None
    replies: Mapping[str, str]
    diverted_to: str | None

    @classmethod
    def of(
        cls,
        delivery: Delivery,
        *,
        started_at: datetime,
        finished_at: datetime,
        server: str,
        diverted_to: str | None,
    ) -> Attempt:
        """The attempt that came to ``delivery``."""
        last = delivery.reply
        said = str(last) if last else delivery.note
        return cls(
            started_at=started_at,
            finished_at=finished_at,
            server=server,
            result=delivery.result,
            stage=delivery.stage,
            reply=said,
            replies={
                address: said if said and reply is last else str(reply)
                for address, reply in delivery.verdicts.items()
            },
            diverted_to=diverted_to,
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
        # As given_rows.update does it: this is for MySQL and MariaDB only.
        self._find = found.prefix_with("STRAIGHT_JOIN").with_hint(MESSAGE, "FORCE INDEX (PRIMARY)")
        self._update = update(MESSAGE).where(ours).values(**values)
        self._update_and_tell = self._update.returning(MESSAGE.c.id)

    def apply(
        self, connection: sa.Connection, rows: Iterable[Sequence[object]], **others: object
    ) -> set[uuid.UUID]:
        """Change those of ``rows`` whose claim is in force; gives their ids."""
        by_index(connection)
        parameters = {**document(rows), **others}
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
        by_index(connection)
        result = connection.execute(self._update, {**document(rows), **others})
        if result.rowcount != len(rows):
            raise ClaimsLost(f"{result.rowcount} of {len(rows)} claims are in force")


def wanted(ids: Sequence[uuid.UUID], begun: int = 0) -> dict[str, str]:
    """The parameter for ``WANTED``; the first ``begun`` of ``ids`` begin immediately."""
    return document((id, place, int(place < begun)) for place, id in enumerate(ids))


def load(
    connection: sa.Connection, ids: Sequence[uuid.UUID], rows: dict[str, str], *, size: int
) -> tuple[list[Claimed], dict[uuid.UUID, str]]:
    """The messages with these ids in this order, and for each that cannot be sent the reason.

    ``rows`` is what ``wanted`` gives for ``ids``, ``size`` how many bytes of content they have.
    One damaged row does not take the others with it.
    """
    try:
        return _load(connection, ids, rows, few_bytes=size <= _FEW_BYTES)
    except _UNREADABLE as error:
        if len(ids) == 1:
            return [], {ids[0]: f"its row cannot be read ({type(error).__name__})"}
    claimed: list[Claimed] = []
    damaged: dict[uuid.UUID, str] = {}
    for id in ids:
        one, problem = load(connection, [id], wanted([id]), size=size)
        claimed += one
        damaged |= problem
    return claimed, damaged


def _load(
    connection: sa.Connection, ids: Sequence[uuid.UUID], rows: dict[str, str], *, few_bytes: bool
) -> tuple[list[Claimed], dict[uuid.UUID, str]]:
    open_places, refused = _recipients(connection, rows)
    found: dict[int, Claimed] = {}
    damaged: dict[uuid.UUID, str] = {}
    for place, content, *others in _MESSAGES.rows(connection, rows, few_bytes=few_bytes):
        if not content or place not in open_places:
            problem = "nobody is left to send it to" if content else "it has no content"
            damaged[ids[place]] = problem
        else:
            found[place] = _claimed(
                ids[place], content, others, open_places[place], place in refused
            )
    return [found[place] for place in sorted(found)], damaged


def _recipients(
    connection: sa.Connection, rows: dict[str, str]
) -> tuple[dict[int, list[tuple[int, str]]], set[int]]:
    """Who is still to be reached by each message, and which messages somebody refused."""
    still_open: dict[int, list[tuple[int, str]]] = {}
    refused: set[int] = set()
    for place, position, address, status in _RECIPIENTS.rows(connection, rows):
        if status in OPEN:
            still_open.setdefault(place, []).append((position, address))
        elif status == Status.FAILED:
            refused.add(place)
    return still_open, refused


def _claimed(
    id: uuid.UUID,
    content: bytes,
    others: Sequence[Any],
    still_open: Sequence[tuple[int, str]],
    refused_before: bool,
) -> Claimed:
    fence, attempts, created_at, expires_at, source, actor, resend_of, *others = others
    lost_leases, sender, smtputf8 = others
    return Claimed(
        id=id,
        fence=fence,
        attempts=attempts,
        created_at=created_at,
        expires_at=expires_at,
        source=source,
        actor=actor,
        resent=resend_of is not None,
        refused_before=refused_before,
        lost_before=lost_leases > 1,
        places=tuple(still_open),
        envelope=Envelope(
            sender=sender or "",
            # One RCPT per mailbox, however often it is named.
            recipients=tuple(dict.fromkeys(address for _, address in still_open)),
            content=content,
            smtputf8=bool(smtputf8),
        ),
    )
