"""The agents of a run: messages wait here to be carried, and results to be collected."""

from __future__ import annotations

import queue
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime

from .. import threads
from ..errors import AddressError, TransportError
from ..messages.recipients import complete_setting
from ..outbox.claimed import Claimed
from ..outcome import Fault, Stage
from ..settings.model import Encryption, MessagingSettings, OnAmbiguous
from ..transport.base import Transport
from ..transport.pool import KeptTransports
from ..transport.relay import Relay
from .agent import DeliveryAgent, Returned
from .resolution import Judge

# What a server says to one connection more than it takes; to the only one it means trouble.
_NOT_NOW = (Fault.GREETING_TRANSIENT, Fault.AUTH_TRANSIENT)
_CUT = ((Stage.GREETING, Fault.LOST),)
_CUT_FROM_THE_START = (*_CUT, (Stage.ENCRYPTION, Fault.TLS_FAILED))


def _turned_away(error: TransportError, encryption: Encryption) -> bool:
    """Whether ``error`` is what one too many meets: "not now", or the end without a greeting.

    With ``encryption`` from the start, that is an end before it.
    """
    cut = _CUT_FROM_THE_START if encryption is Encryption.TLS else _CUT
    return error.fault in _NOT_NOW or (error.stage, error.fault) in cut


class Jobs:
    """Messages that wait for an agent, in their order; for any number of threads.

    ``kept_back`` are those that nobody can take before they are released. ``done`` is set while
    all ``hands`` that take messages wait for more, ``closed`` once nothing is carried any more.
    """

    def __init__(self) -> None:
        self.kept_back: deque[Claimed] = deque()
        self.hands = 0
        self._leaving: set[int] = set()  # threads
        self.done = threading.Event()
        self._idle = 0  # of the hands
        self._spare = 0  # hands that are to leave
        self._waiting: deque[Claimed] = deque()
        self._bell = threading.Condition()
        self.closed = False

    def __len__(self) -> int:
        return len(self._waiting) + len(self.kept_back)

    def add(self, first: Sequence[Claimed], last: Sequence[Claimed]) -> None:
        """Put ``first`` ahead of what is waiting, and keep ``last`` back."""
        with self._bell:
            self.kept_back.extend(last)
            if first:
                self._waiting.extendleft(reversed(first))
                self._call()

    def release(self, most: int) -> None:
        """Let agents take the ``most`` next ones of what is kept back."""
        if most <= 0 or not self.kept_back:
            return
        with self._bell:
            for _ in range(min(most, len(self.kept_back))):
                self._waiting.append(self.kept_back.popleft())
            self._call()

    def take(self) -> Claimed | None:
        """The next one; None where nothing is waiting right now."""
        try:
            return self._waiting.popleft()
        except IndexError:
            return None

    def wait(self) -> Claimed | None:
        """The next one, as soon as there is one; None where there will be no more."""
        if self._spare and self._leaves():
            return None
        while (claimed := self.take()) is None:
            with self._bell:
                if self.closed:
                    return None
                if not self._waiting:
                    self._idle += 1
                    if self._idle >= self.hands:
                        self.done.set()
                    self._bell.wait()
                    self._idle -= 1
            if self._spare and self._leaves():
                return None
        return claimed

    def shrink_to(self, most: int) -> None:
        """Have no more than ``most`` hands, once those beyond have done what they are at."""
        if self.hands <= most and not self._spare:
            return
        with self._bell:
            self._spare = max(0, self.hands - most)
            self._bell.notify_all()

    def hire(self, count: int) -> None:
        """``count`` more hands take messages."""
        with self._bell:
            self.hands += count

    def retire(self) -> bool:
        """One of the hands leaves, unless it is the last one."""
        with self._bell:
            if self.hands > 1:
                self.hands -= 1
                self._spare = max(0, self._spare - 1)
                return True
        return False

    def _leaves(self) -> bool:
        with self._bell:
            leaves = self._spare > 0
            if leaves:
                self._spare -= 1
                self.hands -= 1
                self._leaving.add(threading.get_ident())
        return leaves

    @property
    def connected(self) -> int:
        """How many hands have a connection, or are about to, those that are leaving included."""
        return self.hands + len(self._leaving)

    def gone(self) -> None:
        """The one of this thread has closed its connection."""
        self._leaving.discard(threading.get_ident())

    def close(self) -> list[Claimed]:
        """Nothing more is carried; gives what nobody has taken."""
        with self._bell:
            self.closed = True
            left = [*iter(self.take, None), *self.kept_back]
            self.kept_back.clear()
            self._bell.notify_all()
        return left

    def _call(self) -> None:
        self.done.clear()
        self._bell.notify_all()


