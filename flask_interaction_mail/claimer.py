"""Claiming for a shift, or beside it: the next messages while the last ones are recorded."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from concurrent.futures import Future
from functools import partial

from . import breaker, queue
from .office import Office
from .queue import Claimed
from .settings import MessagingSettings, OnAmbiguous


class Claimer:
    """Takes messages from the queue for one set of settings, one claim at a time.

    ``held_up_by`` says why there is nothing to be had though messages wait; ``probing`` is true
    while the one message that was claimed has to find out whether the server works again;
    ``one_writer`` while a claim and a record cannot be written at once.
    """

    def __init__(self, office: Office, settings: MessagingSettings, clock: queue.Time) -> None:
        self.held_up_by: str | None = None
        self.probing = False
        self.one_writer = True  # until the database has told
        self._office = office
        self._settings = settings
        self._time = clock
        self._underway: Future[list[Claimed]] | None = None

    @property
    def underway(self) -> bool:
        """Whether a claim was begun and its result not yet taken."""
        return self._underway is not None

    @property
    def ready(self) -> bool:
        """Whether the result of the claim that is under way can be had without waiting."""
        return self._underway is not None and self._underway.done()

    def begin(self, limit: int, in_flight: Collection[Claimed]) -> None:
        """Claim at most ``limit`` messages; ``in_flight`` are those that are being carried.

        In a thread of its own where there is something to be recorded meanwhile, and the
        database lets two write at once.
        """
        lost = sum(one.lost_before for one in in_flight)
        connections = self._office.connections
        free, late = max(0, connections - len(in_flight)), max(0, connections - lost)
        claim = partial(self._claim, limit, free=free, late=late)
        self._underway = Future()
        if in_flight and not self.one_writer:
            threading.Thread(
                target=_fulfil,
                args=(self._underway, claim),
                name="interaction-mail-claim",
                daemon=True,
            ).start()
        else:
            _fulfil(self._underway, claim)

    def take(self) -> list[Claimed]:
        """What the claim that was begun came to, once that is known; raises what it raised."""
        underway, self._underway = self._underway, None
        return underway.result() if underway is not None else []

    def _claim(self, limit: int, *, free: int, late: int) -> list[Claimed]:
        store = self._office.store
        with store.reading() as connection:
            self.one_writer = connection.dialect.name == "sqlite"
            now = self._time.look(connection)
            broken = breaker.read(connection, self._settings)
            if broken is not None and broken.until > now:
                self.held_up_by = broken.why
                return []
            if not queue.has_work(connection, now):
                return []
        self.probing = broken is not None
        with store.writing() as connection:
            claimed = queue.claim(
                connection,
                limit=1 if self.probing else limit,
                worker=self._office.worker,
                lease=self._office.lease,
                now=self._time.now(),
                late=late,
                free=free,
                hold=self._settings.on_ambiguous is OnAmbiguous.HOLD,
            )
            if (
                claimed
                and self.probing
                and not breaker.begin_probe(connection, self._settings, now)
            ):
                queue.give_back(connection, claimed, due_at=now, detail=None)
                return []
        return claimed


def _fulfil(promise: Future[list[Claimed]], claim: Callable[[], list[Claimed]]) -> None:
    try:
        promise.set_result(claim())
    except BaseException as error:
        promise.set_exception(error)
