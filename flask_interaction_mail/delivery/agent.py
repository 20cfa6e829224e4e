"""An agent: one connection, and the messages that it hands over one after the other."""

from __future__ import annotations

import logging
import queue
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from ..errors import TransportError
from ..outbox.claimed import AttemptResult, Claimed
from ..storage.database import AWAY, in_short
from ..transport.base import Envelope, Stopped, Transport, TransportResult
from .resolution import Judge

log = logging.getLogger("flask_interaction_mail")


@dataclass(slots=True)  # not frozen, to be made in half the time
class Returned:
    """What an agent brings back."""

    claimed: Claimed
    verdict: AttemptResult | None  # None: it was not begun, or the server is in trouble
    met_trouble: bool = False  # it was the one that found that out


class Jobs(Protocol):
    """Messages that wait to be carried."""

    def wait(self) -> Claimed | None:
        """The next one, as soon as there is one; None sends home."""
        ...


class Counter(Protocol):
    """Where agents get messages, and bring back what became of them.

    ``trouble`` is what is wrong with the server; who finds out says it there.
    """

    @property
    def jobs(self) -> Jobs: ...

    @property
    def results(self) -> queue.SimpleQueue[Returned]: ...

    trouble: TransportError | None

    def may_begin(self, claimed: Claimed) -> bool: ...

    def is_full(self, error: TransportError) -> bool: ...


@dataclass(slots=True)
class DeliveryAgent:
    """Carries over ``transport`` until it is sent home; ``now`` is the clock of the claims.

    ``spent`` is true afterwards where the connection was broken off and is of no further use,
    ``full`` where the server takes no connection beside the others.
    """

    counter: Counter
    transport: Transport
    now: Callable[[], datetime]
    judge: Judge
    spent: bool = False
    full: bool = False

    def work(self) -> None:
        """Wait for messages and carry them."""
        while not self.full and (claimed := self.counter.jobs.wait()) is not None:
            self.counter.results.put(self._carried(claimed))

    def _carried(self, claimed: Claimed) -> Returned:
        if not self.counter.may_begin(claimed):
            return Returned(claimed, None)
        started_at = self.now()
        outcome: TransportResult | Exception
        try:
            outcome = self.transport.deliver(self._addressed(claimed.envelope))
        except Stopped:
            self.spent = True
            return Returned(claimed, None)
        except AWAY as error:
            log.error("courier.database: %s: %s", claimed.id, in_short(error))
            return Returned(claimed, None)
        except Exception as error:
            outcome = error
        if isinstance(outcome, TransportError) and self.counter.is_full(outcome):
            self.full = self.spent = True
            return Returned(claimed, None)
        if trouble := self.judge.trouble(claimed, outcome):
            self.counter.trouble = trouble  # nobody else runs against a server in trouble
            return Returned(claimed, None, met_trouble=True)
        return Returned(claimed, self._verdict(claimed, outcome, started_at))

    def _addressed(self, envelope: Envelope) -> Envelope:
        diverted_to = self.judge.diverted_to
        return envelope if diverted_to is None else envelope.to((diverted_to,))

    def _verdict(
        self, claimed: Claimed, outcome: TransportResult | Exception, started_at: datetime
    ) -> AttemptResult:
        if isinstance(outcome, TransportResult):
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

    def _for_all(self, claimed: Claimed, delivery: TransportResult) -> TransportResult:
        """Where one mailbox stood in for all, its verdict is everybody's."""
        if self.judge.diverted_to is None:
            return delivery
        reply = delivery.verdicts.get(self.judge.diverted_to)
        everybody = {} if reply is None else dict.fromkeys(claimed.envelope.recipients, reply)
        return replace(delivery, verdicts=everybody)
