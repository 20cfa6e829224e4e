"""Delivery: shift after shift, for as long as something is due and nothing stands in the way."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import sqlalchemy as sa

from . import queue
from .crew import divert_to
from .errors import AddressError, InteractionMailError
from .office import Limit as Limit
from .office import Office as Office
from .office import Progress as Progress
from .office import Store as Store
from .settings import MessagingSettings
from .shift import Shift
from .transport.kept import KeptTransports

log = logging.getLogger("flask_interaction_mail")

_TIDY_EVERY = 3600.0  # s
_POLL = 0.9  # s, so that what is stored leaves within a second even if nobody tells
_NO_LIMIT = Limit()


class Dispatcher:
    """Delivers what is due; one a worker process."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._time = queue.Time()
        self._kept = KeptTransports(office.transport)
        self._tidied_at = time.monotonic() - _TIDY_EVERY
        self._complaint: str | None = None  # what was logged last, and is still so

    def run(self, stop: threading.Event, wake: threading.Event, *, poll: float = _POLL) -> None:
        """Deliver until ``stop``; look for work every ``poll`` seconds, and at once on ``wake``.

        A database that is away is waited for; nothing but ``stop`` ends this.
        """
        deliver(lambda: self, stop, wake, poll=poll)

    def _turn(self, stop: threading.Event) -> bool:
        """Deliver what is due, tidy where it is time; whether there was anything. Never raises."""
        self._kept.close_idle()
        try:
            busy = self._drain(Limit(stop)).done > 0
            if time.monotonic() - self._tidied_at >= _TIDY_EVERY:
                self._tidied_at = time.monotonic()
                self._office.tidy()
        except sa.exc.SQLAlchemyError as error:
            log.error("dispatcher.database: %s; trying again", type(error).__name__)
        except InteractionMailError as error:  # no tables yet, say
            self._complain(str(error))
        except Exception:
            log.exception("dispatcher.failed: trying again")
        else:
            self._complaint = None
            return busy
        return False

    def _complain(self, text: str) -> None:
        if text != self._complaint:
            self._complaint = text
            log.error("dispatcher.held_up: %s", text)

    def drain(self, limit: Limit = _NO_LIMIT) -> Progress:
        """Deliver until nothing is due or ``limit`` is reached; short transactions of its own.

        What is in flight at the end is finished and recorded, what was claimed and not begun is
        given back.
        """
        try:
            return self._drain(limit)
        finally:
            self._kept.close()

    def _drain(self, limit: Limit) -> Progress:
        progress = Progress()
        while self._shift(limit, progress):
            pass
        return progress

    def _shift(self, limit: Limit, progress: Progress) -> bool:
        """Work under the settings that are in force now; whether others are at its end."""
        settings = self._office.settings()
        progress.held_up_by = self._obstacle(settings)
        if progress.held_up_by is not None:
            return False
        shift = Shift(
            self._office,
            settings,
            clock=self._time,
            kept=self._kept,
            limit=limit,
            progress=progress,
        )
        try:
            return shift.work()
        finally:
            shift.end()

    def _obstacle(self, settings: MessagingSettings) -> str | None:
        if self._office.suppressed():
            return "the application suppresses sending (MAIL_SUPPRESS_SEND)"
        if not settings.configured:
            return "e-mail is not configured"
        if settings.paused:
            return "sending is paused"
        try:
            divert_to(settings)
        except AddressError as error:  # an override is not looked at together with the others
            return f"mail cannot be diverted: {error}"
        return None


def deliver(
    present: Callable[[], Dispatcher | None],
    stop: threading.Event,
    wake: threading.Event,
    *,
    poll: float = _POLL,
) -> None:
    """As ``Dispatcher.run`` for what ``present`` gives, and only while it gives one.

    Between two looks nothing here holds on to it, so that its application can be thrown away.
    """
    if (dispatcher := present()) is None:
        return
    listening, kept = dispatcher._office.listening(wake), dispatcher._kept
    del dispatcher
    try:
        with listening:
            while not stop.is_set() and (dispatcher := present()) is not None:
                wake.clear()
                busy = dispatcher._turn(stop)
                del dispatcher
                if not busy:
                    wake.wait(poll)
    finally:
        kept.close()
