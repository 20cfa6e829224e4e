"""Puts what came back beside the message and the recipients that it is about.

A report is found by the Message-ID of a message of ours, and counts for a recipient of that very
message alone. What a recipient's row says depends on which reports there were, not on their order.
"""

from __future__ import annotations

import enum
import json
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from ..messages.intent import PURGED
from ..returned.matching import Match, Recipients
from ..returned.reading import LIMIT, Note, Returned
from ..returned.state import tells_dead
from ..storage.database import is_away
from ..storage.tables import ATTEMPT, DELIVERY, MESSAGE, OUTBOX, RECIPIENT, REPORT
from ..storage.transactions import Transactions
from ..values import RETURNED, Status
from . import dead_addresses
from .messages import NAMED_BY_PROVIDER
from .reports import ERASED, REPLIED, REPORTED, Entry, in_ascii

_MOST: Final = 100  # reports that are kept of one message; more change states, and are not kept
_SHORTEST: Final = 16  # characters of a provider's id: shorter ones could be guessed
_LONGEST: Final = 1000  # characters of a reason
_WEIGHTS: Final = {status: len(RETURNED) - place for place, status in enumerate(RETURNED)}


def _weight(returned: sa.Column[Any]) -> sa.ColumnElement[int]:
    weights = [(returned == status, weight) for status, weight in _WEIGHTS.items()]
    return sa.case(*weights, else_=0)


# Made once: to make them takes longer than to run them.
_NAMES: Final[sa.BindParameter[Any]] = sa.bindparam("names", expanding=True)
_BY_MESSAGE_ID: Final = (
    sa.select(MESSAGE.c.message_id, MESSAGE.c.id, MESSAGE.c.key)
    .where(MESSAGE.c.message_id.in_(_NAMES))
    .order_by(MESSAGE.c.id)
)
_BY_PROVIDER: Final = tuple(
    sa.select(name.label("name"), id.label("id")).where(name.in_(_NAMES)).order_by(id)
    for id, name in NAMED_BY_PROVIDER
)
_RECIPIENTS: Final = (
    sa.select(RECIPIENT.c.position, RECIPIENT.c.address)
    .where(RECIPIENT.c.message_id == sa.bindparam("message"))
    .order_by(RECIPIENT.c.position)
)
_DIGESTS: Final = sa.select(REPORT.c.digest).where(REPORT.c.message_id == sa.bindparam("message"))
_OF_MESSAGE: Final = (
    sa.select(
        (MESSAGE.c.intent == PURGED).label("purged"),
        MESSAGE.c.sender,
        MESSAGE.c.envelope_sender,
        DELIVERY.c.status,
        DELIVERY.c.server,
    )
    .select_from(OUTBOX)
    .where(MESSAGE.c.id == sa.bindparam("message"))
)
_WENT_TO: Final = sa.select(ATTEMPT.c.diverted_to).where(
    ATTEMPT.c.message_id == sa.bindparam("message")
)
_STATE: Final = sa.bindparam("state", type_=DELIVERY.c.returned.type)
_RAISE_MESSAGE: Final = (
    sa.update(DELIVERY)
    .where(DELIVERY.c.id == sa.bindparam("message"))
    .values(
        returned=sa.case(
            (_weight(DELIVERY.c.returned) < sa.bindparam("weight", type_=sa.Integer()), _STATE),
            else_=DELIVERY.c.returned,
        )
    )
)
_RAISE_RECIPIENT: Final = (
    sa.update(RECIPIENT)
    .where(
        RECIPIENT.c.message_id == sa.bindparam("message"),
        RECIPIENT.c.position == sa.bindparam("place"),
        _weight(RECIPIENT.c.returned) < sa.bindparam("weight", type_=sa.Integer()),
    )
    .values(returned=_STATE, returned_at=sa.bindparam("at"), report=sa.bindparam("said"))
)
_KEEP: Final = sa.insert(REPORT)


