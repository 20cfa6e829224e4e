"""What a host asks of notifications: what became of them, and to call them back.

Those that wait for the commit of ``db.session`` are found as those that are stored. All of it
needs an app context.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from functools import partial

import sqlalchemy as sa
from sqlalchemy.orm import Session

from . import clock, operations
from .errors import ContentError
from .messages import arguments
from .outbox import keys, messages
from .state import State, state_of
from .storage.write_conflicts import change_or_skip
from .unit_of_work import session_events
from .unit_of_work.pending_work import CancelMessages, StoreMessage
from .unit_of_work.session_events import pending_messages, pending_notification
from .values import Notification, Reason


def get_notification(
    id_or_key: uuid.UUID | str | None = None,
    /,
    *,
    id: uuid.UUID | str | None = None,
    key: str | None = None,
) -> Notification | None:
    """The notification as it stands now; None if there is none.

    ``id=`` and ``key=`` say what is meant; a bare text is tried as a key first, then as an id. Of
    several with one key it is the newest, and its ``earlier`` leads to the one before. One that
    is still waiting for the commit of ``db.session`` is found, too.

    Raises:
        ContentError: ``id=`` is no UUID, or the key is none that a notification can have.
        TypeError: not exactly one of the three is given, or it is of another type.
    """
    wanted = _Wanted.of("get_notification", id_or_key, id, key)
    state = state_of()
    session = state.db.session()
    with state.database.reading_in(session) as connection:
        ids = wanted.ids(state, connection, session)
        stored = messages.load(connection, ids[:1])
    return next((stored.get(one) or pending_notification(session, one) for one in ids[:1]), None)


def cancel_notification(
    id_or_key: uuid.UUID | str | None = None,
    /,
    *,
    id: uuid.UUID | str | None = None,
    key: str | None = None,
) -> bool:
    """Call a notification back; True if it had not left yet.

    ``id=`` and ``key=`` say what is meant; a bare text is tried as a key first, then as an id.
    Belongs to the transaction of ``db.session`` if one is open, as a new notification does;
    otherwise it commits a transaction of its own.

    Raises:
        ContentError: ``id=`` is no UUID, or the key is none that a notification can have.
        TypeError: not exactly one of the three is given, or it is of another type.
    """
    wanted = _Wanted.of("cancel_notification", id_or_key, id, key)
    state = state_of()
    session = state.db.session()
    connection = state.database.connection_of(session) if session.in_transaction() else None
    if connection is not None:
        state.database.check_tables(connection)
        ids = wanted.ids(state, connection, session)
    else:
        with state.database.reading() as own:
            ids = wanted.ids(state, own, session)
    if session_events.withdraw(
        session, lambda work: isinstance(work, StoreMessage) and work.message.id in ids
    ):
        return True
    if connection is None:
        return operations.cancel(state, *ids)
    call_back = partial(messages.cancel, connection, ids, Reason.WITHDRAWN, clock.now())
    cancelled = change_or_skip(connection, call_back)
    if cancelled:
        session_events.register(CancelMessages(ids=tuple(cancelled)), state)
    return bool(cancelled)


class _Wanted:
    """Which notification a caller means."""

    def __init__(self, *, key: str | None = None, id: uuid.UUID | None = None) -> None:
        self._key = key
        self._id = id

    @classmethod
    def of(cls, function: str, bare: object, id: object, key: object) -> _Wanted:
        """What the arguments of ``function`` say."""
        if sum(one is not None for one in (bare, id, key)) != 1:
            raise TypeError(f"{function}() takes an id, or id=, or key=: give one of them")
        if id is not None or isinstance(bare, uuid.UUID):
            return cls(id=_uuid(bare or id))
        if key is not None:
            return cls(key=arguments.key(key))
        if not isinstance(bare, str):
            raise TypeError(f"{function}() takes a text or a UUID, not {type(bare).__name__}")
        return cls(key=arguments.key(bare), id=_uuid_or_none(bare))

    def ids(self, state: State, connection: sa.Connection, session: Session) -> Sequence[uuid.UUID]:
        """The ids of all that is meant, newest first."""
        found: Sequence[uuid.UUID] = ()
        if self._key is not None:
            state.database.limits.check_letters("key", self._key)
            queued = [one.id for one in pending_messages(session) if one.key == self._key]
            found = [*queued, *keys.use_of(connection, self._key).ids]
        return found or ([] if self._id is None else [self._id])


def _uuid(given: object) -> uuid.UUID:
    found = given if isinstance(given, uuid.UUID) else _uuid_or_none(str(given))
    if found is None:
        raise ContentError(
            f"id must be a UUID, not {given!r:.80}; look up with key= what was given as key="
        )
    return found


def _uuid_or_none(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None


def of_key(state: State, session: Session, key: str) -> tuple[Notification | None, int]:
    """The notification that has ``key``, or None and the number of the next one with it."""
    for message in pending_messages(session):
        if message.key == key:
            return message.snapshot(), message.key_number
    with state.database.reading_in(session) as connection:
        state.database.limits.check_letters("key", key)
        use = keys.use_of(connection, key)
        if use.taken_by is None:
            return None, use.next
        return messages.load(connection, [use.taken_by])[use.taken_by], use.next
