"""A run: one stretch of delivery to one relay, under one set of settings.

Only the run uses the database, only its agents use the server, so that no transaction is open
while the network is in use. (An agent does read the content of a large message, between two
commands.) What agents report within milliseconds is recorded in one commit, and the next messages
are claimed while the last ones are recorded.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Sequence
from datetime import timedelta
from functools import partial

from ..language import mark
from ..logs import log
from ..outbox import breaker, claim
from ..outbox.claimed import ANY, SMALL, Attempt, Claimed
from ..settings.model import MessagingSettings, OnAmbiguous
from ..settings.relay import Relay
from ..storage.database import AWAY, in_short
from ..transport.pool import KeptTransports
from .agents import AgentPool, AgentReport
from .claimer import GLANCE, Claimer, ClaimRequest
from .concurrency import Concurrency
from .latency import LatencyMonitor
from .lease import Lease
from .ports import DispatcherPorts, DrainStats, StopCondition
from .prefetch import Load, ModestPrefetch, Prefetch
from .recorder import Recorder
from .resolution import NOBODY_KNOWS, expired

_MAX_BYTES = 4_000_000  # of content in flight beyond which nothing more is claimed
_AFTER_ABORT = 2.0  # s for agents to notice that their connection was broken
_QUICK = 0.02  # s in which a local server has answered
_THROTTLED = ("421 ", "432 4.3.2 ")  # replies of a server with too many connections or messages
_A_MOMENT = timedelta(microseconds=1)
_SOME, _ALL = 0.003, 0.005  # s that a report waits for some others; for all, which come soon


class DeliveryRun:
    """Delivers until nothing is due, the limit is reached, or other settings are in force.

    It leaves to the other ``relays`` what is for them.
    """

    def __init__(
        self,
        ports: DispatcherPorts,
        settings: MessagingSettings,
        relay: Relay,
        *,
        relays: Sequence[Relay],
        clock: claim.Time,
        kept: KeptTransports,
        until: StopCondition,
        stats: DrainStats,
    ) -> None:
        self._ports = ports
        self._settings = settings
        self._time = clock
        self._until = until
        self._stats = stats
        self._relay = relay
        self._pool = AgentPool(settings, relay, kept, clock.now)
        self._claimer = Claimer(ports, settings, relay, clock, relays)
        self._recorder = Recorder(ports, relay, clock, self._claimer, until, stats, self._release)
        self._in_flight: dict[uuid.UUID, Claimed] = {}
        self._large_id: uuid.UUID | None = None  # of the large message that was claimed last
        self._hold = settings.on_ambiguous is OnAmbiguous.HOLD
        self._lease = Lease(ports, clock, self._pool)
        self._prefetch = ModestPrefetch() if ports.modest else Prefetch()
        self._looked_at = time.monotonic()
        self._prepared = False
        self._exhausted = False  # the last claim found nothing
        self._requeued = False  # something, since the last claim
        self._latency = LatencyMonitor()
        most = relay.max_connections or ports.connections
        self._concurrency = Concurrency(min(ports.connections, most))
        self._known_limit: int | None = None  # of the server's connections, as last read
        self._proven = False  # the server has taken part in a mail transaction

    def work(self) -> bool:
        """Claim, hand out, record; gives whether it stopped because of other settings.

        The caller calls ``end`` afterwards, also if this raises.
        """
        while self._pool.trouble is None and not self._until.reached():
            self._refill()
            if not self._in_flight and self._exhausted:
                return False
            if self._in_flight:
                self._collect(_QUICK if self._latency.is_local else GLANCE)
                self._adjust_pool()
                if not self._pool.at_work:
                    return False
            if self._outdated():
                return True
        return False

    def end(self) -> None:
        """Give back what was not begun, let agents finish, record what they report."""
        waiting = self._withdraw()
        returned = self._give_back(waiting)
        self._stats.handed_on += self._claimer.handed_on
        self._await(self._until.grace(self._ports.grace))
        if self._in_flight:
            self._pool.abort()
            self._await(_AFTER_ABORT)
        if not returned:  # what agents reported was recorded, so the database is back
            self._give_back(waiting)
        if self._in_flight:
            self._abandon()

    def _withdraw(self) -> list[Claimed]:
        """Claim and hand out nothing more; gives the messages that no agent has begun."""
        self._exhausted = True
        waiting = [*self._pool.jobs.close(), *self._claimed_in_vain()]
        for claimed in waiting:
            self._in_flight.pop(claimed.id, None)
        return waiting

    def _outdated(self) -> bool:
        """Whether other settings are in force."""
        at_work = self._in_flight or self._claimer.underway
        if at_work and time.monotonic() - self._looked_at < GLANCE:
            return False
        self._exhausted = False  # something may have been queued meanwhile
        self._looked_at = time.monotonic()
        self._ports.beat()
        return self._ports.settings() != self._settings

    def _claimed_in_vain(self) -> list[Claimed]:
        try:
            return self._claimer.take()
        except Exception as error:
            log.error("dispatcher.claim: %s; its leases will end", type(error).__name__)
            return []

    def _refill(self) -> None:
        """Claim, so that agents always have something to send."""
        claimer = self._claimer
        self._claim_ahead(beside=bool(self._in_flight))
        if claimer.ready or (claimer.underway and not self._in_flight):
            claimed = claimer.take()
            # A claim beside others may have left a large message, which can be claimed now.
            nothing = claimer.exhausted and not self._requeued
            self._exhausted = nothing and bool(self._in_flight or not claimer.large_waits)
            self._requeued = False
            self._stats.held_up_by = claimer.held_up_by
            if claimer.max_connections not in (None, self._known_limit):
                self._known_limit = claimer.max_connections
                self._concurrency.refused(time.monotonic(), claimer.max_connections)
            self._hand_out(claimed)

    def _claim_ahead(self, *, beside: bool) -> None:
        """Begin to claim the next messages, if it is time to.

        If the server is fast, what it accepts during a claim would be recorded late. The claim
        then begins when no agent sends any more, beside the last record.
        """
        claimer = self._claimer
        if claimer.underway or (self._server_is_fast and self._others):
            return
        if limit := self._wanted():
            claimer.begin(self._request(limit), beside=beside)

    def _request(self, limit: int) -> ClaimRequest:
        if not self._in_flight:
            self._lease.begin()
        self._prefetch.claims(agents=self._agents)
        late = self._agents - sum(claimed.lost_before for claimed in self._in_flight.values())
        free = self._agents - len(self._in_flight)
        # SQLite lets nobody else write meanwhile: no large ones while agents send.
        busy = self._in_flight if self._claimer.one_writer else self._large
        sizes = SMALL if busy else ANY
        return ClaimRequest(limit, free=max(0, free), late=max(0, late), sizes=sizes)

    def _wanted(self) -> int:
        if self._exhausted or (self._claimer.probing and self._in_flight):
            return 0
        if self._hold:
            # If a worker dies, all that it has claimed waits for an administrator: claim no more
            # than can begin at once.
            return max(0, self._agents - len(self._in_flight))
        load = Load(
            in_flight=len(self._in_flight),
            waiting=len(self._pool.jobs),
            agents=self._agents,
        )
        wanted = self._prefetch.wanted(load)
        # A few messages of some size may be as much as many small ones.
        sizes = (claimed.envelope.size for claimed in self._in_flight.values() if not claimed.large)
        return 0 if wanted and sum(sizes) > _MAX_BYTES else wanted

    def _hand_out(self, claims: Sequence[Claimed]) -> None:
        if not claims:
            return
        if not self._prepared:
            self._ports.prepare(self._relay)
            self._prepared = True
        now = self._time.now()
        late = {claimed.id: result for claimed in claims if (result := expired(claimed, now))}
        timely = self._claimer.portions(claimed for claimed in claims if claimed.id not in late)
        self._in_flight.update((claimed.id, claimed) for claimed in timely)
        self._large_id = next((claimed.id for claimed in timely if claimed.large), self._large_id)
        # A message that a worker had lost goes first: if this one dies as well, it was begun.
        first = [claimed for claimed in timely if claimed.lost_before]
        self._pool.jobs.add(first, [claimed for claimed in timely if not claimed.lost_before])
        # Last: if even this cannot be recorded, the messages that wait are given back.
        self._recorder.record(list(late.values()))
        self._adjust_pool()

    @property
    def _server_is_fast(self) -> bool:
        """Whether the server takes messages as fast as this worker sends them."""
        return self._latency.is_local and not self._hold

    @property
    def _agents(self) -> int:
        """How many agents to have: one for each connection that pays.

        A server that answers at once keeps this process busy with one connection already; several
        would get in each other's way. The first login is made on one connection alone, so that a
        wrong password is not tried once for each.
        """
        if self._relay.use_authentication and not self._proven:
            return 1
        most = self._concurrency.count
        return min(1 + self._large, most) if self._server_is_fast else most

    @property
    def _others(self) -> int:
        """How many messages are in flight beside a large one."""
        return len(self._in_flight) - self._large

    @property
    def _large(self) -> int:
        """How many large messages are in flight, each on a connection of its own: 0 or 1."""
        return int(self._large_id in self._in_flight)

    @property
    def _released(self) -> int:
        """How many messages agents have, may take, or have reported."""
        return len(self._in_flight) - len(self._pool.jobs.unreleased)

    def _adjust_pool(self) -> None:
        """Have as many agents as there is work for."""
        if self._pool.trouble is None:
            self._release()
            self._pool.grow_to(min(self._agents, len(self._in_flight)))
            self._pool.jobs.shrink_to(self._concurrency.count)

    def _release(self) -> None:
        """Release at most one batch to a local server, two to a remote one.

        With a local server, the next commit then records all that it has accepted. With a remote
        one, connections would idle while they wait for that.
        """
        if self._pool.trouble is None:
            batch = max(self._recorder.batch_size, self._agents)
            batches = 1 if self._latency.is_local else 2
            self._pool.jobs.release(batches * batch - self._released)

    def _collect(self, patience: float) -> None:
        """Wait for reports and record them; renew the leases meanwhile."""
        most = min(self._recorder.batch_size, self._released)
        together = _ALL if self._latency.is_local else _SOME
        patience = min(patience, self._lease.third, GLANCE)
        reports = self._pool.collect(patience, most, together=together)
        results = (report.result for report in reports if report.result)
        attempts = [result.attempt for result in results if result.attempt]
        self._latency.note(attempts)
        self._prefetch.note(attempts)
        slow_refusals = any(report.slow_refusals for report in reports)
        self._adjust_concurrency(attempts, slow_refusals=slow_refusals)
        if reports:
            self._record(reports)
        self._lease.keep(self._in_flight.values())

    def _adjust_concurrency(self, attempts: Sequence[Attempt], *, slow_refusals: bool) -> None:
        """Learn from ``attempts`` how many connections to have next."""
        now = time.monotonic()
        if slow_refusals:
            self._concurrency.slow_refusals(now)
        busy = not (self._server_is_fast or slow_refusals) and len(self._pool.jobs) > 0
        self._concurrency.note(now, len(attempts), busy=busy)
        if any(attempt.reply and attempt.reply.startswith(_THROTTLED) for attempt in attempts):
            self._concurrency.throttled(now)
        limit, self._pool.connection_limit = self._pool.connection_limit, None
        if limit is not None:
            log.info("server.connections: it takes %s of ours", limit)
            self._concurrency.refused(now, limit)
            self._recorder.connections = self._concurrency.limit

    def _record(self, reports: Sequence[AgentReport]) -> None:
        for report in reports:
            self._in_flight.pop(report.claimed.id, None)
        results = [report.result for report in reports if report.result is not None]
        rests = {result.claimed.id: result.rest for result in results if result.rest is not None}
        self._in_flight.update(rests)
        self._proven = self._proven or bool(results)
        if self._pool.trouble is None and not self._claimer.one_writer:
            self._claim_ahead(beside=True)
        recorded = self._recorder.record(results)
        if rests:
            self._continue(rests, recorded)
        self._return([report for report in reports if report.result is None])

    def _continue(self, expected: Iterable[uuid.UUID], rests: Sequence[Claimed]) -> None:
        """Hand out the next transactions of attempts, or give them back at the end of the run."""
        for id in expected:
            del self._in_flight[id]  # what was not recorded belongs to another worker now
        if self._pool.jobs.closed:
            self._give_back(rests)
        else:
            portions = self._claimer.portions(rests)
            self._in_flight.update((claimed.id, claimed) for claimed in portions)
            self._pool.jobs.add(portions, [])

    def _return(self, reports: Sequence[AgentReport]) -> None:
        """Return messages without a result to the queue, their attempt uncounted.

        If the server is in trouble, the breaker opens, and decides when they may be tried; so they
        are due at once, as better settings close it. The message that met the trouble comes last,
        so that the next probe is another one.
        """
        if not reports:
            return
        trouble, detail = self._pool.trouble, None
        first = [report.claimed for report in reports if not report.met_trouble]
        last = [report.claimed for report in reports if report.met_trouble]
        if trouble is not None:
            first += self._withdraw()
        self._requeued = True
        self._exhausted = self._exhausted and self._pool.jobs.closed
        with self._ports.store.writing() as connection:
            now = self._time.look(connection)
            if trouble is not None:
                log.warning("server.trouble: at %s: %s", trouble.stage, trouble)
                self._stats.held_up_by = str(trouble)
                detail = str(mark("Waiting for the server: %(why)s", why=trouble))[:1000]
                breaker.trip(connection, self._relay, trouble, worker=self._ports.worker, now=now)
            claim.give_back(connection, first, due_at=now, detail=detail)
            claim.give_back(connection, last, due_at=now + _A_MOMENT, detail=detail)
        if trouble is not None:
            self._stats.handed_on += len(reports)

    def _give_back(self, claims: Sequence[Claimed]) -> bool:
        """Whether the database has taken them back."""
        if not claims:
            return True
        try:
            with self._ports.store.writing() as connection:
                claim.give_back(connection, claims, due_at=self._time.look(connection), detail=None)
        except AWAY as error:
            log.error("dispatcher.give_back: %s; their leases will end", in_short(error))
            return False
        return True

    def _abandon(self) -> None:
        """Leave no claim behind, even if its agent does not come back."""
        left = list(self._in_flight.values())
        log.warning("dispatcher.left: %s messages still in flight", len(left))
        if not self._pool.at_work:
            self._give_back(left)
            return
        now = self._time.now()
        resolve = partial(self._pool.resolver.resolve, started_at=now, finished_at=now, chance=0.0)
        self._record([AgentReport(claimed, resolve(claimed, NOBODY_KNOWS)) for claimed in left])

    def _await(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while self._in_flight and self._pool.at_work and (left := end - time.monotonic()) > 0:
            self._collect(left)
