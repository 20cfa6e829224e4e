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


class Limits(Protocol):
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


class Unlimited:
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

    ``settings`` gives what is in force now, ``relay`` where its mail is handed over; ``transport``
    opens a connection there, for any thread, after ``prepare`` was called by the one that speaks
    with the database; ``announce`` is told of what was recorded and must not raise. ``grace`` is
    how many seconds a message in flight gets to finish when work has to stop, ``suppressed``
    whether nothing may leave now; ``tidy`` is called once an hour, and while ``listening`` lasts
    another process may set the event. ``report`` is told what the default To has to hear of, in the
    transaction that records it, and must not raise. ``limits`` say how much may leave. ``beat`` is
    called again and again, as a sign of life, and ``leave`` at the end; neither may raise. Where it
    is ``modest``, no more is claimed than the present connections send within a second: the process
    may end without a farewell.
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
    limits: Limits = field(default_factory=Unlimited)
    beat: Callable[[], object] = lambda: None
    leave: Callable[[], object] = lambda: None
    modest: bool = False


@dataclass(slots=True)
class Progress:
    """What a drain came to: how many were sent, how many got another verdict, what stopped it."""

    sent: int = 0
    others: int = 0
    held_up_by: str | None = None

    @property
    def done(self) -> int:
        return self.sent + self.others


@dataclass(slots=True)
class Limit:
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
