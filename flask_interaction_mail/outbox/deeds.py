"""What people did with messages and mailboxes: who, when, and with which.

Deeds are rows of the table of checks, so that they go with its other rows when their time is over.
Functions work on the given connection; its owner commits.
"""

from __future__ import annotations

import enum
import json
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from ..storage.tables import CHECK, MESSAGE

KIND: Final = "deed"
_ROWS: Final = uuid.UUID("0d0f6f39-9a0a-4a43-8f5e-0a1b6c5f7f52")


class What(enum.StrEnum):
    """The things that are kept."""

    RESENT = "resent"
    CANCELLED = "cancelled"
    RELEASED = "released"
    EXPORTED = "exported"
    READ = "read"  # a text; once an hour for each reader and message
    CONNECTED = "connected"  # a mailbox, by somebody's consent
    DISCONNECTED = "disconnected"
    MENDED = "mended"  # an address that was dead


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """Something that ``by`` did ``at`` (naive UTC).

    ``message`` is the one that was acted on, with its ``subject`` as long as it is kept; ``detail``
    says more, such as the filters of an export, or a mailbox.
    """

    id: uuid.UUID
    at: datetime
    by: str
    what: What
    message: uuid.UUID | None
    subject: str | None
    detail: str


def note(
    connection: sa.Connection,
    what: What,
    by: str,
    messages: Iterable[uuid.UUID],
    now: datetime,
    *,
    job: uuid.UUID | None = None,
    detail: str = "",
) -> None:
    """Write down that ``by`` did it with each of ``messages``, a microsecond after the other.

    Each has a time of its own, so that a page can begin anywhere. ``job`` is that of which it was a
    part: what is written down for it is found again by ``done_in``.
    """
    more = {"detail": detail} if detail else {}
    rows = [
        _row(
            _id_in(job, message) if job else uuid.uuid4(),
            what,
            by,
            now + number * timedelta.resolution,
            message=message.hex,
            **more,
        )
        for number, message in enumerate(messages)
    ]
    if rows:
        connection.execute(sa.insert(CHECK), rows)


def done_in(
    connection: sa.Connection, job: uuid.UUID, messages: Iterable[uuid.UUID]
) -> set[uuid.UUID]:
    """Those of ``messages`` with which something was done as a part of ``job``."""
    ids = {_id_in(job, message): message for message in messages}
    found = sa.select(CHECK.c.id).where(CHECK.c.id.in_([*ids]))
    return {ids[id] for id in connection.scalars(found)}


def _id_in(job: uuid.UUID, message: uuid.UUID) -> uuid.UUID:
    return uuid.uuid5(job, message.hex)


def note_export(connection: sa.Connection, by: str, filters: str, now: datetime) -> None:
    """Write down an export of all messages that match ``filters``, the arguments of a URL."""
    row = _row(uuid.uuid4(), What.EXPORTED, by, now, detail=filters)
    connection.execute(sa.insert(CHECK), row)


def note_mailbox(
    connection: sa.Connection, what: What, by: str, mailbox: str, now: datetime
) -> None:
    """Write down that ``by`` connected or disconnected ``mailbox``, or said that it exists."""
    row = _row(uuid.uuid4(), what, by, now, detail=mailbox)
    connection.execute(sa.insert(CHECK), row)


def note_reading(connection: sa.Connection, by: str, message: uuid.UUID, now: datetime) -> None:
    """Write down that ``by`` saw the text of ``message``, once an hour."""
    id = uuid.uuid5(_ROWS, f"{by} {message} {now:%Y-%m-%d %H}")
    if connection.scalar(sa.select(CHECK.c.id).where(CHECK.c.id == id)) is None:
        row = _row(id, What.READ, by, now, message=message.hex)
        connection.execute(sa.insert(CHECK), row)


def before(
    connection: sa.Connection, end: datetime | None, limit: int, whats: Sequence[What] = tuple(What)
) -> list[Deed]:
    """Up to ``limit`` deeds of these kinds from before ``end`` (naive UTC), newest first."""
    query = sa.select(CHECK).where(CHECK.c.kind == KIND, CHECK.c.verdict.in_(whats))
    if end is not None:
        query = query.where(CHECK.c.at < end)
    rows = connection.execute(query.order_by(CHECK.c.at.desc(), CHECK.c.id).limit(limit)).all()
    told = {row.id: json.loads(row.steps) for row in rows}
    ids = {row: uuid.UUID(facts["message"]) for row, facts in told.items() if "message" in facts}
    named = sa.select(MESSAGE.c.id, MESSAGE.c.subject).where(MESSAGE.c.id.in_({*ids.values()}))
    subjects = {row.id: row.subject for row in connection.execute(named)} if ids else {}
    return [
        Deed(
            id=row.id,
            at=row.at,
            by=row.by,
            what=What(row.verdict),
            message=ids.get(row.id),
            subject=subjects.get(ids[row.id]) if row.id in ids else None,
            detail=told[row.id].get("detail", ""),
        )
        for row in rows
    ]


def _row(id: uuid.UUID, what: What, by: str, now: datetime, **facts: str) -> dict[str, Any]:
    return {
        "id": id,
        "kind": KIND,
        "at": now,
        "by": by,
        "fingerprint": "",
        "verdict": what,
        "steps": json.dumps(facts),
        "until": None,
    }
