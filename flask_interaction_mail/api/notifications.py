"""Look up and cancel notifications, also those that wait for the commit of ``db.session``."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm import Session

from .. import clock, operations
from ..errors import ContentError
from ..messages import arguments
from ..outbox import keys, messages
from ..state import State, state_of
from ..storage.write_conflicts import change_or_skip
from ..unit_of_work import session_events
from ..unit_of_work.pending_work import CancelMessages, StoreMessage
from ..unit_of_work.session_events import pending_messages, pending_notification
from ..values import Notification, Reason


def get_notification(
    id_or_key: uuid.UUID | str | None = None,
    /,
    *,
    id: uuid.UUID | str | None = None,
    key: str | None = None,
) -> Notification | None:
    """Return the present state of a notification, or None if there is none.

    Give ``id=`` or ``key=``, or a bare text, which is tried as a key first and then as an id. Of
    several with the same key the newest is returned; its ``earlier`` is the id of the previous
    one. A notification that still waits for the commit of ``db.session`` is found too.

    Raises:
        ContentError: ``id=`` is not a UUID, or no notification can have this key.
        TypeError: not exactly one of the three is given, or it is of another type.
    """
    wanted = _Wanted.of("get_notification", id_or_key, id, key)
    state = state_of()
    session = state.db.session()
    with state.database.reading_in(session) as connection:
        newest = wanted.ids(state, connection, session)[:1]
        stored = messages.load(connection, newest)
    return next((stored.get(id) or pending_notification(session, id) for id in newest), None)


def cancel_notification(
    id_or_key: uuid.UUID | str | None = None,
    /,
    *,
    id: uuid.UUID | str | None = None,
    key: str | None = None,
) -> bool:
    """Cancel a notification; True if it had not left yet.

    One that is already in a digest for some of its recipients is cancelled for the others. It is
    held until the digest is done, and keeps its key.

    Give ``id=`` or ``key=``, or a bare text, which is tried as a key first and then as an id. The
    cancellation belongs to the transaction of ``db.session`` if one is open, as a new notification
    does. Otherwise it is committed in a transaction of its own.

    Raises:
        ContentError: ``id=`` is not a UUID, or no notification can have this key.
        TypeError: not exactly one of the three is given, or it is of another type.
    """
    wanted = _Wanted.of("cancel_notification", id_or_key, id, key)
    state = state_of()
    session = state.db.session()
    connection = state.database.connection_of(session) if session.in_transaction() else None
    if connection is not None:
        state.database.check_tables(connection)
        ids = wanted.ids_with_redirects(state, connection, session)
    else:
        with state.database.reading() as own:
            ids = wanted.ids_with_redirects(state, own, session)
    if session_events.withdraw(
        session, lambda work: isinstance(work, StoreMessage) and work.message.id in ids
    ):
        return True
    if connection is None:
        return bool(operations.cancel(state, *ids))
    cancel = partial(messages.cancel, connection, ids, Reason.WITHDRAWN, clock.now())
    cancelled = change_or_skip(connection, cancel)
    if cancelled:
        session_events.register(CancelMessages(ids=tuple(cancelled)), state)
    return bool(cancelled)


class _Wanted(NamedTuple):
    """Which notification a caller means."""

    key: str | None = None
    id: uuid.UUID | None = None

    @classmethod
    def of(cls, function: str, bare: object, id: object, key: object) -> _Wanted:
        """Read the arguments of ``function``."""
        if sum(argument is not None for argument in (bare, id, key)) != 1:
            raise TypeError(f"{function}() takes an id, or id=, or key=: give one of them")
        if id is not None or isinstance(bare, uuid.UUID):
            return cls(id=id_of(bare or id))
        if key is not None:
            return cls(key=arguments.key(key))
        if not isinstance(bare, str):
            raise TypeError(f"{function}() takes a text or a UUID, not {type(bare).__name__}")
        return cls(key=arguments.key(bare), id=_uuid_or_none(bare))

    def ids(self, state: State, connection: sa.Connection, session: Session) -> Sequence[uuid.UUID]:
        """The ids of all notifications that are meant, newest first."""
        found: Sequence[uuid.UUID] = ()
        if self.key is not None:
            state.database.limits.check_letters("key", self.key)
            queued = [
                message.id for message in pending_messages(session) if message.key == self.key
            ]
            found = [*queued, *keys.use_of(connection, self.key).ids]
        return found or ([] if self.id is None else [self.id])

    def ids_with_redirects(
        self, state: State, connection: sa.Connection, session: Session
    ) -> Sequence[uuid.UUID]:
        """The same, with the messages in which they went to the default To."""
        ids = self.ids(state, connection, session)
        return [*ids, *messages.redirects_of(connection, ids)] if ids else ids


def id_of(given: object) -> uuid.UUID:
    """The id that ``given`` is; raises ContentError."""
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
    """The notification that has ``key``, if any, and the number of the next one with it."""
    for message in pending_messages(session):
        if message.key == key:
            return message.snapshot(), message.key_number
    with state.database.reading_in(session) as connection:
        state.database.limits.check_letters("key", key)
        use = keys.use_of(connection, key)
        if use.taken_by is None:
            return None, use.next
        return messages.load(connection, [use.taken_by])[use.taken_by], use.next