class AgentPool:
    """Agents at work for one set of settings, at first none.

    ``holds_until`` (monotonic) is when the leases of what they carry end; ``lost`` are messages
    that others have taken over; ``trouble`` is what is wrong with the server, said by the agent
    who found out; ``room`` is how many connections it takes, once one was too many.
    """

    def __init__(
        self,
        settings: MessagingSettings,
        relay: Relay,
        kept: KeptTransports,
        now: Callable[[], datetime],
    ) -> None:
        self.jobs = Jobs()
        self.results: queue.SimpleQueue[Returned] = queue.SimpleQueue()
        self.trouble: TransportError | None = None
        self.room: int | None = None
        self.holds_until = 0.0
        self.lost: set[uuid.UUID] = set()
        self.judge = Judge(
            server=str(relay),
            hold=settings.on_ambiguous is OnAmbiguous.HOLD,
            diverted_to=divert_to(settings),
            sender=_sender(settings),
        )
        self._relay = relay
        self._kept = kept
        self._now = now
        self._hired: list[threads.Task] = []
        self._transports: list[Transport] = []

    def may_begin(self, claimed: Claimed) -> bool:
        """Whether a message may still leave: nobody else has it, and the server works."""
        ours = claimed.id not in self.lost and time.monotonic() < self.holds_until
        return ours and self.trouble is None

    @property
    def at_work(self) -> bool:
        """Whether anybody carries, or has left a result."""
        return not self.results.empty() or any(not one.over for one in self._hired)

    def grow_to(self, wanted: int) -> None:
        """Have at least ``wanted`` agents, or as many as there are threads for."""
        self._hired = [one for one in self._hired if not one.over]
        while self.jobs.hands < wanted:
            self.jobs.hire(1)
            agent = threads.start(self._carry, "interaction-mail-courier")
            if agent is None:
                self.jobs.hire(-1)
                return
            self._hired.append(agent)

    def shrink_to(self, most: int) -> None:
        """Have no more than ``most`` agents, once those beyond have done what they are at."""
        self.jobs.shrink_to(most)

    def is_full(self, error: TransportError) -> bool:
        """Whether the server just takes no further connection: whoever met that has left."""
        full = (
            _turned_away(error, self._relay.encryption)
            and self.trouble is None
            and self.jobs.retire()
        )
        if full:
            self.room = self.jobs.connected
        return full

    def collect(self, patience: float, most: int, *, together: float) -> list[Returned]:
        """``most`` results or fewer, after ``patience`` s at most.

        The first one waits for others until its server's answer is ``together`` s old, or there
        are all there will be: who came while others were recorded has waited already.
        """
        try:
            returned = [self.results.get(timeout=patience)]
        except queue.Empty:
            return []
        # Not one wake-up for each result, which would slow the agents down.
        self.jobs.done.wait(max(0.0, together - self._age(returned[0])))
        with suppress(queue.Empty):
            while len(returned) < most:
                returned.append(self.results.get_nowait())
        return returned

    def _age(self, returned: Returned) -> float:
        """How many seconds ago the server answered; 0 where it has not."""
        if returned.verdict is None or returned.verdict.attempt is None:
            return 0.0
        age = self._now() - returned.verdict.attempt.finished_at
        return max(0.0, age.total_seconds())  # clocks may be set

    def abort(self) -> None:
        """Break the connections: what waits for the answer to its dot is ambiguous then."""
        for transport in self._transports:
            transport.abort()

    def _carry(self) -> None:
        """An agent at work; its connection is kept for the next run, unless it has failed."""
        transport = self._kept.take(self._relay)
        self._transports.append(transport)
        agent = DeliveryAgent(self, transport, self._now, self.judge)
        try:
            agent.work()
        except BaseException:
            agent.spent = True
            raise
        finally:
            left_early = not self.jobs.closed
            if agent.spent or left_early or self.trouble is not None:
                transport.close()
            else:
                self._kept.give_back(self._relay, transport)
            self.jobs.gone()


def divert_to(settings: MessagingSettings) -> str | None:
    """Where all mail goes instead, None for where it belongs.

    Raises:
        AddressError: the setting is not a valid address.
    """
    return complete_setting(settings.divert_to, settings) if settings.divert_to else None


def _sender(settings: MessagingSettings) -> str | None:
    try:
        return complete_setting(settings.default_from, settings) if settings.default_from else None
    except AddressError:
        return None
