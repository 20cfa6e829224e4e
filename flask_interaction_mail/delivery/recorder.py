"""Writes down the results of agents, and tries again while the database is away."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime

import sqlalchemy as sa

from ..logs import about, log
from ..outbox import breaker, claim
from ..outbox.claimed import AttemptResult, Claimed
from ..outbox.fenced import Overtaken
from ..outbox.record import record
from ..outbox.server_limits import CONNECTIONS, RECIPIENTS, ServerLimit, learn
from ..outbox.tally import uncounted
from ..settings.relay import Relay
from ..storage.database import AWAY, in_short, is_away
from .claimer import Claimer
from .ports import DispatcherPorts, DrainStats, StopCondition
from .resolution import in_ascii, is_for_default_to

_AGAIN = 0.5  # s between two tries while the database is away
_WITHIN = 0.0035  # s for a record; what it records was accepted in the 4 or 5 ms before that
_AT_FIRST, _FEWEST, _MOST = 40, 30, 200  # messages in a record


class Recorder:
    """Records the results of one run, announces them, and counts them in its stats.

    ``batch_size`` is how many can be recorded together in time, as far as is known; ``connections``
    is how many the server takes, where that is to be recorded, too. ``on_flushed`` is called when
    all is written down and not yet committed, and must not raise.
    """

    def __init__(
        self,
        ports: DispatcherPorts,
        relay: Relay,
        clock: claim.Time,
        claimer: Claimer,
        until: StopCondition,
        stats: DrainStats,
        on_flushed: Callable[[], None],
    ) -> None:
        self.batch_size: int = _AT_FIRST
        self.connections: int | None = None
        self._ports = ports
        self._relay = relay
        self._time = clock
        self._claimer = claimer
        self._until = until
        self._stats = stats
        self._on_flushed = on_flushed
        self._tally = ports.tally(relay.name)

    def record(self, results: Sequence[AttemptResult]) -> list[Claimed]:
        """Record; while the database is away, try again: what was accepted must not leave twice.

        Having to stop, it is tried for as long as a message in flight gets to finish. Gives what
        goes on in another transaction with the server, now that this is recorded.
        """
        if not results:
            return []
        kept = self._patiently(results)
        done = [result for result in kept if result.rest is None]
        sent = sum(result.taken for result in done)
        self._stats.sent += sent
        self._stats.others += len(done) - sent
        self._ports.announce(done)
        return [result.rest for result in kept if result.rest is not None]

    def _patiently(self, results: Sequence[AttemptResult]) -> list[AttemptResult]:
        last_try: float | None = None
        said: str | None = None
        while True:
            try:
                return self._counted_or_not(results)
            except AWAY as error:
                if self._until.reached():
                    last_try = last_try or time.monotonic() + self._until.grace(self._ports.grace)
                    if time.monotonic() > last_try:
                        raise
                if (reason := in_short(error)) != said:
                    log.error("dispatcher.record: %s; trying again", said := reason)
                time.sleep(_AGAIN)
            except sa.exc.SQLAlchemyError as error:
                log.error("dispatcher.record: refused with %s", in_short(error))
                return self._otherwise(results)

    def _counted_or_not(self, results: Sequence[AttemptResult]) -> list[AttemptResult]:
        """What was accepted must not leave twice because the database refuses counts."""
        try:
            try:
                return self._write_down(results)
            except Overtaken:  # seldom, and not again: it counts in a new document now
                return self._write_down(results)
        except sa.exc.SQLAlchemyError as error:
            if is_away(error):
                raise
            kept = self._write_down(results, counted=False)
            uncounted(error)
            return kept

    def _otherwise(self, results: Sequence[AttemptResult]) -> list[AttemptResult]:
        """What the database does not take as it is: one by one, and then without accents."""
        if len(results) > 1:
            return [kept for result in results for kept in self._patiently([result])]
        (result,) = results
        plain = in_ascii(result)
        if plain == result:
            id = result.claimed.id
            log.error("dispatcher.unrecorded: %s", id, extra=about(id))
            return []
        return self._patiently([plain])

    def _write_down(
        self, results: Sequence[AttemptResult], *, counted: bool = True
    ) -> list[AttemptResult]:
        began = time.monotonic()
        with self._ports.store.writing() as connection:
            now = self._time.now()
            kept = record(
                connection,
                results,
                worker=self._ports.worker,
                relay=self._relay.name,
                now=now,
                tally=self._tally if counted else None,
            )
            spoken = any(result.attempt for result in results)
            if self._claimer.probing and spoken:
                breaker.close(connection, self._relay)
            for most in [result.room for result in kept if result.room is not None]:
                self._learn(connection, RECIPIENTS, most, now)
                self._claimer.max_recipients = most
            if self.connections is not None:
                self._learn(connection, CONNECTIONS, self.connections, now)
            if news := [result for result in kept if is_for_default_to(result)]:
                self._ports.report(connection, news)
            written = time.monotonic()
            self._on_flushed()
        commit = time.monotonic() - written
        if counted and self._tally:
            self._tally.committed()
        self.connections = None
        self.batch_size = fitting(self.batch_size, len(results), written - began, commit)
        self._claimer.probing = self._claimer.probing and not spoken
        return kept

    def _learn(
        self, connection: sa.Connection, limit: ServerLimit, most: int, now: datetime
    ) -> None:
        learn(connection, self._relay, limit, most, worker=self._ports.worker, now=now)


def fitting(before: int, count: int, statements: float, commit: float) -> int:
    """How many messages to record together, as a record of ``count`` took that many seconds.

    A quarter of the way from ``before`` to what that one says, as it may have been unlucky.
    """
    if 2 * count < before:
        return before  # most of its time would have passed for many as well
    # A commit that is slow anyhow is not made better by having more of them.
    budget = max(_WITHIN - commit, commit)
    fits = min(count * budget / max(statements, 1e-6), 2 * before)
    return max(_FEWEST, min(round((3 * before + fits) / 4), _MOST))
