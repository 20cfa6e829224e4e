"""Claimed messages as they are read, many in two statements."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from ..storage.json_rows import JsonQuery, json_table, rows_parameter
from ..storage.tables import MESSAGE, RECIPIENT
from ..transport.base import Envelope
from ..values import Status
from .claimed import Claimed
from .sizes import LARGE
from .stored import Reading, Stored

OPEN = (Status.QUEUED, Status.DEFERRED)
_NOBODY: Mapping[Status, str | None] = {}
WANTED = json_table(
    MESSAGE.c.id, sa.column("place", sa.Integer()), sa.column("begun", sa.Integer())
)


def _messages(content: sa.ColumnElement[Any]) -> sa.Select[Any]:
    # By place, because comparing ids would cost more than reading them.
    return sa.select(
        WANTED.c.place,
        content,
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


_MESSAGES = JsonQuery(_messages(MESSAGE.c.content))
_UNREAD = _messages(sa.func.length(MESSAGE.c.content))
_RECIPIENTS = JsonQuery(
    sa.select(
        WANTED.c.place,
        RECIPIENT.c.position,
        RECIPIENT.c.address,
        RECIPIENT.c.status,
        RECIPIENT.c.reply,
    )
    .join_from(WANTED, RECIPIENT, RECIPIENT.c.message_id == WANTED.c.id)
    .order_by(WANTED.c.place, RECIPIENT.c.position)
)
_FEW_BYTES = 1_000_000  # of content that may be in the memory several times
# What drivers and types raise at a value that does not belong into its column.
_UNREADABLE = (ValueError, TypeError, LookupError, sa.exc.StatementError)


def wanted(ids: Sequence[uuid.UUID], begun: int = 0) -> dict[str, str]:
    """The parameter for ``WANTED``; the first ``begun`` of ``ids`` begin immediately."""
    return rows_parameter((id, place, int(place < begun)) for place, id in enumerate(ids))


def load(
    connection: sa.Connection,
    ids: Sequence[uuid.UUID],
    rows: dict[str, str],
    *,
    size: int,
    reading: Reading | None = None,
) -> tuple[list[Claimed], dict[uuid.UUID, str]]:
    """The messages with these ids in this order, and for each that cannot be sent the reason.

    ``rows`` is what ``wanted`` gives for ``ids``, ``size`` how many bytes of content they have.
    With ``reading``, the content of one that is large stays where it is until somebody asks for
    it. One damaged row does not take the others with it.
    """
    try:
        if reading and size > LARGE.over and len(ids) == 1:
            return _load(connection, ids, rows, _unread(connection, ids[0], rows, reading))
        messages = _MESSAGES.rows(connection, rows, few_bytes=size <= _FEW_BYTES)
        return _load(connection, ids, rows, messages)
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


def _unread(
    connection: sa.Connection, id: uuid.UUID, rows: dict[str, str], reading: Reading
) -> Iterator[Sequence[Any]]:
    for place, size, *others in connection.execute(_UNREAD, rows):
        yield place, Stored(reading, id, size or 0), *others


def _load(
    connection: sa.Connection,
    ids: Sequence[uuid.UUID],
    rows: dict[str, str],
    messages: Iterable[Sequence[Any]],
) -> tuple[list[Claimed], dict[uuid.UUID, str]]:
    open_places, before = _recipients(connection, rows)
    found: dict[int, Claimed] = {}
    damaged: dict[uuid.UUID, str] = {}
    for place, content, *others in messages:
        if not content or place not in open_places:
            problem = "nobody is left to send it to" if content else "it has no content"
            damaged[ids[place]] = problem
        else:
            found[place] = _claimed(
                ids[place], content, others, open_places[place], before.get(place, _NOBODY)
            )
    return [found[place] for place in sorted(found)], damaged


def _recipients(
    connection: sa.Connection, rows: dict[str, str]
) -> tuple[dict[int, list[tuple[int, str]]], dict[int, dict[Status, str | None]]]:
    """Who is still to be reached by each message, and what became of the others."""
    still_open: dict[int, list[tuple[int, str]]] = {}
    before: dict[int, dict[Status, str | None]] = {}
    for place, position, address, status, reply in _RECIPIENTS.rows(connection, rows):
        if status in OPEN:
            still_open.setdefault(place, []).append((position, address))
        else:
            before.setdefault(place, {}).setdefault(Status(status), reply)
    return still_open, before


def _claimed(
    id: uuid.UUID,
    content: bytes | Stored,
    others: Sequence[Any],
    still_open: Sequence[tuple[int, str]],
    before: Mapping[Status, str | None],
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
        before=before,
        lost_before=lost_leases > 1,
        places=tuple(still_open),
        envelope=Envelope(
            sender=sender or "",
            # One RCPT per mailbox, however often it is named.
            recipients=tuple(dict.fromkeys(address for _, address in still_open)),
            content=content if isinstance(content, bytes) else content.read,
            size=len(content),
            smtputf8=bool(smtputf8),
        ),
    )
