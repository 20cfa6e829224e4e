"""The couriers of a shift: messages wait here to be carried, and results to be collected."""

from __future__ import annotations

import queue
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime

from .claimed import Claimed
from .courier import Courier, Returned
from .errors import TransportError
from .recipients import complete_setting
from .settings import MessagingSettings, OnAmbiguous
from .transport.base import Transport
from .transport.kept import KeptTransports
from .verdict import Judge


class Jobs:
    """Messages that wait for a courier, in their order; for any number of threads.

    ``kept_back`` are those that nobody can take before they are released. ``done`` is set while
    all ``hands`` that take messages wait for more.
    """

    def __init__(self) -> None:
        self.kept_back: deque[Claimed] = deque()
        self.hands = 0
        self.done = threading.Event()
        self._idle = 0  # of the hands
        self._waiting: deque[Claimed] = deque()
        self._bell = threading.Condition()
        self._closed = False

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
        """Let couriers take the ``most`` next ones of what is kept back."""
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
        while (claimed := self.take()) is None:
            with self._bell:
                if self._closed:
                    return None
                if not self._waiting:
                    self._idle += 1
                    if self._idle >= self.hands:
                        self.done.set()
                    self._bell.wait()
                    self._idle -= 1
        return claimed

    def close(self) -> list[Claimed]:
        """Nothing more is carried; gives what nobody has taken."""
        with self._bell:
            self._closed = True
            left = [*iter(self.take, None), *self.kept_back]
            self.kept_back.clear()
            self._bell.notify_all()
        return left

    def _call(self) -> None:
        self.done.clear()
        self._bell.notify_all()


class Crew:
    """Couriers at work for one set of settings, at first none.

    ``holds_until`` (monotonic) is when the leases of what they carry end; ``lost`` are messages
    that others have taken over; ``trouble`` is what is wrong with the server, said by the courier
    who found out.
    """

    def __init__(
        self, settings: MessagingSettings, kept: KeptTransports, now: Callable[[], datetime]
    ) -> None:
        self.jobs = Jobs()
        self.results: queue.SimpleQueue[Returned] = queue.SimpleQueue()
        self.trouble: TransportError | None = None
        self.holds_until = 0.0
        self.lost: set[uuid.UUID] = set()
        self.judge = Judge(
            server=f"{settings.smtp_server}:{settings.smtp_port}",
            hold=settings.on_ambiguous is OnAmbiguous.HOLD,
            diverted_to=divert_to(settings),
        )
        self._settings = settings
        self._kept = kept
        self._now = now
        self._threads: list[threading.Thread] = []
        self._transports: list[Transport] = []

    def may_begin(self, claimed: Claimed) -> bool:
        """Whether a message may still leave: nobody else has it, and the server works."""
        ours = claimed.id not in self.lost and time.monotonic() < self.holds_until
        return ours and self.trouble is None

    @property
    def at_work(self) -> bool:
        """Whether anybody carries, or has left a result."""
        return not self.results.empty() or any(one.is_alive() for one in self._threads)

    def grow_to(self, wanted: int) -> None:
        """Have at least ``wanted`` couriers."""
        for _ in range(len(self._threads), wanted):
            courier = threading.Thread(
                target=self._carry, name="interaction-mail-courier", daemon=True
            )
            self._threads.append(courier)
            self.jobs.hands = len(self._threads)
            courier.start()

    def collect(self, patience: float, most: int, *, together: float) -> list[Returned]:
        """``most`` results or fewer, after ``patience`` s at most.

        The first one waits for others until its server's answer is ``together`` s old, or there
        are all there will be: who came while others were recorded has waited already.
        """
        try:
            returned = [self.results.get(timeout=patience)]
        except queue.Empty:
            return []
        # Not one wake-up for each result, which would slow the couriers down.
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
        """A courier at work; its connection is kept for the next shift, unless it has failed."""
        transport = self._kept.take(self._settings)
        self._transports.append(transport)
        courier = Courier(self, transport, self._now, self.judge)
        try:
            courier.work()
        except BaseException:
            courier.spent = True
            raise
        finally:
            if courier.spent or self.trouble is not None:
                transport.close()
            else:
                self._kept.give_back(self._settings, transport)


def divert_to(settings: MessagingSettings) -> str | None:
    """Where all mail goes instead, None for where it belongs.

    Raises:
        AddressError: the setting is an address that is none.
    """
    return complete_setting(settings.divert_to, settings) if settings.divert_to else None
