"""Delivery: one run after another while messages are due and nothing is in the way."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Sequence

import sqlalchemy as sa

from .. import threads
from ..errors import AddressError, InteractionMailError
from ..logs import log
from ..outbox import claim
from ..settings.model import MessagingSettings
from ..settings.relay import Relay
from ..storage.database import in_short
from ..transport.base import Transport
from ..transport.pool import KeptTransports
from .agents import divert_to
from .ports import DispatcherPorts, DrainStats, StopCondition
from .run import DeliveryRun
from .side_by_side import run_all

_TIDY_EVERY = 3600.0  # s
_POLL = 0.9  # s, so that a stored message leaves within a second even without a notice
_UNTIL_NOTHING_IS_DUE = StopCondition()
_NO_THREAD = (
    "no thread can be started: raise the limit of the system (ulimit -u, TasksMax of systemd, "
    "pids of a container)"
)


class Dispatcher:
    """Delivers what is due; there is one in each worker process."""

    def __init__(self, ports: DispatcherPorts) -> None:
        self._ports = ports
        self._time = claim.Time()
        # A thread outlives the application with these, so they must not keep it alive.
        self._kept = KeptTransports(_weakly(self))
        self._tidied_at = time.monotonic() - _TIDY_EVERY
        self._watched_at = time.monotonic()
        self._watching: threads.Task | None = None
        self._complaint: str | None = None  # logged last, and still true

    def run(self, stop: threading.Event, wake: threading.Event, *, poll: float = _POLL) -> None:
        """Deliver until ``stop``; look for work every ``poll`` seconds, and at once on ``wake``.

        Nothing but ``stop`` ends this: while the database is away, it goes on trying.
        """
        deliver(lambda: self, StopCondition(stop), wake, poll=poll)

    def _turn(self, until: StopCondition) -> bool:
        """Deliver what is due, tidy once an hour; gives whether anything was sent. Never raises."""
        self._kept.close_idle()
        self._watch()
        try:
            busy = self._drain(until).done > 0
            if time.monotonic() - self._tidied_at >= _TIDY_EVERY:
                self._tidied_at = time.monotonic()
                self._ports.tidy()
        except sa.exc.SQLAlchemyError as error:
            self._complain("database", f"{in_short(error)}; trying again")
        except InteractionMailError as error:  # such as: there are no tables yet
            self._complain("held_up", str(error))
        except Exception as error:
            self._complain("failed", f"{error!r}; trying again", exc_info=error)
        else:
            self._complaint = None
            return busy
        return False

    def _watch(self) -> None:
        """Watch over delivery once a minute, aside, as a server that is silent takes its time."""
        if time.monotonic() - self._watched_at < self._ports.watch_every:
            return
        if self._ports.store.single_connection or (self._watching and not self._watching.over):
            return
        self._watched_at = time.monotonic()
        self._watching = threads.start(self._ports.watch, "interaction-mail-watch")

    def _complain(self, event: str, text: str, exc_info: Exception | None = None) -> None:
        """Log ``text``, unless it was logged last."""
        if text != self._complaint:
            self._complaint = text
            log.error(f"dispatcher.{event}: %s", text, exc_info=exc_info)

    def drain(self, until: StopCondition = _UNTIL_NOTHING_IS_DUE) -> DrainStats:
        """Deliver until nothing is due or ``until`` is reached, in short transactions of its own.

        At the end, messages in flight are finished and recorded, and claimed messages that were
        not begun are given back.
        """
        try:
            return self._drain(until)
        finally:
            self._kept.close()

    def _drain(self, until: StopCondition) -> DrainStats:
        stats = DrainStats()
        while self._run(until, stats):
            pass
        return stats

    def _run(self, until: StopCondition, stats: DrainStats) -> bool:
        """A run for each relay of the present settings, side by side.

        Gives whether other settings are in force at their end.
        """
        self._ports.beat()
        settings = self._ports.settings()
        stats.held_up_by = self._obstacle(settings)
        if stats.held_up_by is not None:
            return False
        relays = self._ports.relays(settings)
        self._kept.keep_only(relays)

        def run(relay: Relay, stats: DrainStats) -> bool:
            return self._run_one(settings, relay, relays, until, stats)

        if len(relays) == 1:
            return run(relays[0], stats)
        return run_all(relays, run, stats, until, in_turn=self._ports.store.single_connection)

    def _run_one(
        self,
        settings: MessagingSettings,
        relay: Relay,
        relays: Sequence[Relay],
        until: StopCondition,
        stats: DrainStats,
    ) -> bool:
        run = DeliveryRun(
            self._ports,
            settings,
            relay,
            relays=relays,
            clock=self._time,
            kept=self._kept,
            until=until,
            stats=stats,
        )
        try:
            return run.work()
        finally:
            run.end()

    def _obstacle(self, settings: MessagingSettings) -> str | None:
        if self._ports.suppressed():
            return "the application suppresses sending (MAIL_SUPPRESS_SEND)"
        if not settings.configured:
            return "e-mail is not configured"
        if settings.paused:
            return "sending is paused"
        try:
            divert_to(settings)
        except AddressError as error:  # overrides are not checked together with other settings
            return f"mail cannot be diverted: {error}"
        return None if threads.available() else _NO_THREAD


def _weakly(dispatcher: Dispatcher) -> Callable[[Relay], Transport]:
    reference = weakref.ref(dispatcher)

    def connect(relay: Relay) -> Transport:
        present = reference()
        assert present is not None  # noqa: S101 - it asks for the connection
        return present._ports.transport(relay)

    return connect


def deliver(
    present: Callable[[], Dispatcher | None],
    until: StopCondition,
    wake: threading.Event,
    *,
    poll: float = _POLL,
    rest: Callable[[], object] = lambda: None,
) -> None:
    """Run the dispatcher that ``present`` gives, as ``Dispatcher.run``, while it gives one.

    Nothing here refers to it between two turns, so that its application can be garbage-collected.
    ``rest`` is called whenever nothing is left to do.
    """
    if (dispatcher := present()) is None:
        return
    listening, kept = dispatcher._ports.listening(wake), dispatcher._kept
    del dispatcher
    try:
        with listening:
            while not until.reached() and (dispatcher := present()) is not None:
                wake.clear()
                busy = dispatcher._turn(until)
                del dispatcher
                if not busy:
                    rest()
                    wake.wait(poll)
    finally:
        kept.close()
        if (dispatcher := present()) is not None:
            dispatcher._ports.leave()
