"""What a host's transaction carries for us: messages to store, requests to call back."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import sqlalchemy as sa
from blinker import NamedSignal

from .. import clock, signals
from ..messages.message import NewMessage
from ..names import one_line
from ..outbox import messages
from ..storage.conflicts import survive
from ..values import Notification, Reason, Status
from .session_events import Fate

if TYPE_CHECKING:
    from ..state import State

log = logging.getLogger("flask_interaction_mail")

Context = Callable[[], AbstractContextManager[object]]  # makes an app context

_SMALL = 4000  # bytes of a message without content
_NAMED = 10  # recipients of one message in a log record
_BATCH = 500  # messages that are read at once: a digest may bring news of many
_SIGNALS: dict[Status, NamedSignal] = {
    Status.QUEUED: signals.notification_queued,
    Status.SENT: signals.notification_sent,
    Status.DEFERRED: signals.notification_deferred,
    Status.HELD: signals.notification_held,
    Status.FAILED: signals.notification_failed,
    Status.CANCELLED: signals.notification_cancelled,
    Status.SUPPRESSED: signals.notification_queued,  # it tells of all that was stored
}


@dataclass(eq=False, slots=True)
class Storing:
    """A message that is stored with a transaction."""

    message: NewMessage
    fate: Fate = Fate.JOIN

    @property
    def size(self) -> int:
        """About how many bytes it takes in memory: the content, and what it was made of."""
        return _SMALL + 3 * len(self.message.content or b"")

    def __str__(self) -> str:
        named = [one.address or one.name for one in self.message.recipients]
        more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
        whom = f"{', '.join(named[:_NAMED])}{more}" or "nobody"
        return f"{self.message.id} ({one_line(self.message.intent.subject)!r} to {one_line(whom)})"


@dataclass(eq=False, slots=True)
class CallingBack:
    """Messages called back with a transaction: named, or all requests for a pair just merged."""

    pair: str | None = None
    ids: Sequence[uuid.UUID] = ()
    reason: Reason = Reason.WITHDRAWN
    fate: Fate = Fate.JOIN
    size: int = 1000  # bytes, about

    def __str__(self) -> str:
        return f"calling back {', '.join(map(str, self.ids)) or 'the requests for a pair'}"


Work = Storing | CallingBack


class Keeper:
    """Stores the works of one app and tells the world afterwards."""

    def __init__(self, state: State) -> None:
        self._state = state

    def write(self, connection: sa.Connection, works: Sequence[Work]) -> list[Work]:
        """Put ``works`` into the database; gives those that changed something there."""
        # Not by the message's id: of two works with one key the first must win.
        storing = {work.message.origin: work for work in works if isinstance(work, Storing)}
        stored = messages.insert(connection, [work.message for work in storing.values()])
        done: list[Work] = [storing[message.origin] for message in stored]
        for work in works:
            if isinstance(work, CallingBack):
                if work.pair is not None:
                    work.ids = messages.waiting_for_pair(connection, work.pair)
                call_back = partial(messages.cancel, connection, work.ids, work.reason, clock.now())
                survive(connection, call_back)
                done += [work] if work.ids else []
        return done

    def announce(self, works: Sequence[Work]) -> None:
        """Signals and the wake-up, after the commit. Never raises."""
        for work in works:
            if isinstance(work, Storing):
                self._announce(work.message)
            else:
                announce_ids(self._state, work.ids)
        if any(
            isinstance(work, Storing) and work.message.status is Status.QUEUED for work in works
        ):
            self._state.wake()

    def _announce(self, message: NewMessage) -> None:
        if (signal := _SIGNALS.get(message.status)) is not None and signal.receivers:
            emit(self._state, message.snapshot())


def announce_ids(state: State, ids: Sequence[uuid.UUID], *, context: Context | None = None) -> None:
    """Signal what now stands in the database about the messages ``ids``. Never raises."""
    if not ids or not any(signal.receivers for signal in _SIGNALS.values()):
        return  # nobody listens, so nothing need be read
    for start in range(0, len(ids), _BATCH):
        try:
            with state.database.reading() as connection:
                snapshots = messages.load(connection, ids[start : start + _BATCH])
        except Exception:
            log.exception("signal.lost: cannot read what to announce")
            return
        for snapshot in snapshots.values():
            emit(state, snapshot, context=context)


def emit(state: State, notification: Notification, *, context: Context | None = None) -> None:
    """Send the signal of its status; a receiver's exception is logged. Never raises."""
    signal = _SIGNALS.get(notification.status)
    if signal is not None:
        send_signal(state, signal, context=context, notification=notification)


def send_signal(
    state: State, signal: NamedSignal, *, context: Context | None = None, **values: object
) -> None:
    """Call every receiver of ``signal``, one's exception never the next one's.

    Each is called in a ``context``; without, in the present one of the app, or else in a new one.
    """
    for receiver in signal.receivers_for(state.app):
        try:
            with (context or state.context)():
                receiver(state.app, **values)
        except Exception:
            log.exception("signal.receiver_failed: a receiver of %s raised", signal.name)
