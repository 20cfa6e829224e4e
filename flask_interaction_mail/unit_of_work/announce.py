"""Sends signals to the host: what became of a notification, and that settings were saved."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Final

from blinker import NamedSignal
from flask import Flask

from .. import signals
from ..logs import log
from ..outbox import messages
from ..storage.database import Database, context_of
from ..values import Notification, Status

Context = Callable[[], AbstractContextManager[object]]  # makes an app context

_BATCH: Final = 500  # messages that are read at once; a digest ends many


def is_heard(status: Status) -> bool:
    """Whether the signal of ``status`` has receivers."""
    signal = signals.BY_STATUS.get(status)
    return signal is not None and bool(signal.receivers)


def announce_ids(
    app: Flask, database: Database, ids: Sequence[uuid.UUID], *, context: Context | None = None
) -> None:
    """Send the signals of the messages ``ids``, as they are in ``database`` now. Never raises."""
    if not ids or not any(signal.receivers for signal in signals.BY_STATUS.values()):
        return  # without receivers nothing need be read
    for start in range(0, len(ids), _BATCH):
        try:
            with database.reading() as connection:
                snapshots = messages.load(connection, ids[start : start + _BATCH])
        except Exception:
            log.exception("signal.lost: cannot read what to announce")
            return
        for snapshot in snapshots.values():
            emit(app, snapshot, context=context)


def announce_returned(
    app: Flask, database: Database, id: uuid.UUID, states: Iterable[Status]
) -> None:
    """Send the signals of what came back for recipients of the message ``id``. Never raises."""
    heard = [signals.BY_REPORT[state] for state in states if state in signals.BY_REPORT]
    if not any(signal.receivers for signal in heard):
        return
    try:
        with database.reading() as connection:
            snapshot = messages.load(connection, [id]).get(id)
    except Exception:
        log.exception("signal.lost: cannot read what to announce")
        return
    for signal in heard if snapshot else ():
        send_signal(app, signal, notification=snapshot)


def emit(app: Flask, notification: Notification, *, context: Context | None = None) -> None:
    """Send the signal of the status of ``notification``. Never raises."""
    signal = signals.BY_STATUS.get(notification.status)
    if signal is not None:
        send_signal(app, signal, context=context, notification=notification)


def send_signal(
    app: Flask, signal: NamedSignal, *, context: Context | None = None, **values: object
) -> None:
    """Call every receiver of ``signal``; the exception of one is logged, and the next is called.

    Each is called in a new ``context()``. Without it, in the current app context of ``app``, or
    in a new one if there is none.
    """
    for receiver in signal.receivers_for(app):
        try:
            with context() if context is not None else context_of(app):
                receiver(app, **values)
        except Exception:
            log.exception("signal.receiver_failed: a receiver of %s raised", signal.name)
