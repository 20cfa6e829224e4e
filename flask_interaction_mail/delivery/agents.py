"""Delivery agents: each hands over messages one after the other, over one connection."""

from __future__ import annotations

import queue
import random
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property

from .. import threads
from ..errors import AddressError, TransportError
from ..logs import about, log
from ..messages.recipients import complete_setting
from ..outbox.claimed import AttemptResult, Claimed
from ..outcome import Fault, Stage
from ..settings.model import MessagingSettings, OnAmbiguous
from ..settings.relay import Encryption, Relay
from ..storage.database import AWAY, in_short
from ..transport.base import Envelope, Stopped, Transport, TransportResult
from ..transport.pool import KeptTransports
from .jobs import Jobs
from .resolution import Resolver

# What a server with too many connections says to one more; if it is the only one, the server is
# in trouble.
_NOT_NOW = (Fault.GREETING_TRANSIENT, Fault.AUTH_TRANSIENT)
_CUT = ((Stage.GREETING, Fault.LOST),)
_CUT_FROM_THE_START = (*_CUT, (Stage.ENCRYPTION, Fault.TLS_FAILED))


def _is_turned_away(error: TransportError, encryption: Encryption) -> bool:
    """Whether ``error`` is how a server refuses one connection too many.

    It says "not now", or ends the connection before the greeting; before the encryption, where
    ``encryption`` comes first.
    """
    cut = _CUT_FROM_THE_START if encryption is Encryption.TLS else _CUT
    return error.fault in _NOT_NOW or (error.stage, error.fault) in cut


@dataclass(slots=True)  # not frozen: creating it takes half the time
class AgentReport:
    """What an agent reports of one message.

    ``result`` is None if the message was not begun, or the server is in trouble; ``met_trouble``
    is true for the message that found that out. ``slow_refusals`` is that of the transport.
    """

    claimed: Claimed
    result: AttemptResult | None
    met_trouble: bool = False
    slow_refusals: bool = False


@dataclass(slots=True)
class DeliveryAgent:
    """Sends messages of ``pool`` over ``transport`` until it is to leave.

    ``broken`` is true afterwards if the connection is of no further use, ``turned_away`` if the
    server takes no connection beside the others.
    """

    pool: AgentPool
    transport: Transport
    broken: bool = False
    turned_away: bool = False

    def work(self) -> None:
        """Wait for messages, send them, and report."""
        pool = self.pool
        while not self.turned_away and (claimed := pool.jobs.wait()) is not None:
            pool.reports.put(self._send(claimed))

    def _send(self, claimed: Claimed) -> AgentReport:
        pool = self.pool
        if not pool.may_begin(claimed):
            return AgentReport(claimed, None)
        started_at = pool.now()
        outcome: TransportResult | Exception
        try:
            outcome = self.transport.deliver(self._diverted(claimed.envelope))
        except Stopped:
            self.broken = True
            return AgentReport(claimed, None)
        except AWAY as error:
            said = in_short(error)
            log.error("courier.database: %s: %s", claimed.id, said, extra=about(claimed.id))
            return AgentReport(claimed, None)
        except Exception as error:
            outcome = error
        if isinstance(outcome, TransportError) and pool.is_full(outcome):
            self.turned_away = self.broken = True
            return AgentReport(claimed, None)
        if trouble := pool.resolver.trouble(claimed, outcome):
            pool.trouble = trouble  # no other agent runs into a server in trouble
            return AgentReport(claimed, None, met_trouble=True)
        slow = isinstance(outcome, TransportResult) and outcome.slow_refusals
        return AgentReport(claimed, self._result(claimed, outcome, started_at), slow_refusals=slow)

    def _result(
        self, claimed: Claimed, outcome: TransportResult | Exception, started_at: datetime
    ) -> AttemptResult:
        if isinstance(outcome, TransportResult):
            outcome = self._for_all(claimed, outcome)
        elif not isinstance(outcome, TransportError):
            extra = about(claimed.id)
            log.error("message.poison: %s", claimed.id, exc_info=outcome, extra=extra)
        return self.pool.resolver.resolve(
            claimed,
            outcome,
            started_at=started_at,
            finished_at=self.pool.now(),
            chance=random.random(),  # noqa: S311 - jitter, not a secret
        )

    def _diverted(self, envelope: Envelope) -> Envelope:
        diverted_to = self.pool.diverted_to
        return envelope if diverted_to is None else envelope.to((diverted_to,))

    def _for_all(self, claimed: Claimed, outcome: TransportResult) -> TransportResult:
        """``outcome`` for the recipients, with the verdict on the mailbox that mail went to."""
        diverted_to = self.pool.diverted_to
        if diverted_to is None:
            return outcome
        reply = outcome.verdicts.get(diverted_to)
        verdicts = {} if reply is None else dict.fromkeys(claimed.envelope.recipients, reply)
        return replace(outcome, verdicts=verdicts)


