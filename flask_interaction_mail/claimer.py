"""Claiming for a shift, or beside it: the next messages while the last ones are recorded."""

from __future__ import annotations

import math
import threading
import time
import uuid
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Final

import sqlalchemy as sa

from . import breaker, queue
from .claimed import Claimed, by_index
from .office import Office
from .settings import MessagingSettings, OnAmbiguous

GLANCE: Final = 0.25  # s between two looks at what may have changed while there is work


@dataclass(frozen=True, slots=True)
class Wish:
    """How much to claim: ``limit`` messages at most, of which ``free`` begin immediately, and
    ``late`` that their worker has lost.
    """

    limit: int
    free: int
    late: int


@dataclass(frozen=True, slots=True)
class Taken:
    """What a claim came to; nothing of it counts before the commit.

    ``held`` is above a rate; ``all_wished`` says whether it found as many as it was to.
    """

    claimed: list[Claimed]
    held: Collection[uuid.UUID]
    all_wished: bool


class Claimer:
    """Takes messages from the queue for one set of settings, one claim at a time.

    ``held_up_by`` says why there is nothing to be had though messages wait, ``exhausted`` whether
    the last claim found nothing at all; ``probing`` is true while the one message that was
    claimed has to find out whether the server works again; ``one_writer`` while a claim and a
    record cannot be written at once.
    """

    def __init__(self, office: Office, settings: MessagingSettings, clock: queue.Time) -> None:
        self.held_up_by: str | None = None
        self.probing = False
        self.one_writer = True  # until the database has told
        self.exhausted = False
        self._office = office
        self._settings = settings
        self._time = clock
        self._looked_at = -math.inf
        self._only_fresh = False  # as of the last look
        self._underway: Future[list[Claimed]] | None = None
        self._to_tell: list[uuid.UUID] = []  # held, or let go again, and nobody has been told

    @property
    def underway(self) -> bool:
        """Whether a claim was begun and its result not yet taken."""
        return self._underway is not None

    @property
    def ready(self) -> bool:
        """Whether the result of the claim that is under way can be had without waiting."""
        return self._underway is not None and self._underway.done()

    @property
    def may_join(self) -> bool:
        """Whether the next claim can be part of the transaction that records.

        That spares a commit where only one can write, and would keep the others waiting where
        all can.
        """
        return self.one_writer and not self.underway and self._informed

    def begin(self, wish: Wish, *, beside: bool) -> None:
        """Claim; with ``beside``, in a thread of its own if the database lets two write at once."""
        claim = partial(self._claim, wish)
        self._underway = Future()
        if beside and not self.one_writer:
            threading.Thread(
                target=_fulfil,
                args=(self._underway, claim),
                name="interaction-mail-claim",
                daemon=True,
            ).start()
        else:
            _fulfil(self._underway, claim)

    def join(self, connection: sa.Connection, wish: Wish) -> Taken:
        """Claim in the transaction of ``connection``; after its commit, ``keep`` what it gives."""
        held: list[uuid.UUID] = []
        now = self._time.now()
        claimed = queue.claim(
            connection,
            limit=wish.limit,
            worker=self._office.worker,
            lease=self._office.lease,
            now=now,
            late=wish.late,
            free=wish.free,
            hold=self._settings.on_ambiguous is OnAmbiguous.HOLD,
            only_fresh=self._only_fresh,
            sieve=partial(self._sieve, held),
        )
        if claimed and self.probing and not breaker.begin_probe(connection, self._settings, now):
            queue.give_back(connection, claimed, due_at=now, detail=None)
            claimed = []
        return Taken(claimed, held, len(claimed) + len(held) >= wish.limit)

    def keep(self, taken: Taken) -> None:
        """``taken`` is committed: it is the result of a claim that can be had now."""
        self._underway = Future()
        self._underway.set_result(self._kept(taken))

    def take(self) -> list[Claimed]:
        """What the claim that was begun came to, once that is known; raises what it raised."""
        underway, self._underway = self._underway, None
        claimed = underway.result() if underway is not None else []
        told, self._to_tell = self._to_tell, []
        if told:
            self._office.limits.announce(told)
        return claimed

    @property
    def _informed(self) -> bool:
        """Whether nothing stood in the way a moment ago, and there was enough to claim."""
        recent = time.monotonic() - self._looked_at < GLANCE
        return recent and not self.probing

    def _claim(self, wish: Wish) -> list[Claimed]:
        if not self._informed:
            self.exhausted = True
            if not self._look():
                return []
        if self.probing:
            wish = replace(wish, limit=1)
        with self._office.store.writing() as connection:
            taken = self.join(connection, wish)
        return self._kept(taken)

    def _look(self) -> bool:
        """Whether there is something to claim and nothing stands in the way; locks nothing."""
        store, limits = self._office.store, self._office.limits
        with store.reading() as connection:
            self.one_writer = connection.dialect.name == "sqlite"
            now = self._time.look(connection)
            broken = breaker.read(connection, self._settings)
            if broken is not None and broken.until > now:
                self.held_up_by = broken.why
                return False
            by_index(connection)
            gathers = limits.is_due(connection, now)
            waiting = queue.waiting(connection, now)
            if not (gathers or any(waiting)):
                return False
            self._only_fresh = not waiting.other
        self.probing = broken is not None
        self._looked_at = time.monotonic()
        if gathers:
            with store.writing() as connection:
                self._to_tell += limits.gather(connection, now)
        return True

    def _kept(self, taken: Taken) -> list[Claimed]:
        self._to_tell += taken.held
        self.exhausted = not (taken.claimed or taken.held)
        if not taken.all_wished:
            self._looked_at = -math.inf  # there may be no more: a look disturbs nobody
        return taken.claimed

    def _sieve(
        self,
        held: list[uuid.UUID],
        connection: sa.Connection,
        claimed: Sequence[Claimed],
        now: datetime,
    ) -> Collection[uuid.UUID]:
        held += self._office.limits.sieve(connection, claimed, now)
        return held


def _fulfil(promise: Future[list[Claimed]], claim: Callable[[], list[Claimed]]) -> None:
    try:
        promise.set_result(claim())
    except BaseException as error:
        promise.set_exception(error)
