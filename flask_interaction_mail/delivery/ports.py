"""What delivery works with, as callables that can be replaced, and when it stops."""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Protocol

import sqlalchemy as sa

from ..outbox.claimed import AttemptResult, Claimed
from ..outbox.tally import Tally
from ..settings.model import MessagingSettings, relays_of
from ..settings.relay import Relay
from ..storage.transactions import Transactions
from ..transport.base import Transport

GRACE: Final = 30.0  # s, at the end, for what is in flight


def worker_name() -> str:
    """The name of this process, for logs and claims."""
    return f"{socket.gethostname()}:{os.getpid()}"[:255]


class Store(Transactions, Protocol):
    """The database. With a ``single_connection``, all threads share it."""

    @property
    def single_connection(self) -> bool: ...


class RateLimits(Protocol):
    """How much mail may leave, and what happens to the rest."""

    def hold_excess(
        self, connection: sa.Connection, claimed: Sequence[Claimed], now: datetime
    ) -> Collection[uuid.UUID]:
        """Hold those of ``claimed`` that are above a rate; gives their ids. The caller commits."""
        ...

    def is_due(self, connection: sa.Connection, now: datetime) -> bool:
        """Whether there is anything to ``gather``."""
        ...

    def gather(self, connection: sa.Connection, now: datetime) -> list[uuid.UUID]:
        """Queue what was held, as digests; gives the ids that are queued. The caller commits."""
        ...

    def announce(self, ids: Sequence[uuid.UUID]) -> None:
        """Send signals about the messages ``ids``, as they are now stored; must not raise."""
        ...


class NoRateLimits:
    """Lets everything leave."""

    def hold_excess(self, *_: object) -> tuple[()]:
        return ()

    def is_due(self, *_: object) -> bool:
        return False

    def gather(self, *_: object) -> list[uuid.UUID]:
        return []

    def announce(self, *_: object) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatcherPorts:
    """What the dispatcher works with; every part can be replaced.

    - ``settings`` gives the settings in force, ``relays`` those that they name, in their order.
    - ``transport`` opens a connection to a relay, from any thread. The thread that uses the
      database for that relay calls ``prepare`` first.
    - ``announce`` gets the results that were recorded. ``report`` gets those that the default To
      has to be told of, in the recording transaction.
    - ``lease`` is how long a claim holds. ``grace`` is how many seconds a message in flight gets
      when work has to stop.
    - ``suppressed`` is true while nothing may leave. ``rate_limits`` say how much may leave.
    - ``tally`` counts what comes of mail by the relay with this name; None counts nothing.
    - ``listening`` is a context in which another process may set the event.
    - ``watch`` is called in a thread of its own, every ``watch_every`` seconds.
    - ``tidy`` is called once an hour, ``beat`` regularly as a sign of life, ``leave``
      at the end.
    - A ``modest`` dispatcher claims no more than its connections send within a second, because its
      process may end without notice.

    ``announce``, ``report``, ``watch``, ``beat`` and ``leave`` must not raise.
    """

    store: Store
    settings: Callable[[], MessagingSettings]
    transport: Callable[[Relay], Transport]
    announce: Callable[[Sequence[AttemptResult]], None]
    worker: str
    connections: int
    lease: timedelta
    relays: Callable[[MessagingSettings], tuple[Relay, ...]] = relays_of
    grace: float = GRACE
    suppressed: Callable[[], bool] = lambda: False
    tidy: Callable[[], object] = lambda: None
    watch: Callable[[], object] = lambda: None
    watch_every: float = 60.0
    prepare: Callable[[Relay], None] = lambda _: None
    listening: Callable[[threading.Event], AbstractContextManager[None]] = lambda _: nullcontext()
    report: Callable[[sa.Connection, Sequence[AttemptResult]], None] = lambda *_: None
    rate_limits: RateLimits = field(default_factory=NoRateLimits)
    tally: Callable[[str], Tally | None] = lambda _: None
    beat: Callable[[], object] = lambda: None
    leave: Callable[[], object] = lambda: None
    modest: bool = False


@dataclass(slots=True)
class DrainStats:
    """What a drain came to: how many were sent, how many ended otherwise, what stopped it.

    ``handed_on`` counts what one relay has left to others.
    """

    sent: int = 0
    others: int = 0
    handed_on: int = 0
    held_up_by: str | None = None

    @property
    def done(self) -> int:
        return self.sent + self.others


@dataclass(slots=True)
class StopCondition:
    """When to stop: at an event, or at a moment of ``time.monotonic``.

    ``break_off_at`` is the moment at which the connections of messages in flight are broken.
    """

    stop: threading.Event | None = None
    deadline: float | None = None
    break_off_at: float | None = None

    def reached(self) -> bool:
        if self.stop is not None and self.stop.is_set():
            return True
        return self.deadline is not None and time.monotonic() >= self.deadline

    def grace(self, usual: float) -> float:
        """How many seconds messages in flight get to finish, at most the ``usual`` number."""
        if self.break_off_at is None:
            return usual
        return min(usual, max(0.0, self.break_off_at - time.monotonic()))
