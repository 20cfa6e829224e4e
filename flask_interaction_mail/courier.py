"""A courier: one connection, and the messages that it hands over one after the other."""

from __future__ import annotations

import logging
import queue
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol

from .claimed import Claimed, Verdict
from .errors import TransportError
from .outcome import Delivery
from .transport.base import Envelope, Stopped, Transport
from .verdict import Judge, concerns_server

log = logging.getLogger("flask_interaction_mail")


@dataclass(slots=True)  # not frozen, to be made in half the time
class Returned:
    """What a courier brings back."""

    claimed: Claimed
    verdict: Verdict | None  # None: it was not begun, or the server is in trouble


class Jobs(Protocol):
    """Messages that wait to be carried."""

    def take(self) -> Claimed | None:
        """The next one; None where nothing is waiting right now."""
        ...

    def wait(self) -> Claimed | None:
        """The next one, as soon as there is one; None sends home."""
        ...


class Counter(Protocol):
    """Where couriers get messages, and bring back what became of them.

    ``trouble`` is what is wrong with the server; who finds out says it there.
    """

    @property
    def jobs(self) -> Jobs: ...

    @property
    def results(self) -> queue.SimpleQueue[Returned]: ...

    trouble: TransportError | None

    def may_begin(self, claimed: Claimed) -> bool: ...


@dataclass(slots=True)
class Courier:
    """Carries over ``transport`` until it is sent home; ``now`` is the clock of the claims.

    ``spent`` is true afterwards where the connection was broken off and is of no further use.
    """

    counter: Counter
    transport: Transport
    now: Callable[[], datetime]
    judge: Judge
    spent: bool = False
    _to_pull: deque[Claimed] = field(default_factory=deque)
    _pulled: deque[tuple[Claimed, datetime]] = field(default_factory=deque)

    def work(self) -> None:
        """Wait for messages and carry them."""
        while (claimed := self.counter.jobs.wait()) is not None:
            self._to_pull.append(claimed)
            while self._to_pull:
                self._carry()

    def _carry(self) -> None:
        """Hand over until nothing is waiting, or the next one may not begin any more."""
        carrying = self.transport.deliver_all(self._pull)
        try:
            for outcome in carrying:
                self._bring(outcome)
                # It was pulled a while ago: another worker may have it now.
                if self._pulled and not self.counter.may_begin(self._pulled[0][0]):
                    break
        except Exception as error:
            if not self._pulled:
                raise
            self._bring(error)
            self._to_pull.extendleft(claimed for claimed, _ in reversed(self._pulled))
            self._pulled.clear()
        finally:
            carrying.close()
        while self._pulled:
            self._bring(None)

    def _pull(self) -> Envelope | None:
        while (claimed := self._next()) is not None:
            self._pulled.append((claimed, self.now()))
            if self.counter.may_begin(claimed):
                return self._addressed(claimed.envelope)
            self._give_up()
        return None

    def _next(self) -> Claimed | None:
        return self._to_pull.popleft() if self._to_pull else self.counter.jobs.take()

    def _addressed(self, envelope: Envelope) -> Envelope:
        diverted_to = self.judge.diverted_to
        return envelope if diverted_to is None else replace(envelope, recipients=(diverted_to,))

    def _bring(self, outcome: Delivery | Exception | None) -> None:
        """The outcome of the message that was pulled first of those without one."""
        claimed, started_at = self._pulled.popleft()
        if isinstance(outcome, Stopped):
            self.spent, outcome = True, None
        elif isinstance(outcome, TransportError) and concerns_server(outcome):
            self.counter.trouble = outcome  # nobody else runs against a server in trouble
            outcome = None
        verdict = None if outcome is None else self._verdict(claimed, outcome, started_at)
        self.counter.results.put(Returned(claimed, verdict))

    def _give_up(self) -> None:
        claimed, _ = self._pulled.pop()
        self.counter.results.put(Returned(claimed, None))

    def _verdict(
        self, claimed: Claimed, outcome: Delivery | Exception, started_at: datetime
    ) -> Verdict:
        if isinstance(outcome, Delivery):
            outcome = self._for_all(claimed, outcome)
        elif not isinstance(outcome, TransportError):
            log.error("message.poison: %s", claimed.id, exc_info=outcome)
        return self.judge.verdict(
            claimed,
            outcome,
            started_at=started_at,
            finished_at=self.now(),
            chance=random.random(),  # noqa: S311 - jitter, not a secret
        )

    def _for_all(self, claimed: Claimed, delivery: Delivery) -> Delivery:
        """Where one mailbox stood in for all, its verdict is everybody's."""
        if self.judge.diverted_to is None:
            return delivery
        reply = delivery.verdicts.get(self.judge.diverted_to)
        everybody = {} if reply is None else dict.fromkeys(claimed.envelope.recipients, reply)
        return replace(delivery, verdicts=everybody)
