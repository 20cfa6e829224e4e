"""Claiming for a run, or beside it: the next messages while the last ones are recorded."""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Final

import sqlalchemy as sa

from .. import threads
from ..outbox import breaker, claim, server_limits
from ..outbox.claimed import Claimed
from ..outbox.fenced import by_index
from ..outbox.sizes import ANY, LARGE, SMALL, Sizes
from ..settings.model import MessagingSettings, OnAmbiguous
from ..transport.relay import Relay
from .ports import DispatcherPorts

GLANCE: Final = 0.25  # s between two looks at what may have changed while there is work


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """How much to claim: ``limit`` messages at most, of which ``free`` begin immediately, and
    ``late`` that their worker has lost; of any ``sizes`` means small ones, or a large one alone.
    """

    limit: int
    free: int
    late: int
    sizes: Sizes = ANY


@dataclass(frozen=True, slots=True)
class ClaimResult:
    """What a claim came to; nothing of it counts before the commit.

    ``held`` is above a rate; ``found_all`` says whether it found as many as it was to.
    """

    claimed: list[Claimed]
    held: Collection[uuid.UUID]
    found_all: bool


class Claimer:
    """Takes messages from the queue for one set of settings, one claim at a time.

    ``held_up_by`` says why there is nothing to be had though messages wait, ``exhausted`` whether
    the last claim found nothing at all; ``probing`` is true while the one message that was
    claimed has to find out whether the server works again; ``one_writer`` while a claim and a
    record cannot be written at once. ``room`` is how many recipients the server takes in one
    transaction, and ``connections`` how many of these, None for any number. ``large_waits`` says
    whether a large message was due at the last look, and was not claimed since.
    """

    def __init__(
        self, ports: DispatcherPorts, settings: MessagingSettings, relay: Relay, clock: claim.Time
    ) -> None:
        self.held_up_by: str | None = None
        self.probing = False
        self.one_writer = True  # until the database has told
        self.exhausted = False
        self.large_waits = False
        self.room: int | None = None
        self.connections: int | None = None
        self._ports = ports
        self._settings = settings
        self._relay = relay
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

    def begin(self, request: ClaimRequest, *, beside: bool) -> None:
        """Claim; with ``beside``, in a thread of its own if the database lets two write at once."""
        work = partial(self._claim, request)
        self._underway = Future()
        fulfil = partial(_fulfil, self._underway, work)
        aside = beside and not self.one_writer
        if not (aside and threads.start(fulfil, "interaction-mail-claim")):
            fulfil()

    def join(self, connection: sa.Connection, request: ClaimRequest) -> ClaimResult:
        """Claim in the transaction of ``connection``; after its commit, ``keep`` what it gives."""
        held: list[uuid.UUID] = []
        store, now = self._ports.store, self._time.now()
        claimed = claim.claim(
            connection,
            limit=request.limit,
            worker=self._ports.worker,
            lease=self._ports.lease,
            now=now,
            late=request.late,
            free=request.free,
            hold=self._settings.on_ambiguous is OnAmbiguous.HOLD,
            only_fresh=self._only_fresh,
            sizes=request.sizes,
            reading=None if store.lone else store.reading,
            sieve=partial(self._sieve, held),
        )
        if claimed and self.probing and not breaker.begin_probe(connection, self._relay, now):
            claim.give_back(connection, claimed, due_at=now, detail=None)
            claimed = []
        return ClaimResult(claimed, held, len(claimed) + len(held) >= request.limit)

    def keep(self, taken: ClaimResult) -> None:
        """``taken`` is committed: it is the result of a claim that can be had now."""
        self._underway = Future()
        self._underway.set_result(self._kept(taken))

    def take(self) -> list[Claimed]:
        """What the claim that was begun came to, once that is known; raises what it raised."""
        underway, self._underway = self._underway, None
        claimed = underway.result() if underway is not None else []
        told, self._to_tell = self._to_tell, []
        if told:
            self._ports.rate_limits.announce(told)
        return claimed

    def portions(self, claimed: Iterable[Claimed]) -> list[Claimed]:
        """``claimed``, each with as many recipients as the server takes in one transaction."""
        if self.room is None or self._settings.divert_to:  # one mailbox, whoever they are for
            return list(claimed)
        return [one.within(self.room) for one in claimed]

    @property
    def _informed(self) -> bool:
        """Whether nothing stood in the way a moment ago, and there was enough to claim."""
        recent = time.monotonic() - self._looked_at < GLANCE
        return recent and not self.probing

    def _claim(self, request: ClaimRequest) -> list[Claimed]:
        passed_over = self.large_waits
        if not self._informed:
            self.exhausted = True
            if not self._look():
                return []
        if self.probing:
            request = replace(request, limit=1)
        if request.sizes is not ANY:
            return self._claimed(request)
        turns = [replace(request, sizes=SMALL)]
        if self.large_waits:
            # Who waits behind a large one goes first, but once only.
            turns.insert(0 if passed_over else 1, replace(request, limit=1, sizes=LARGE))
        return next(filter(None, map(self._claimed, turns)), [])

    def _claimed(self, request: ClaimRequest) -> list[Claimed]:
        with self._ports.store.writing() as connection:
            taken = self.join(connection, request)
        if request.sizes is LARGE:
            # It may have been the last one: only a look tells.
            self.large_waits, self._looked_at = False, -math.inf
        return self._kept(taken)

    def _look(self) -> bool:
        """Whether there is something to claim and nothing stands in the way; locks nothing."""
        store, rate_limits = self._ports.store, self._ports.rate_limits
        with store.reading() as connection:
            self.one_writer = connection.dialect.name == "sqlite"
            now = self._time.look(connection)
            broken = breaker.read(connection, self._relay)
            if broken is not None and broken.until > now:
                self.held_up_by = broken.why
                return False
            by_index(connection)
            gathers = rate_limits.is_due(connection, now)
            waiting = claim.waiting(connection, now)
            if not (gathers or any(waiting)):
                return False
            self._only_fresh = not waiting.other
            self.large_waits = waiting.large
            self.room, self.connections = server_limits.read(connection, self._relay, now)
        self.probing = broken is not None
        self._looked_at = time.monotonic()
        if gathers:
            with store.writing() as connection:
                self._to_tell += rate_limits.gather(connection, now)
        return True

    def _kept(self, taken: ClaimResult) -> list[Claimed]:
        self._to_tell += taken.held
        self.exhausted = not (taken.claimed or taken.held)
        if not taken.found_all:
            self._looked_at = -math.inf  # there may be no more: a look disturbs nobody
        return taken.claimed

    def _sieve(
        self,
        held: list[uuid.UUID],
        connection: sa.Connection,
        claimed: Sequence[Claimed],
        now: datetime,
    ) -> Collection[uuid.UUID]:
        held += self._ports.rate_limits.sieve(connection, claimed, now)
        return held


def _fulfil(promise: Future[list[Claimed]], claim: Callable[[], list[Claimed]]) -> None:
    try:
        promise.set_result(claim())
    except BaseException as error:
        promise.set_exception(error)