class AgentPool:
    """The agents of one run, at first none.

    ``now`` is the clock of the claims. ``leased_until`` (monotonic) is when the leases of the
    messages end; ``lost`` are messages that other workers have taken over. ``trouble`` is what is
    wrong with the server, set by the agent that found out. ``connection_limit`` is how many
    connections the server takes, once it has refused one.
    """

    def __init__(
        self,
        settings: MessagingSettings,
        relay: Relay,
        kept: KeptTransports,
        now: Callable[[], datetime],
    ) -> None:
        self.now = now
        self.jobs: Jobs = Jobs()
        # Not a SimpleQueue: up to Python 3.11 at least, its `get` waits for ever if a signal comes
        # just before its time is up, as SIGTERM does here.
        self.reports: queue.Queue[AgentReport] = queue.Queue()
        self.trouble: TransportError | None = None
        self.connection_limit: int | None = None
        self.leased_until: float = 0.0
        self.lost: set[uuid.UUID] = set()
        self.diverted_to: str | None = divert_to(settings)
        self._settings = settings
        self._relay = relay
        self._kept = kept
        self._tasks: list[threads.Task] = []
        self._transports: list[Transport] = []

    @cached_property
    def resolver(self) -> Resolver:
        """Judges outcomes; made for the first one, because checking an address takes 1 MB."""
        return Resolver(
            server=str(self._relay),
            hold=self._settings.on_ambiguous is OnAmbiguous.HOLD,
            diverted_to=self.diverted_to,
            sender=_sender(self._settings),
        )

    def may_begin(self, claimed: Claimed) -> bool:
        """Whether a message may still be sent: it is leased to us, and the server works."""
        ours = claimed.id not in self.lost and time.monotonic() < self.leased_until
        return ours and self.trouble is None

    @property
    def at_work(self) -> bool:
        """Whether any agent runs, or a report waits."""
        return not self.reports.empty() or any(not task.over for task in self._tasks)

    def grow_to(self, wanted: int) -> None:
        """Have at least ``wanted`` agents, or fewer if no more threads can be started."""
        self._tasks = [task for task in self._tasks if not task.over]
        while self.jobs.agents < wanted:
            self.jobs.add_agents(1)
            task = threads.start(self._run_agent, "interaction-mail-agent")
            if task is None:
                self.jobs.add_agents(-1)
                return
            self._tasks.append(task)

    def is_full(self, error: TransportError) -> bool:
        """Whether ``error`` means one connection too many; its agent is no longer counted then."""
        full = (
            _is_turned_away(error, self._relay.encryption)
            and self.trouble is None
            and self.jobs.remove_agent()
        )
        if full:
            self.connection_limit = self.jobs.connected
        return full

    def collect(self, patience: float, most: int, *, together: float) -> list[AgentReport]:
        """Up to ``most`` reports; waits ``patience`` seconds for the first one.

        The others are waited for until the answer in the first report is ``together`` seconds old,
        or all agents are idle. A report that came while others were recorded waits no more.
        """
        try:
            reports = [self.reports.get(timeout=patience)]
        except queue.Empty:
            return []
        # One wake-up for several reports: a wake-up for each would slow the agents down.
        self.jobs.all_idle.wait(max(0.0, together - self._age(reports[0])))
        with suppress(queue.Empty):
            while len(reports) < most:
                reports.append(self.reports.get_nowait())
        return reports

    def _age(self, report: AgentReport) -> float:
        """How many seconds ago the server answered; 0 if it has not."""
        if report.result is None or report.result.attempt is None:
            return 0.0
        age = self.now() - report.result.attempt.finished_at
        return max(0.0, age.total_seconds())  # clocks may be set back

    def abort(self) -> None:
        """Break the connections: a message whose final dot is out has an unknown outcome then."""
        for transport in self._transports:
            transport.abort()

    def _run_agent(self) -> None:
        """Run one agent; its connection is kept for the next run, unless it has failed."""
        transport = self._kept.take(self._relay)
        self._transports.append(transport)
        agent = DeliveryAgent(self, transport)
        try:
            agent.work()
        except BaseException:
            agent.broken = True
            raise
        finally:
            left_early = not self.jobs.closed
            if agent.broken or left_early or self.trouble is not None:
                transport.close()
            else:
                self._kept.give_back(self._relay, transport)
            self.jobs.disconnected()


def divert_to(settings: MessagingSettings) -> str | None:
    """The address that all mail goes to instead, None if mail is not diverted.

    Raises:
        AddressError: the setting is not a valid address.
    """
    return complete_setting(settings.divert_to, settings) if settings.divert_to else None


def _sender(settings: MessagingSettings) -> str | None:
    try:
        return complete_setting(settings.default_from, settings) if settings.default_from else None
    except AddressError:
        return None