class Outcome(enum.StrEnum):
    """What became of one message that came back, or may have."""

    NOTED = "noted"
    KNOWN = "known"  # the same report was noted before
    REPLIES = "replies"  # an automatic reply
    FOREIGN = "foreign"  # about no message of ours
    UNREADABLE = "unreadable"


DONE: Final = (Outcome.NOTED, Outcome.KNOWN)  # what nobody has to read any more


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """Where a report belongs: ``changed`` are the states that recipients have only now."""

    id: uuid.UUID
    kind: str  # REPORTED or REPLIED
    changed: frozenset[Status] = frozenset()
    known: bool = False  # it had been noted before

    @property
    def outcome(self) -> Outcome:
        if self.kind == REPLIED:
            return Outcome.REPLIES
        return Outcome.KNOWN if self.known else Outcome.NOTED


class _Removed(Exception):
    """The message was removed at this moment."""


class _Target(NamedTuple):
    """The message of a report; ``purged`` says that its text is not kept any more.

    ``senders`` are the addresses in From and in its envelope. ``diverted`` says that it went to the
    mailbox that gets all mail instead of its recipients, or may have: that is not written down yet.
    """

    id: uuid.UUID
    recipients: Sequence[Any]  # position and address of each
    senders: Sequence[str]
    purged: bool
    diverted: bool
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

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the database is away, or does not take it; nothing is noted.
    """
    with database.reading() as connection:
        target = _target(connection, returned)
    if target is None:
        return None
    kind = REPORTED if returned.notes else REPLIED
    if target.seen:
        return Noted(id=target.id, kind=kind, known=True)
    addresses = [one.address for one in target.recipients]
    known = Recipients(addresses, diverted=target.diverted, senders=target.senders)
    matched = [(note, known.match(note)) for note in returned.notes]
    entries = _entries(matched, target)
    dead = _dead(matched, target)

    def written(server: str, entries: Sequence[Entry]) -> frozenset[Status]:
        row = {
            "message_id": target.id,
            "digest": returned.digest,
            "received_at": now,
            "kind": kind,
            "server": server[:255],
            "notes": json.dumps([entry._asdict() for entry in entries]),
            # Where the message's own text is gone, none comes back with a report.
            "content": None if target.purged else content[:LIMIT],
        }
        with database.writing() as connection:
            changed = _apply(connection, target.id, entries, now)
            if not target.full:
                connection.execute(_KEEP, row)
            dead_addresses.note(connection, target.id, dead)
            if any(
                entry.state is Status.BOUNCED and entry.position is not None for entry in entries
            ):
                bounced(connection, target.id)
        return changed

    try:
        try:
            changed = written(returned.server, entries)
        except (sa.exc.DBAPIError, UnicodeEncodeError) as error:
            if is_away(error) or isinstance(error, sa.exc.IntegrityError):
                raise
            # Letters that the database lacks: then without them.
            changed = written(in_ascii(returned.server), [entry.in_ascii for entry in entries])
    except (sa.exc.IntegrityError, _Removed):
        with database.reading() as connection:
            now_there = _target(connection, returned)
        # Another process has stored it at this moment, or the message was removed.
        if now_there is not None and not now_there.seen:
            raise
        return now_there and Noted(id=now_there.id, kind=kind, known=True)
    return Noted(id=target.id, kind=kind, changed=changed)


def is_ours(connection: sa.Connection, returned: Returned) -> bool:
    """Whether ``returned`` is about a message of ours."""
    return _named(connection, returned) is not None


def ours_of(connection: sa.Connection, message_ids: Sequence[str]) -> set[str]:
    """Those of ``message_ids`` that are of messages of ours."""
    return {*_by_message_id(connection, message_ids)}


def _entries(matched: Iterable[tuple[Note, Match | None]], target: _Target) -> list[Entry]:
    recipients = target.recipients
    # What was erased from a message does not come back with this.
    forgotten = any(recipient.address == ERASED for recipient in recipients)
    return [
        Entry(
            position=recipients[found.position].position if found else None,
            state=note.state,
            code=note.code,
            text="" if forgotten else note.diagnostic[:_LONGEST],
            behind="" if forgotten or found is None else found.behind,
        )
        for note, found in matched
    ]


def _dead(matched: Iterable[tuple[Note, Match | None]], target: _Target) -> dict[str, str]:
    """The addresses that do not exist, each with the code that says so.

    What the report names has to be that very mailbox, and not one behind it.
    """
    dead = {
        str(target.recipients[found.position].address): note.stated
        for note, found in matched
        if found and found.named and not found.behind and tells_dead(note.state, note.stated)
    }
    dead.pop(ERASED, None)
    return dead


def _target(connection: sa.Connection, returned: Returned) -> _Target | None:
    """The message that is named first, with what else decides."""
    id = _named(connection, returned)
    if id is None:
        return None
    message = connection.execute(_OF_MESSAGE, {"message": id}).first()
    if message is None:  # removed at this moment
        return None
    recipients = connection.execute(_RECIPIENTS, {"message": id}).all()
    digests = connection.scalars(_DIGESTS, {"message": id}).all()
    went_to = [*connection.scalars(_WENT_TO, {"message": id})]
    if message.server:  # the attempt that has no row of its own, and was not diverted
        went_to.append(None)
    return _Target(
        id=id,
        recipients=recipients,
        senders=(_address_in(message.sender or ""), message.envelope_sender or ""),
        purged=bool(message.purged),
        diverted=message.status == Status.SENDING or not went_to or any(went_to),
        seen=returned.digest in digests,
        full=len(digests) >= _MOST,
    )


def _address_in(sender: str) -> str:
    """The address in From as the list shows it, which may be behind any name."""
    return sender.rpartition("<")[2].removesuffix(">")


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


def _found(
    connection: sa.Connection, query: sa.Select[Any], names: Sequence[str]
) -> Iterable[sa.Row[Any]]:
    """What ``query`` finds for those ``names`` for which a database does not refuse to look."""
    possible = [name for name in names if name.isascii() and name.isprintable()]
    return connection.execute(query, {"names": possible}) if possible else ()


def _by_message_id(connection: sa.Connection, names: Sequence[str]) -> dict[str, uuid.UUID]:
    """The messages that bear ``names``.

    Earlier versions made the Message-ID of the id, and the id of the key: who knows the key can
    tell such a one without having seen it, so that it proves nothing.
    """
    return {
        row.message_id: row.id
        for row in _found(connection, _BY_MESSAGE_ID, names)
        if row.key is None or not row.message_id.startswith(f"<{row.id}@")
    }


def _by_provider_id(connection: sa.Connection, names: Sequence[str]) -> dict[str, uuid.UUID]:
    found = (_found(connection, query, names) for query in _BY_PROVIDER)
    return {row.name: row.id for rows in found for row in rows}


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
    worst = max((state for state, _ in counting), key=_WEIGHTS.__getitem__, default=None)
    weight = _WEIGHTS[worst] if worst else 0
    raised = {"message": id, "weight": weight, "state": worst}
    if not connection.execute(_RAISE_MESSAGE, raised).rowcount:
        raise _Removed  # SQLite would keep a report about nothing
    changed = set[Status]()
    for state, entry in counting:
        said = " ".join(filter(None, (entry.said, _sent_on(entry))))
        values = {
            "message": id,
            "place": entry.position,
            "weight": _WEIGHTS[state],
            "state": state,
            "at": now,
            "said": said[:_LONGEST] or None,
        }
        if connection.execute(_RAISE_RECIPIENT, values).rowcount:
            changed.add(state)
    return frozenset(changed)


def _sent_on(entry: Entry) -> str:
    return f"({entry.behind})" if entry.behind and entry.behind not in entry.text else ""
