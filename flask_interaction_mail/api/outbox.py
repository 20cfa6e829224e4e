"""``messaging.outbox``: the outbox for the host's own code, with the filters of the panel."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Final, TypedDict, Unpack

from .. import addresses, operations
from ..errors import AddressError, SentAgain
from ..messages import arguments
from ..outbox import messages
from ..state import State, state_of
from ..values import Notification, Reason, Status
from .notifications import cancel_notification, id_of

if TYPE_CHECKING:  # loaded with the first search
    from ..outbox.wanted import Wanted

_TOGETHER: Final = 500  # messages that are read at once


class OutboxFilter(TypedDict, total=False):
    """Which messages are wanted; all that is given has to fit.

    - ``status``: a ``Status`` or its word, or several, of which one has to fit.
    - ``reason``, ``kind``: the reason of the status, the kind of the message.
    - ``relay``: the name of the relay that has it, or is to have it.
    - ``to``: the whole address of a recipient.
    - ``text``: is in the subject, or in a recipient's name or address, whatever its case.
    - ``message_id``: with or without the angle brackets.
    - ``provider_id``: the name that a provider gave it, such as Amazon SES.
    - ``metadata``: names and values, all of which the message has. MariaDB compares values by its
      collation, which usually ignores case.
    - ``since``, ``until``: when it was queued, as aware datetimes; ``until`` is not included.
    """

    status: Status | str | Iterable[Status | str]
    reason: Reason | str
    kind: str
    relay: str
    to: str
    text: str
    message_id: str
    provider_id: str
    metadata: Mapping[str, str]
    since: datetime
    until: datetime


class Outbox:
    """The outbox of the current app. Every method needs an app context.

    ``query`` and ``count`` see what is committed. ``resend`` and ``release`` commit a transaction
    of their own; ``cancel`` joins that of ``db.session`` if one is open.
    """

    def query(
        self, *, limit: int | None = None, **wanted: Unpack[OutboxFilter]
    ) -> Iterator[Notification]:
        """The messages that are ``wanted``, newest first; see ``OutboxFilter``.

        They are read in pieces of 500, so that the memory does not depend on their number.

        Raises:
            ContentError, AddressError: a filter that no message can fit; it is named.
            ArgumentError: a filter of a wrong type.
            TypeError: there is no such filter.
        """
        return _found(_wanted(wanted), limit)

    def count(self, **wanted: Unpack[OutboxFilter]) -> int:
        """How many messages are ``wanted``; raises what ``query`` raises.

        With ``text``, and with ``kind`` alone, each message is looked at.
        """
        checked = _wanted(wanted)
        with state_of().database.reading() as connection:
            return checked.query(connection).count(connection)

    def resend(
        self, id: uuid.UUID | str, to: str | None = None, *, again: bool = False
    ) -> Notification:
        """Decide about recipients and sender of a message anew, and queue that as a new message.

        With ``to``, one address, the copy goes there and to nobody else. With ``again`` it does
        not matter whether the message was sent again before.

        Raises:
            LookupError: there is no such message.
            StillWaiting: it has not ended: ``release`` or ``cancel`` it.
            SentAgain: it was sent again before.
            InteractionMailError: it cannot be composed with the settings in force, or
                ``db.session`` holds the lock of SQLite.
            ValueError: its text is gone, or cannot be read.
        """
        state, wanted = _state_to_write(), id_of(id)
        try:
            return operations.resend(state, wanted, to=to)
        except SentAgain as error:
            if not again:
                raise
            return operations.resend(state, wanted, after=error.newest, to=to)

    def cancel(self, id: uuid.UUID | str) -> bool:
        """Call a message back; True if it had not left. As ``cancel_notification(id=id)``."""
        return cancel_notification(id=id)

    def release(self, id: uuid.UUID | str) -> bool:
        """Send a held message as it is; False if it is not held, or is in a digest.

        Raises:
            InteractionMailError: ``db.session`` holds the lock of SQLite.
        """
        return bool(operations.release(_state_to_write(), id_of(id)))


def _state_to_write() -> State:
    """The state of the current app, where a transaction of our own would not wait for ever."""
    state = state_of()
    state.database.refuse_own_lock(state.db.session())
    return state


def _found(wanted: Wanted, limit: int | None) -> Iterator[Notification]:
    from ..outbox import listing  # late: most processes never look

    database, place, left = state_of().database, None, limit
    while left is None or left > 0:
        size = _TOGETHER if left is None else min(left, _TOGETHER)
        with database.reading() as connection:
            ids, place = listing.ids_of(connection, wanted, place, size)
            found = messages.load(connection, ids)
        yield from (found[id] for id in ids if id in found)
        if place is None:
            return
        left = None if left is None else left - len(ids)


def _wanted(given: OutboxFilter) -> Wanted:
    from ..outbox.wanted import Wanted  # late: most processes never look

    unknown = given.keys() - OutboxFilter.__annotations__.keys()
    if unknown:
        raise TypeError(
            f"there is no filter {min(unknown)!r}: {', '.join(OutboxFilter.__annotations__)}"
        )
    message_id = _text(given, "message_id")
    return Wanted(
        statuses=_statuses(given.get("status")),
        reason=arguments.word(Reason, "reason", given["reason"]) if given.get("reason") else "",
        kind=_text(given, "kind") or "",
        relay=_text(given, "relay") or "",
        text=_text(given, "text") or "",
        addresses=_spellings(given),
        message_id=message_id and f"<{message_id.strip('<>')}>",
        provider_id=_text(given, "provider_id"),
        metadata=dict(arguments.metadata(given.get("metadata"))),
        since=arguments.instant("since", given.get("since")),
        until=arguments.instant("until", given.get("until")),
    )


def _text(given: OutboxFilter, name: str) -> str | None:
    return arguments.text(name, given.get(name)) or None


def _statuses(given: object) -> tuple[Status, ...] | None:
    if given is None:
        return None
    several = [given] if isinstance(given, str) or not isinstance(given, Iterable) else given
    return tuple(dict.fromkeys(arguments.word(Status, "status", one) for one in several))


def _spellings(given: OutboxFilter) -> tuple[str, ...]:
    address = _text(given, "to")
    if address is None:
        return ()
    if found := addresses.spellings(address):
        return found
    raise AddressError(f"to takes a whole address such as 'ada@example.com', not {address!r:.80}.")
