"""Claims messages for a run, also in a thread beside it while the last ones are recorded."""

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
from ..outbox import breaker, claim, minutes, server_limits
from ..outbox.claimed import ANY, LARGE, SMALL, Claimed, Sizes
from ..outbox.fenced import by_index
from ..outbox.lanes import Lane
from ..settings.model import MessagingSettings, OnAmbiguous
from ..settings.relay import Relay
from ..values import Priority
from .ports import DispatcherPorts

GLANCE: Final = 0.25  # s between two looks at what may have changed, while there is work


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """How much to claim: at most ``limit`` messages, of which ``free`` can begin immediately.

    At most ``late`` are messages that their worker has lost. ``sizes`` ANY means several small
    messages or one large one.
    """

    limit: int
    free: int
    late: int
    sizes: Sizes = ANY


class Claimer:
    """Takes messages from the queue for one relay of the settings, one claim at a time.

    ``held_up_by`` says why nothing is claimed although messages wait. ``exhausted`` is true if the
    last claim found nothing. ``probing`` is true while a single message has to find out whether the
    server works again. ``one_writer`` is true if the database cannot write a claim and a record at
    the same time. ``max_recipients`` is how many recipients the server takes in one transaction,
    ``max_connections`` how many connections; None for any number. ``large_waits`` is true if a
    large message was due at the last look, and has not been claimed since. ``handed_on`` counts the
    messages that were left to other relays.
    """

    def __init__(
        self,
        ports: DispatcherPorts,
        settings: MessagingSettings,
        relay: Relay,
        clock: claim.Time,
        relays: Sequence[Relay],
    ) -> None:
        self.held_up_by: str | None = None
        self.probing: bool = False
        self.one_writer: bool = True  # until the kind of database is known
        self.exhausted: bool = False
        self.large_waits: bool = False
        self.handed_on: int = 0
        self.max_recipients: int | None = None
        self.max_connections: int | None = None
        self._ports = ports
        self._settings = settings
        self._relay = relay
        self._lane = Lane(relays, relay.name)
        self._tally = ports.tally(relay.name)
        self._time = clock
        self._looked_at = -math.inf
        self._only_fresh = False  # as of the last look
        self._priorities: Sequence[Priority] = ()  # of what was due then
        self._room: int | None = None  # for so many messages in this minute, as of then
        self._underway: Future[list[Claimed]] | None = None
        self._to_announce: list[uuid.UUID] = []  # messages that were held or released

    @property
    def underway(self) -> bool:
        """Whether a claim was begun whose result has not been taken yet."""
        return self._underway is not None

    @property
    def ready(self) -> bool:
        """Whether the result of the claim can be taken without waiting."""
        return self._underway is not None and self._underway.done()

    def begin(self, request: ClaimRequest, *, beside: bool) -> None:
        """Claim; with ``beside``, in another thread if the database lets two write at once."""
        self._underway = Future()
        claim_now = partial(_fulfil, self._underway, partial(self._claim, request))
        in_thread = beside and not self.one_writer
        if not (in_thread and threads.start(claim_now, "interaction-mail-claim")):
            claim_now()

    def take(self) -> list[Claimed]:
        """Wait for the claim that was begun and give its messages; raises what it raised."""
        underway, self._underway = self._underway, None
        claimed = underway.result() if underway is not None else []
        announced, self._to_announce = self._to_announce, []
        if announced:
            self._ports.rate_limits.announce(announced)
        return claimed

    def portions(self, claimed: Iterable[Claimed]) -> list[Claimed]:
        """``claimed``, each with as many recipients as the server takes in one transaction."""
        if self.max_recipients is None or self._settings.divert_to:  # all goes to one mailbox
            return list(claimed)
        return [message.within(self.max_recipients) for message in claimed]

    @property
    def _informed(self) -> bool:
        """Whether a recent look found nothing in the way, and enough to claim."""
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
        if self._room is not None:
            request = replace(request, limit=min(request.limit, self._room))
        turns = [request if request.sizes is not ANY else replace(request, sizes=SMALL)]
        if request.sizes is ANY and self.large_waits:
            # The small messages that wait behind a large one go first, but only once.
            turns.insert(0 if passed_over else 1, replace(request, limit=1, sizes=LARGE))
        handed_on = self.handed_on
        claimed = next(filter(None, map(self._claimed, turns)), [])
        self.exhausted = self.exhausted and self.handed_on == handed_on
        return claimed

    def _claimed(self, request: ClaimRequest) -> list[Claimed]:
        """Claim in a transaction; nothing of it counts before the commit."""
        held: list[uuid.UUID] = []
        store, now = self._ports.store, self._time.now()
        with store.writing() as connection:
            claimed = claim.claim(
                connection,
                limit=request.limit,
                worker=self._ports.worker,
                lease=self._ports.lease,
                now=now,
                relay=self._relay.name,
                sorting=self._lane,
                late=request.late,
                free=request.free,
                hold=self._settings.on_ambiguous is OnAmbiguous.HOLD,
                only_fresh=self._only_fresh,
                priorities=self._priorities,
                sizes=request.sizes,
                reading=None if store.single_connection else store.reading,
                rate_filter=partial(self._hold_excess, held),
                on_held=self._tally.held if self._tally else None,
            )
            if claimed and self.probing and not breaker.begin_probe(connection, self._relay, now):
                claim.give_back(connection, claimed, due_at=now, detail=None)
                claimed = []
            claimed = self._within_the_minute(connection, claimed, now)
        if self._room is not None:
            self._looked_at = -math.inf
        if request.sizes is LARGE:
            self.large_waits = False
        if request.sizes is LARGE or len(claimed) + len(held) < request.limit:
            self._looked_at = -math.inf  # there may be no more: look, which takes no locks
        self._to_announce += [*held, *self._lane.held]
        self.handed_on += self._lane.moved
        self.exhausted = not (claimed or held)
        return claimed

    def _within_the_minute(
        self, connection: sa.Connection, claimed: list[Claimed], now: datetime
    ) -> list[Claimed]:
        """As many as the relay may be given now; another worker may have been faster."""
        fits = minutes.book(
            connection, self._relay, len(claimed), worker=self._ports.worker, now=now
        )
        if fits < len(claimed):
            claim.give_back(connection, claimed[fits:], due_at=now, detail=None)
        return claimed[:fits]

    def _look(self) -> bool:
        """Whether there is something to claim and nothing in the way; reads without locks."""
        store, rate_limits = self._ports.store, self._ports.rate_limits
        with store.reading() as connection:
            self.one_writer = connection.dialect.name == "sqlite"
            now = self._time.look(connection)
            broken = self._lane.look(connection)
            if broken is not None and broken.until > now:
                self.held_up_by = broken.why
                return False
            self._room = minutes.left(connection, self._relay, now)
            if self._room == 0:
                return False
            by_index(connection)
            digests_due = rate_limits.is_due(connection, now)
            waiting = claim.waiting(connection, now, self._lane)
            if not (digests_due or waiting.priorities or waiting.other):
                return False
            self._only_fresh = not waiting.other and not digests_due
            # What is let go now, or in a digest, may have any priority.
            self._priorities = tuple(Priority) if digests_due else waiting.priorities
            self.large_waits = waiting.large
            self.max_recipients, self.max_connections = server_limits.read(
                connection, self._relay, now
            )
        self.probing = broken is not None
        self._looked_at = time.monotonic()
        if digests_due:
            with store.writing() as connection:
                self._to_announce += rate_limits.gather(connection, now)
        return True

    def _hold_excess(
        self,
        held: list[uuid.UUID],
        connection: sa.Connection,
        claimed: Sequence[Claimed],
        now: datetime,
    ) -> Collection[uuid.UUID]:
        held += self._ports.rate_limits.hold_excess(connection, claimed, now)
        return held


def _fulfil(future: Future[list[Claimed]], claim: Callable[[], list[Claimed]]) -> None:
    try:
        future.set_result(claim())
    except BaseException as error:
        future.set_exception(error)
