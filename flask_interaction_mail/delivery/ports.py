"""What delivery works with, and within which limits."""

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
from typing import Protocol

import sqlalchemy as sa

from ..outbox.claimed import AttemptResult, Claimed
from ..settings.model import MessagingSettings
from ..transport.base import Transport
from ..transport.relay import Relay, relay_of


def worker_name() -> str:
    """Who works here, for logs and claims."""
    return f"{socket.gethostname()}:{os.getpid()}"[:255]


class Store(Protocol):
    """What delivery needs of the database: two kinds of short transactions.

    Where it is ``lone``, all threads share one connection.
    """

    @property
    def lone(self) -> bool: ...

    def reading(self) -> AbstractContextManager[sa.Connection]: ...

    def writing(self) -> AbstractContextManager[sa.Connection]: ...


class RateLimits(Protocol):
    """How much mail may leave, and what becomes of the rest."""

    def sieve(
        self, connection: sa.Connection, claimed: Sequence[Claimed], now: datetime
    ) -> Collection[uuid.UUID]:
        """Hold what is too much of messages that were just claimed; gives the ids."""
        ...

    def is_due(self, connection: sa.Connection, now: datetime) -> bool:
        """Whether there is anything to ``gather``."""
        ...

    def gather(self, connection: sa.Connection, now: datetime) -> list[uuid.UUID]:
        """Let what was held leave, in digests; gives the ids of what is queued now."""
        ...

    def announce(self, ids: Sequence[uuid.UUID]) -> None:
        """Tell what stands in the database now about the messages ``ids``; must not raise."""
        ...


class NoRateLimits:
    """Everything may leave."""

    def sieve(self, *_: object) -> tuple[()]:
        return ()

    def is_due(self, *_: object) -> bool:
        return False

    def gather(self, *_: object) -> list[uuid.UUID]:
        return []

    def announce(self, *_: object) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatcherPorts:
    """What the dispatcher works with; every part can be exchanged.

    ``settings`` gives what is in force now, ``relay`` where its mail is handed over. ``transport``
    opens a connection there, from any thread, once ``prepare`` has been called by the thread that
    speaks with the database. ``announce`` is told of what was recorded. ``report`` is told, in the
    recording transaction, what the default To has to hear of. ``grace`` is the number of seconds
    that a message in flight gets when work has to stop; ``suppressed`` says whether nothing may
    leave now. ``tidy`` is called once an hour. While ``listening`` lasts, another process may set
    the event. ``rate_limits`` say how much may leave. ``beat`` is called regularly as a sign of
    life, ``leave`` at the end. A ``modest`` dispatcher claims no more than its connections send
    within a second, because its process may end without notice.

    ``announce``, ``report``, ``beat`` and ``leave`` must not raise.
    """

    store: Store
    settings: Callable[[], MessagingSettings]
    transport: Callable[[Relay], Transport]
    announce: Callable[[Sequence[AttemptResult]], None]
    worker: str
    connections: int
    lease: timedelta
    relay: Callable[[MessagingSettings], Relay] = relay_of
    grace: float = 30.0
    suppressed: Callable[[], bool] = lambda: False
    tidy: Callable[[], object] = lambda: None
    prepare: Callable[[Relay], None] = lambda _: None
    listening: Callable[[threading.Event], AbstractContextManager[None]] = lambda _: nullcontext()
    report: Callable[[sa.Connection, Sequence[AttemptResult]], None] = lambda *_: None
    rate_limits: RateLimits = field(default_factory=NoRateLimits)
    beat: Callable[[], object] = lambda: None
    leave: Callable[[], object] = lambda: None
    modest: bool = False


@dataclass(slots=True)
class DrainStats:
    """What a drain came to: how many were sent, how many got another verdict, what stopped it."""

    sent: int = 0
    others: int = 0
    held_up_by: str | None = None

    @property
    def done(self) -> int:
        return self.sent + self.others


@dataclass(slots=True)
class StopCondition:
    """When to stop: an event, or a moment of ``time.monotonic``.

    ``break_off_at`` is such a moment, too: what is still in flight then is broken off.
    """

    stop: threading.Event | None = None
    deadline: float | None = None
    break_off_at: float | None = None

    def reached(self) -> bool:
        if self.stop is not None and self.stop.is_set():
            return True
        return self.deadline is not None and time.monotonic() >= self.deadline

    def grace(self, usual: float) -> float:
        """How many seconds what is in flight gets to finish, of the ``usual`` ones."""
        if self.break_off_at is None:
            return usual
        return min(usual, max(0.0, self.break_off_at - time.monotonic()))
