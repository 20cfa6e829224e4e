"""A run: one stretch of delivery under one set of settings.

The run alone speaks with the database, its agents alone with the server, so that no
transaction is ever open while the network is in use. (The content of a large message its agent
reads, between two commands.) What agents bring within milliseconds is recorded in one commit, and
the next messages are claimed while the last ones are recorded.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterable, Sequence
from datetime import timedelta
from functools import partial

from ..outbox import breaker, claim
from ..outbox.claimed import Attempt, Claimed
from ..outbox.sizes import ANY, SMALL
from ..settings.model import MessagingSettings, OnAmbiguous
from ..storage.database import AWAY, in_short
from ..transport.pool import KeptTransports
from . import pace
from .agent import Returned
from .claimer import GLANCE, Claimer, ClaimRequest
from .latency import LatencyMonitor
from .lease import Lease
from .lines import Lines
from .pace import ModestPace, Pace, Standing
from .pool import AgentPool
from .ports import DispatcherPorts, DrainStats, StopCondition
from .recorder import Recorder
from .resolution import NOBODY_KNOWS, expired

log = logging.getLogger("flask_interaction_mail")

_MAX_BYTES = 4_000_000  # of content in flight beyond which nothing more is claimed
_AFTER_ABORT = 2.0  # s for agents to notice that their connection was broken off
_QUICK = 0.02  # s in which a close server has answered
_ENOUGH = ("421 ", "432 4.3.2 ")  # what says that a server has too many connections, or too much
_A_MOMENT = timedelta(microseconds=1)
_HELD_BACK = timedelta(seconds=2)  # after which an answer with refusals says nothing of the line
_GROUP, _ALL = 0.003, 0.005  # s that a result waits for some others; for all, which come soon


class DeliveryRun:
    """Delivers what is due until nothing is left, the limit is reached, or settings change."""

    def __init__(
        self,
        ports: DispatcherPorts,
        settings: MessagingSettings,
        *,
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
        self._relay = relay = ports.relay(settings)
        self._pool = AgentPool(settings, relay, kept, clock.now)
        self._claimer = Claimer(ports, settings, relay, clock)
        self._recorder = Recorder(ports, relay, clock, self._claimer, until, stats, self._supply)
        self._in_flight: dict[uuid.UUID, Claimed] = {}
        self._large_one: uuid.UUID | None = None  # the last one that was claimed
        self._hold = settings.on_ambiguous is OnAmbiguous.HOLD
        self._lease = Lease(ports, clock, self._pool)
        self._pace = ModestPace() if ports.modest else Pace()
        self._looked_at = time.monotonic()
        self._prepared = False
        self._exhausted = False  # the last claim found nothing
        self._came_back = False  # something that an earlier claim cannot have found
        self._latency = LatencyMonitor()
        self._lines = Lines(ports.connections)
        self._known_limit: int | None = None  # of the server, as last read
        self._proven = False  # the server has taken part in a conversation about a message

    def work(self) -> bool:
        """Claim, hand out, record; whether it stopped because other settings are in force.

        ``end`` has to follow, whatever happens here.
        """
        while self._pool.trouble is None and not self._until.reached():
            self._refill()
            if not self._in_flight and self._exhausted:
                return False
            if self._in_flight:
                self._collect(_QUICK if self._latency.is_local else GLANCE)
                self._staff()
                if not self._pool.at_work:
                    return False
            if self._outdated():
                return True
        return False

    def end(self) -> None:
        """Give back what was not begun, let agents finish, record what they bring."""
        self._give_back(self._withdrawn())
        self._await(self._until.grace(self._ports.grace))
        if self._in_flight:
            self._pool.abort()
            self._await(_AFTER_ABORT)
        if self._in_flight:
            self._leave()

    def _withdrawn(self) -> list[Claimed]:
        """What nobody has begun to carry; nothing more is claimed or handed out."""
        self._exhausted = True
        waiting = [*self._pool.jobs.close(), *self._claimed_in_vain()]
        for one in waiting:
            self._in_flight.pop(one.id, None)
        return waiting

    def _outdated(self) -> bool:
        """Whether other settings are in force."""
        at_work = self._in_flight or self._claimer.underway
        if at_work and time.monotonic() - self._looked_at < GLANCE:
            return False
        self._exhausted = False  # meanwhile something may have come
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
        """See to it that there is always something to carry."""
        claimer = self._claimer
        self._claim_ahead(beside=bool(self._in_flight))
        if claimer.ready or (claimer.underway and not self._in_flight):
            claimed = claimer.take()
            # A claim beside others may have left a large one, which can come now.
            nothing = claimer.exhausted and not self._came_back
            self._exhausted = nothing and bool(self._in_flight or not claimer.large_waits)
            self._came_back = False
            self._stats.held_up_by = claimer.held_up_by
            if claimer.connections not in (None, self._known_limit):
                self._known_limit = claimer.connections
                self._lines.refused(time.monotonic(), claimer.connections)
            self._hand_out(claimed)

    def _claim_ahead(self, *, beside: bool) -> None:
        """Begin to claim what comes next, where it is time for that.

        What a close server accepts beside a claim would be recorded late: there that is when
        nobody carries any more, beside the last record.
        """
        claimer = self._claimer
        if claimer.underway or (self._close and self._others and not claimer.one_writer):
            return
        # Where the next record takes a claim along, that is soon enough as long as any wait.
        low_water = 0 if claimer.may_join else 0.5
        if limit := self._wanted(low_water):
            claimer.begin(self._request(limit), beside=beside)

    def _next_request(self) -> ClaimRequest | None:
        """What to claim together with the record that comes next, if anything."""
        if not self._claimer.may_join or self._pool.trouble is not None:
            return None
        limit = self._wanted(low_water=1)
        return self._request(limit, along=True) if limit else None

    def _request(self, limit: int, *, along: bool = False) -> ClaimRequest:
        if not self._in_flight:
            self._lease.begin()
        most = self._recorder.batch_size if self._claimer.one_writer else pace.MOST
        self._pace.claims(hands=self._hands, most=most)
        # What was lost counts as begun. With a server that takes its time it would wait for a
        # connection after each record, and a worker killed again and again would seem its fault.
        late = 0 if along and not self._latency.is_local else self._hands
        late -= sum(one.lost_before for one in self._in_flight.values())
        free = self._hands - len(self._in_flight)
        # SQLite writes all of a row again, and nobody else meanwhile: not while others carry.
        busy = along or (self._in_flight if self._claimer.one_writer else self._large)
        sizes = SMALL if busy else ANY
        return ClaimRequest(limit, free=max(0, free), late=max(0, late), sizes=sizes)

    def _wanted(self, low_water: float) -> int:
        if self._exhausted or (self._claimer.probing and self._in_flight):
            return 0
        if self._hold:
            # All that was claimed waits for an administrator when a worker dies: claim no more
            # than can begin at once.
            return max(0, self._hands - len(self._in_flight))
        standing = Standing(
            in_flight=len(self._in_flight),
            waiting=len(self._pool.jobs),
            hands=self._hands,
            low_water=low_water,
            joins=self._claimer.may_join,
        )
        room = self._pace.room(standing)
        # A few of some size may be as much as many small ones.
        sizes = (one.envelope.size for one in self._in_flight.values() if not one.large)
        return 0 if room and sum(sizes) > _MAX_BYTES else room

    def _hand_out(self, claimed: Sequence[Claimed]) -> None:
        if not claimed:
            return
        if not self._prepared:
            self._ports.prepare(self._relay)
            self._prepared = True
        late = {one.id: verdict for one in claimed if (verdict := expired(one, self._time.now()))}
        timely = self._claimer.portions(one for one in claimed if one.id not in late)
        self._in_flight.update((one.id, one) for one in timely)
        self._large_one = next((one.id for one in timely if one.large), self._large_one)
        # What a worker had lost goes first: should this one die as well, it was begun.
        first = [one for one in timely if one.lost_before]
        self._pool.jobs.add(first, [one for one in timely if not one.lost_before])
        # Where even this cannot be recorded, what nobody carries yet is given back.
        self._recorder.record(list(late.values()))
        self._staff()

    @property
    def _close(self) -> bool:
        """Whether the server takes messages as fast as this worker brings them."""
        return self._latency.is_local and not self._hold

    @property
    def _hands(self) -> int:
        """How many messages can begin at once: one for each connection that pays.

        A server that answers at once keeps this process busy with one connection already, and
        several would get into each other's way. The first one is alone where one logs in, too: a
        wrong password is shown once, not once a connection.
        """
        unknown = self._relay.use_authentication and not self._proven
        if unknown:
            return 1
        return min(1 + self._large, self._lines.count) if self._close else self._lines.count

    @property
    def _others(self) -> int:
        """How many are in flight beside a large one."""
        return len(self._in_flight) - self._large

    @property
    def _large(self) -> int:
        """How many take a connection for themselves for a while: one, or none."""
        return int(self._large_one in self._in_flight)

    @property
    def _in_play(self) -> int:
        """How many messages agents have, may take, or have brought back."""
        return len(self._in_flight) - len(self._pool.jobs.kept_back)

    def _staff(self) -> None:
        """Have as many agents as there is work for."""
        if self._pool.trouble is None:
            self._supply()
            self._pool.grow_to(min(self._hands, len(self._in_flight)))
            self._pool.shrink_to(self._lines.count)

    def _supply(self) -> None:
        """Release at most one batch to a local server, two to one that is far away.

        Next door the next commit then records all that it has accepted; far away connections
        would idle while they wait for that.
        """
        if self._pool.trouble is None:
            most = max(self._recorder.batch_size, self._hands)
            self._pool.jobs.release((1 if self._latency.is_local else 2) * most - self._in_play)

    def _collect(self, patience: float) -> None:
        """Wait for results, and write down what came; keep the leases meanwhile."""
        most = min(self._recorder.batch_size, self._in_play)
        together = _ALL if self._latency.is_local else _GROUP
        patience = min(patience, self._lease.third, GLANCE)
        returned = self._pool.collect(patience, most, together=together)
        verdicts = (one.verdict for one in returned if one.verdict)
        attempts = [one.attempt for one in verdicts if one.attempt]
        self._latency.note(attempts)
        self._pace.note(attempts)
        self._count_lines(attempts)
        if returned:
            self._settle(returned)
        self._lease.keep(self._in_flight.values())

    def _count_lines(self, attempts: Sequence[Attempt]) -> None:
        """Have as many connections next as the last ones have shown to pay."""
        now = time.monotonic()
        held_back = any(map(_held_back, attempts))
        if held_back:
            self._lines.held_back(now)
        busy = not (self._close or held_back) and len(self._pool.jobs) > 0
        self._lines.note(now, len(attempts), busy=busy)
        if any(one.reply and one.reply.startswith(_ENOUGH) for one in attempts):
            self._lines.crowded(now)
        room, self._pool.room = self._pool.room, None
        if room is not None:
            log.info("server.connections: it takes %s of ours", room)
            self._lines.refused(now, room)
            self._recorder.connections = self._lines.limit

    def _settle(self, returned: Sequence[Returned]) -> None:
        for one in returned:
            self._in_flight.pop(one.claimed.id, None)
        verdicts = [one.verdict for one in returned if one.verdict is not None]
        going_on = {one.claimed.id: one.rest for one in verdicts if one.rest is not None}
        self._in_flight.update(going_on)
        self._proven = self._proven or bool(verdicts)
        if self._pool.trouble is None and not self._claimer.one_writer:
            self._claim_ahead(beside=True)
        rests = self._recorder.record(verdicts, self._next_request() if verdicts else None)
        if going_on:
            self._go_on(going_on, rests)
        self._stand_back([one for one in returned if one.verdict is None])

    def _go_on(self, expected: Iterable[uuid.UUID], rests: Sequence[Claimed]) -> None:
        """The next transactions of attempts; given back where nobody carries any more."""
        for id in expected:
            del self._in_flight[id]  # what was not recorded is somebody else's now
        if self._pool.jobs.closed:
            self._give_back(rests)
        else:
            portions = self._claimer.portions(rests)
            self._in_flight.update((one.id, one) for one in portions)
            self._pool.jobs.add(portions, [])

    def _stand_back(self, unlucky: Sequence[Returned]) -> None:
        """The server is in trouble: nobody's attempt is burnt, the breaker opens.

        What waits is due at once: when it may be tried is the breaker's to say, and better
        settings close that. What met the trouble comes last, so that the next probe is another
        message.
        """
        trouble, detail = self._pool.trouble, None
        if not unlucky:
            return
        first = [one.claimed for one in unlucky if not one.met_trouble]
        last = [one.claimed for one in unlucky if one.met_trouble]
        if trouble is not None:
            first += self._withdrawn()
        self._came_back = True
        self._exhausted = self._exhausted and self._pool.jobs.closed
        with self._ports.store.writing() as connection:
            now = self._time.look(connection)
            if trouble is not None:
                log.warning("server.trouble: at %s: %s", trouble.stage, trouble)
                self._stats.held_up_by = str(trouble)
                detail = f"Waiting for the server: {trouble}"[:1000]
                breaker.trip(connection, self._relay, trouble, worker=self._ports.worker, now=now)
            claim.give_back(connection, first, due_at=now, detail=detail)
            claim.give_back(connection, last, due_at=now + _A_MOMENT, detail=detail)

    def _give_back(self, claims: Sequence[Claimed]) -> None:
        if not claims:
            return
        try:
            with self._ports.store.writing() as connection:
                claim.give_back(connection, claims, due_at=self._time.look(connection), detail=None)
        except AWAY as error:
            log.error("dispatcher.give_back: %s; their leases will end", in_short(error))

    def _leave(self) -> None:
        """No claim is left behind, whatever became of its agent."""
        left = list(self._in_flight.values())
        log.warning("dispatcher.left: %s messages still in flight", len(left))
        if not self._pool.at_work:
            self._give_back(left)
            return
        now = self._time.now()
        judge = partial(self._pool.judge.verdict, started_at=now, finished_at=now, chance=0.0)
        self._settle([Returned(one, judge(one, NOBODY_KNOWS)) for one in left])

    def _await(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while self._in_flight and self._pool.at_work and (left := end - time.monotonic()) > 0:
            self._collect(left)


def _held_back(attempt: Attempt) -> bool:
    """Whether the server seems to have held refusals back, as it would on any connection."""
    refused = any(reply[0] in "45" for reply in attempt.replies.values())
    return refused and attempt.finished_at - attempt.started_at > _HELD_BACK
