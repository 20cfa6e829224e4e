"""Puts what came back beside the message and the recipients that it is about.

A report is found by the Message-ID of a message of ours, and counts for a recipient of that very
message alone. What a recipient's row says depends on which reports there were, not on their order.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from ..messages.intent import PURGED
from ..returned.matching import Recipients
from ..returned.reading import LIMIT, Note, Returned
from ..returned.state import tells_dead
from ..storage.tables import DELIVERY, MESSAGE, RECIPIENT, REPORT
from ..storage.transactions import Transactions
from ..values import RETURNED, Status
from . import dead_addresses

REPORTED: Final = "report"
REPLIED: Final = "reply"
ERASED: Final = "erased"  # in place of an address that was

_MOST: Final = 100  # reports that are kept of one message; more change states, and are not kept
_SHORTEST: Final = 16  # characters of a provider's id: shorter ones could be guessed
_LONGEST: Final = 1000  # characters of a reason
_WEIGHTS: Final = {status: len(RETURNED) - place for place, status in enumerate(RETURNED)}


class Entry(NamedTuple):
    """What a stored report says of one recipient.

    ``position`` is None where it names nobody who got the message, ``state`` where it tells none.
    ``behind`` is another mailbox to which the address leads, or "".
    """

    position: int | None
    state: Status | None
    code: str
    text: str
    behind: str

    @property
    def said(self) -> str:
        """The code, and the text without it."""
        return " ".join(filter(None, (self.code, self.text.removeprefix(self.code).strip())))


class Report(NamedTuple):
    """A report, or an automatic reply, as it was stored. ``received_at`` is naive UTC."""

    digest: str
    received_at: datetime
    kind: str
    server: str
    entries: tuple[Entry, ...]
    has_content: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """Where a report belongs: ``changed`` are the states that recipients have only now."""

    id: uuid.UUID
    kind: str  # REPORTED or REPLIED
    changed: frozenset[Status] = frozenset()
    known: bool = False  # it had been noted before


class _Target(NamedTuple):
    """The message of a report; ``purged`` says that its text is not kept any more."""

    id: uuid.UUID
    recipients: Sequence[Any]  # position and address of each
    purged: bool
    seen: bool  # the same report is stored already
    full: bool  # as many as are kept


def note(
    database: Transactions,
    returned: Returned,
    content: bytes,
    now: datetime,
    *,
    bounced: Callable[[sa.Connection, uuid.UUID], object],
) -> Noted | None:
    """Write down what ``returned``, made of ``content``, says; None if it is of no message of ours.

    ``bounced`` is called in the same transaction where somebody did not get it, so that what it
    does is done with this, or not at all. The same report twice, also by two processes at once, is
    one. Commits.
    """
    with database.reading() as connection:
        target = _target(connection, returned)
    if target is None:
        return None
    kind = REPORTED if returned.notes else REPLIED
    if target.seen:
        return Noted(id=target.id, kind=kind, known=True)
    entries = _entries(returned.notes, target.recipients)
    dead = _dead(returned.notes, target.recipients)
    row = {
        "message_id": target.id,
        "digest": returned.digest,
        "received_at": now,
        "kind": kind,
        "server": returned.server[:255],
        "notes": json.dumps([entry._asdict() for entry in entries]),
        # Where the message's own text is gone, none comes back with a report.
        "content": None if target.purged else content[:LIMIT],
    }
    try:
        with database.writing() as connection:
            changed = _apply(connection, target.id, entries, now)
            if not target.full:
                connection.execute(sa.insert(REPORT).values(row))
            dead_addresses.note(connection, target.id, dead)
            if any(
                entry.state is Status.BOUNCED and entry.position is not None for entry in entries
            ):
                bounced(connection, target.id)
    except sa.exc.IntegrityError:
        # Another process has stored it at this moment, or the message was removed.
        with database.reading() as connection:
            id = _named(connection, returned)
        return None if id is None else Noted(id=id, kind=kind, known=True)
    return Noted(id=target.id, kind=kind, changed=changed)


def reports_of(connection: sa.Connection, id: uuid.UUID) -> tuple[Report, ...]:
    """What came back for the message ``id``, oldest first."""
    columns = REPORT.c
    rows = connection.execute(
        sa.select(
            columns.digest,
            columns.received_at,
            columns.kind,
            columns.server,
            columns.notes,
            columns.content.is_not(None).label("has_content"),
        )
        .where(columns.message_id == id)
        .order_by(columns.received_at, columns.digest)
    )
    return tuple(
        Report(
            digest=row.digest,
            received_at=row.received_at,
            kind=row.kind,
            server=row.server,
            entries=tuple(map(_entry_from, json.loads(row.notes))),
            has_content=bool(row.has_content),
        )
        for row in rows
    )


def content_of(connection: sa.Connection, id: uuid.UUID, digest: str) -> bytes | None:
    """A report about the message ``id`` as it came; None if it is not kept."""
    found = sa.select(REPORT.c.content).where(REPORT.c.message_id == id, REPORT.c.digest == digest)
    content: bytes | None = connection.scalar(found)
    return content


def _entries(notes: Iterable[Note], recipients: Sequence[Any]) -> list[Entry]:
    addresses = [recipient.address for recipient in recipients]
    forgotten = ERASED in addresses  # what was erased from a message does not come back with this
    known, entries = Recipients(addresses), []
    for note in notes:
        found = known.match(note)
        entry = Entry(
            position=recipients[found.position].position if found else None,
            state=note.state,
            code=note.code,
            text="" if forgotten else note.diagnostic[:_LONGEST],
            behind="" if forgotten or found is None else found.behind,
        )
        entries.append(entry)
    return entries


def _dead(notes: Iterable[Note], recipients: Sequence[Any]) -> dict[str, str]:
    """The addresses that do not exist, each with the code that says so.

    What the report names has to be that very mailbox, and not one behind it.
    """
    addresses = [recipient.address for recipient in recipients]
    known, dead = Recipients(addresses), dict[str, str]()
    for note in notes:
        found = known.match(note)
        if found and found.named and not found.behind and tells_dead(note.state, note.stated):
            dead[addresses[found.position]] = note.stated
    dead.pop(ERASED, None)
    return dead


def _entry_from(stored: dict[str, Any]) -> Entry:
    state = next((status for status in RETURNED if status == stored["state"]), None)
    return Entry(**{**stored, "state": state})


def _target(connection: sa.Connection, returned: Returned) -> _Target | None:
    """The message that is named first, with what else decides."""
    id = _named(connection, returned)
    if id is None:
        return None
    recipients = connection.execute(
        sa.select(RECIPIENT.c.position, RECIPIENT.c.address)
        .where(RECIPIENT.c.message_id == id)
        .order_by(RECIPIENT.c.position)
    ).all()
    digests = connection.scalars(sa.select(REPORT.c.digest).where(REPORT.c.message_id == id)).all()
    intent = connection.scalar(sa.select(MESSAGE.c.intent).where(MESSAGE.c.id == id))
    return _Target(
        id=id,
        recipients=recipients,
        purged=intent == PURGED,
        seen=returned.digest in digests,
        full=len(digests) >= _MOST,
    )


def _named(connection: sa.Connection, returned: Returned) -> uuid.UUID | None:
    # Some servers give the Message-ID back as if it were the envelope's id.
    envelope_ids = [f"<{id.strip('<>')}>" for id in returned.envelope_ids]
    named = list(dict.fromkeys([*returned.references, *envelope_ids]))
    found = _by_message_id(connection, named)
    if id := next((found[name] for name in named if name in found), None):
        return id
    theirs = list(dict.fromkeys(name for text in named for name in _of_provider(text)))
    found = _by_provider_id(connection, theirs)
    return next((found[name] for name in theirs if name in found), None)


def _by_message_id(connection: sa.Connection, names: Sequence[str]) -> dict[str, uuid.UUID]:
    """The messages that bear ``names``.

    Earlier versions made the Message-ID of the id, and the id of the key: who knows the key can
    tell such a one without having seen it, so that it proves nothing.
    """
    columns = MESSAGE.c
    query = sa.select(columns.message_id, columns.id, columns.key)
    rows = connection.execute(query.where(columns.message_id.in_(names)).order_by(columns.id))
    return {
        row.message_id: row.id
        for row in rows
        if row.key is None or not row.message_id.startswith(f"<{row.id}@")
    }


def _by_provider_id(connection: sa.Connection, names: Sequence[str]) -> dict[str, uuid.UUID]:
    columns = DELIVERY.c
    query = sa.select(columns.provider_id, columns.id)
    rows = connection.execute(query.where(columns.provider_id.in_(names)).order_by(columns.id))
    return {row.provider_id: row.id for row in rows}


def _of_provider(message_id: str) -> Iterable[str]:
    """What a provider may have called the message, where it has replaced our Message-ID."""
    bare = message_id.strip("<>")
    local = bare.partition("@")[0]
    return [name for name in (message_id, bare, local) if len(name) >= _SHORTEST]


def _apply(
    connection: sa.Connection, id: uuid.UUID, entries: Sequence[Entry], now: datetime
) -> frozenset[Status]:
    """Raise what the message and its recipients show; gives the states that are new.

    The message first, as everybody locks, also where nothing changes: so two reports about one
    message wait for each other, and SQLite begins with a write.
    """
    counting = [
        (entry.state, entry) for entry in entries if entry.position is not None and entry.state
    ]
    worst = max((_WEIGHTS[state] for state, _ in counting), default=0)
    lighter = _weight(DELIVERY.c.returned) < worst
    heaviest = next((status for status in RETURNED if _WEIGHTS[status] == worst), None)
    connection.execute(
        sa.update(DELIVERY)
        .where(DELIVERY.c.id == id)
        .values(returned=sa.case((lighter, heaviest), else_=DELIVERY.c.returned))
    )
    changed = set[Status]()
    for state, entry in counting:
        said = " ".join(filter(None, (entry.said, _sent_on(entry))))
        raised = connection.execute(
            sa.update(RECIPIENT)
            .where(
                RECIPIENT.c.message_id == id,
                RECIPIENT.c.position == entry.position,
                _weight(RECIPIENT.c.returned) < _WEIGHTS[state],
            )
            .values(returned=state, returned_at=now, report=said[:_LONGEST] or None)
        )
        if raised.rowcount:
            changed.add(state)
    return frozenset(changed)


def _sent_on(entry: Entry) -> str:
    return f"({entry.behind})" if entry.behind and entry.behind not in entry.text else ""


def _weight(returned: sa.Column[Any]) -> sa.ColumnElement[int]:
    weights = [(returned == status, weight) for status, weight in _WEIGHTS.items()]
    return sa.case(*weights, else_=0)
