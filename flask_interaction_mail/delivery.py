"""When and where the outbox is delivered: in a thread of this process, by a worker, or at once."""

from __future__ import annotations

import atexit
import logging
import os
import socket
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:  # a process that leaves delivery to a worker does without it
    from .dispatcher import Dispatcher, Progress

log = logging.getLogger("flask_interaction_mail")

SYNC_BUDGET = 15.0  # s that one app context may spend on delivery; the rest is for the next one
SYNC_GRACE = 1.0  # s of them that are left, at the end, to what is in flight
_FAREWELL = 2.0  # s of them to break off what is still in flight then, and to write that down
_GOODBYE = 5.0  # s that a process waits at its end for what is in flight


def worker_name() -> str:
    """Who works here, for logs and claims."""
    return f"{socket.gethostname()}:{os.getpid()}"[:255]


class Delivery(Protocol):
    """What the rest knows of a way of delivery."""

    def ensure_running(self) -> None:
        """A request begins."""
        ...

    def wake(self) -> None:
        """There is something to deliver."""
        ...

    def context_ends(self) -> None:
        """An app context has stored what it had to store."""
        ...

    def stop(self, timeout: float = ...) -> None:
        """Finish what is in flight, for ``timeout`` seconds at most."""
        ...


@dataclass(slots=True)
class _Running:
    """A delivery thread of this process; another process after a fork has its own."""

    pid: int
    dispatcher: Dispatcher
    stop: threading.Event = field(default_factory=threading.Event)
    wake: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        from .dispatcher import deliver

        # Weakly: an application that is thrown away takes its dispatcher along, and the thread
        # ends.
        self.thread = threading.Thread(
            target=deliver,
            args=(weakref.ref(self.dispatcher), self.stop, self.wake),
            name="interaction-mail-delivery",
            daemon=True,
        )


class ThreadDelivery:
    """Delivery in a daemon thread, started where it is first needed."""

    def __init__(self, dispatcher: Callable[[], Dispatcher]) -> None:
        self._dispatcher = dispatcher
        self._lock = threading.Lock()
        self._running: _Running | None = None

    def ensure_running(self) -> None:
        """Start the thread unless this very process has one (a fork copies no threads)."""
        running = self._running
        if running is not None and running.pid == os.getpid() and running.thread.is_alive():
            return
        with self._lock:
            if self._running is running:
                self._running = self._start()

    def _start(self) -> _Running:
        running = _Running(pid=os.getpid(), dispatcher=self._dispatcher())
        running.thread.start()
        _started.add(self)
        return running

    def wake(self) -> None:
        """There is something to deliver."""
        self.ensure_running()
        if (running := self._running) is not None:
            running.wake.set()

    def context_ends(self) -> None:
        """Nothing: the thread does not wait for contexts."""

    def stop(self, timeout: float = _GOODBYE) -> None:
        """Finish what is in flight, for ``timeout`` seconds at most, and end the thread."""
        running, self._running = self._running, None
        if running is None or running.pid != os.getpid():
            return
        running.stop.set()
        running.wake.set()
        running.thread.join(timeout)


_started: weakref.WeakSet[ThreadDelivery] = weakref.WeakSet()


@atexit.register
def _process_ends() -> None:
    for delivery in list(_started):
        delivery.stop()


class WorkerDelivery:
    """Delivery by ``flask interaction-mail worker``: this process only stores.

    ``notify`` tells the worker that there is something; it looks by itself, too.
    """

    def __init__(self, notify: Callable[[], None]) -> None:
        self._notify = notify

    def ensure_running(self) -> None:
        """Nothing: the worker is a process of its own."""

    def wake(self) -> None:
        """Tell the worker."""
        self._notify()

    def context_ends(self) -> None:
        """Nothing: the worker does not wait for contexts."""

    def stop(self, timeout: float = _GOODBYE) -> None:
        """Nothing to stop."""


class SyncDelivery:
    """Delivery at the end of the app context that stored something, within 15 s in all."""

    def __init__(self, dispatcher: Callable[[], Dispatcher]) -> None:
        self._dispatcher = dispatcher
        self._local = threading.local()

    def ensure_running(self) -> None:
        """Nothing runs between contexts."""

    def wake(self) -> None:
        """Something was stored in this thread's context."""
        self._local.due = True

    def context_ends(self) -> None:
        """Deliver what is due, unless this context was opened while delivering."""
        if not getattr(self._local, "due", False) or getattr(self._local, "busy", False):
            return
        self._local.due, self._local.busy = False, True
        try:
            self._drain()
        except Exception:
            log.exception("delivery.failed: what is queued stays queued")
        finally:
            self._local.busy = False

    def _drain(self) -> Progress:
        from .dispatcher import Limit

        seconds = SYNC_BUDGET - SYNC_GRACE - _FAREWELL
        return self._dispatcher().drain(Limit(deadline=time.monotonic() + seconds))

    def stop(self, timeout: float = _GOODBYE) -> None:
        """Nothing to stop."""
