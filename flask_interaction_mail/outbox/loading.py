"""Reads claimed messages: many in two statements, the content of a large one when it is needed."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from typing import Any, Final

import sqlalchemy as sa

from ..storage.json_rows import JsonQuery, json_table, rows_parameter
from ..storage.tables import DELIVERY, MESSAGE, OUTBOX, RECIPIENT
from ..transport.base import Envelope
from ..values import OPEN, Status
from .claimed import LARGE, Claimed
from .rates import NAMELESS

Reading = Callable[[], AbstractContextManager[sa.Connection]]

_PIECE: Final = 8_000_000  # bytes; less than what MariaDB gives at once by default
_AT = sa.select(
    sa.func.substr(MESSAGE.c.content, sa.bindparam("at"), _PIECE, type_=sa.LargeBinary(_PIECE))
).where(MESSAGE.c.id == sa.bindparam("wanted", type_=MESSAGE.c.id.type))


class Stored:
    """``size`` bytes that are read in pieces, each in a transaction of its own."""

    def __init__(self, reading: Reading, id: uuid.UUID, size: int) -> None:
        self._reading = reading
        self._id = id
        self._size = size

    def __len__(self) -> int:
        return self._size

    def read(self) -> bytes:
        """All of it, kept from then on.

        Raises:
            LookupError: it is gone, or another.
            sqlalchemy.exc.SQLAlchemyError: the database is away.
        """
        return self._content

    @cached_property
    def _content(self) -> bytes:
        pieces: list[bytes] = []
        for at in range(1, self._size + 1, _PIECE):
            parameters: dict[str, Any] = {"wanted": self._id, "at": at}
            with self._reading() as connection:
                pieces.append(connection.scalar(_AT, parameters) or b"")
        content = b"".join(pieces)
        if len(content) != self._size:
            raise LookupError(f"{len(content):,} bytes are stored, {self._size:,} were")
        return content


_NOBODY: Mapping[Status, str | None] = {}
WANTED = json_table(
    MESSAGE.c.id, sa.column("place", sa.Integer()), sa.column("begun", sa.Integer())
)


def _messages(content: sa.ColumnElement[Any]) -> sa.Select[Any]:
    # By place, because comparing ids would cost more than reading them.
    return sa.select(
        WANTED.c.place,
        content,
        DELIVERY.c.fence,
        DELIVERY.c.attempts,
        DELIVERY.c.created_at,
        MESSAGE.c.expires_at,
        MESSAGE.c.kind,
        MESSAGE.c.source,
        MESSAGE.c.actor,
        MESSAGE.c.resend_of,
        DELIVERY.c.lost_leases,
        MESSAGE.c.envelope_sender,
        MESSAGE.c.smtputf8,
        MESSAGE.c.message_id,
    ).join_from(WANTED, OUTBOX, DELIVERY.c.id == WANTED.c.id)


_MESSAGES = JsonQuery(_messages(MESSAGE.c.content))
_UNREAD = _messages(sa.func.length(MESSAGE.c.content))
_RECIPIENTS = JsonQuery(
    sa.select(
        WANTED.c.place,
        RECIPIENT.c.position,
        RECIPIENT.c.address,
        RECIPIENT.c.status,
        RECIPIENT.c.reply,
        RECIPIENT.c.digest_id,
    )
    .join_from(WANTED, RECIPIENT, RECIPIENT.c.message_id == WANTED.c.id)
    .order_by(WANTED.c.place, RECIPIENT.c.position)
)
_FEW_BYTES = 1_000_000  # of content that may be in the memory several times
# What drivers and types raise at a value that does not belong in its column.
_UNREADABLE = (ValueError, TypeError, LookupError, sa.exc.StatementError)
_OF_THE_DATABASE = (
    sa.exc.OperationalError,
    sa.exc.ProgrammingError,
    sa.exc.InternalError,
    sa.exc.InterfaceError,
)


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
    With ``reading``, the content of a large message is read when it is needed. A damaged row is
    reported, and the others are read all the same.

    Raises:
        sqlalchemy.exc.DBAPIError: no row can be read, such as when a column is missing.
    """
    try:
        if reading and size > LARGE.over and len(ids) == 1:
            return _load(connection, ids, rows, _unread(connection, ids[0], rows, reading))
        messages = _MESSAGES.rows(connection, rows, few_bytes=size <= _FEW_BYTES)
        return _load(connection, ids, rows, messages)
    except _UNREADABLE as error:
        if isinstance(error, _OF_THE_DATABASE):
            if connection.dialect.name != "sqlite":
                raise
            # SQLite has no other error for a damaged text. Without rows there is none.
            for query in (_MESSAGES, _RECIPIENTS):
                query.rows(connection, wanted([]))
        if len(ids) == 1:
            return [], {ids[0]: f"its row cannot be read ({type(error).__name__})"}
    claimed: list[Claimed] = []
    damaged: dict[uuid.UUID, str] = {}
    for id in ids:
        whole, problem = load(connection, [id], wanted([id]), size=size)
        claimed += whole
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
    open_places, before, digests = _recipients(connection, rows)
    found: dict[int, Claimed] = {}
    damaged: dict[uuid.UUID, str] = {}
    for place, content, *others in messages:
        if not content or place not in open_places:
            problem = "nobody is left to send it to" if content else "it has no content"
            damaged[ids[place]] = problem
        else:
            found[place] = _claimed(
                ids[place],
                content,
                others,
                open_places[place],
                before.get(place, _NOBODY),
                digests.get(place),
            )
    return [found[place] for place in sorted(found)], damaged


def _recipients(
    connection: sa.Connection, rows: dict[str, str]
) -> tuple[
    dict[int, list[tuple[int, str]]],
    dict[int, dict[Status, str | None]],
    dict[int, uuid.UUID],
]:
    """For each message: the open recipients, what became of others, a digest that is not done."""
    still_open: dict[int, list[tuple[int, str]]] = {}
    before: dict[int, dict[Status, str | None]] = {}
    digests: dict[int, uuid.UUID] = {}
    for place, position, address, status, reply, digest in _RECIPIENTS.rows(connection, rows):
        if status in OPEN:
            still_open.setdefault(place, []).append((position, address))
        elif status == Status.HELD and digest is not None:
            digests[place] = digest
        elif status == Status.SENDING:
            digests[place] = NAMELESS
        else:
            before.setdefault(place, {}).setdefault(Status(status), reply)
    return still_open, before, digests


def _claimed(
    id: uuid.UUID,
    content: bytes | Stored,
    others: Sequence[Any],
    still_open: Sequence[tuple[int, str]],
    before: Mapping[Status, str | None],
    digest: uuid.UUID | None,
) -> Claimed:
    fence, attempts, created_at, expires_at, kind, source, actor, *others = others
    resend_of, lost_leases, sender, smtputf8, message_id = others
    return Claimed(
        id=id,
        fence=fence,
        attempts=attempts,
        created_at=created_at,
        expires_at=expires_at,
        kind=kind,
        source=source,
        actor=actor,
        resent=resend_of is not None,
        before=before,
        lost_before=lost_leases > 1,
        places=tuple(still_open),
        digest=digest,
        envelope=Envelope(
            sender=sender or "",
            # One RCPT per mailbox, however often it is named.
            recipients=tuple(dict.fromkeys(address for _, address in still_open)),
            content=content if isinstance(content, bytes) else content.read,
            size=len(content),
            smtputf8=bool(smtputf8),
            envid=(message_id or "").strip("<>"),
        ),
    )
