"""Signals to the host: what became of its notifications, and that settings were saved."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Final

from blinker import NamedSignal
from flask import Flask

from . import signals
from .outbox import messages
from .storage.database import Database, context_of
from .values import Notification, Status

log = logging.getLogger("flask_interaction_mail")

Context = Callable[[], AbstractContextManager[object]]  # makes an app context

_BATCH: Final = 500  # messages that are read at once: a digest may bring news of many
_SIGNALS: Final[dict[Status, NamedSignal]] = {
    Status.QUEUED: signals.notification_queued,
    Status.SENT: signals.notification_sent,
    Status.DEFERRED: signals.notification_deferred,
    Status.HELD: signals.notification_held,
    Status.FAILED: signals.notification_failed,
    Status.CANCELLED: signals.notification_cancelled,
    Status.SUPPRESSED: signals.notification_queued,  # it tells of all that was stored
}


def is_heard(status: Status) -> bool:
    """Whether anybody listens to what has come to this ``status``."""
    signal = _SIGNALS.get(status)
    return signal is not None and bool(signal.receivers)


def announce_ids(
    app: Flask, database: Database, ids: Sequence[uuid.UUID], *, context: Context | None = None
) -> None:
    """Signal what now stands in ``database`` about the messages ``ids``. Never raises."""
    if not ids or not any(signal.receivers for signal in _SIGNALS.values()):
        return  # nobody listens, so nothing need be read
    for start in range(0, len(ids), _BATCH):
        try:
            with database.reading() as connection:
                snapshots = messages.load(connection, ids[start : start + _BATCH])
        except Exception:
            log.exception("signal.lost: cannot read what to announce")
            return
        for snapshot in snapshots.values():
            emit(app, snapshot, context=context)


def emit(app: Flask, notification: Notification, *, context: Context | None = None) -> None:
    """Send the signal of its status; a receiver's exception is logged. Never raises."""
    signal = _SIGNALS.get(notification.status)
    if signal is not None:
        send_signal(app, signal, context=context, notification=notification)


def send_signal(
    app: Flask, signal: NamedSignal, *, context: Context | None = None, **values: object
) -> None:
    """Call every receiver of ``signal``, one's exception never the next one's.

    Each is called in a ``context``; without, in the present one of ``app``, or else in a new one.
    """
    for receiver in signal.receivers_for(app):
        try:
            with context() if context is not None else context_of(app):
                receiver(app, **values)
        except Exception:
            log.exception("signal.receiver_failed: a receiver of %s raised", signal.name)
