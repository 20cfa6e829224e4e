"""When and where the outbox is delivered: in a thread of this process, by a worker, or at once."""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from .. import threads
from ..config import DeliveryMode
from ..logs import log
from ..state import Delivery, State
from . import appserver

if TYPE_CHECKING:  # a process that leaves delivery to a worker does without it
    from .dispatcher import Dispatcher
    from .ports import DrainStats, StopCondition


SYNC_BUDGET = 15.0  # s that one app context may spend on delivery; the rest is for the next one
SYNC_GRACE = 1.0  # s of them that are left, at the end, to what is in flight
_FAREWELL = 1.0  # s to break off what is still in flight at last, and to write that down
_GOODBYE = 5.0  # s that a process has at its end for what it has committed, all in all
_CLOSING = 2.0  # s of them in which nothing more is begun
_GLANCE = 0.02  # s
_AGAIN = 60.0  # s after a thread that could not be started
_SPARE = 2  # threads at hand: from Python 3.12 on none can be started at the end of a process


class _Debt:
    """Whether this process has committed something that was not seen to since; for any thread."""

    def __init__(self) -> None:
        self.wake = threading.Event()
        self.open = False
        self._lock = threading.Lock()

    def add(self) -> None:
        """There is something to deliver."""
        with self._lock:
            self.open = True
            self.wake.set()

    def pay(self) -> None:
        """All is done that can be, as far as it was known."""
        with self._lock:
            self.open = self.wake.is_set()


@dataclass(slots=True)
class _Running:
    """A delivery thread of this process; another process after a fork has its own."""

    pid: int
    dispatcher: Dispatcher
    until: StopCondition
    debt: _Debt = field(default_factory=_Debt)
    thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        # Weakly: an application that is thrown away takes its dispatcher along, and the thread
        # ends.
        self.thread = threading.Thread(
            target=_work,
            args=(weakref.ref(self.dispatcher), self.until, self.debt),
            name="interaction-mail-delivery",
            daemon=True,
        )

    def finish(self, timeout: float) -> None:
        """Deliver what this process owes, then end the thread; ``timeout`` seconds for both."""
        end = time.monotonic() + timeout
        while self.debt.open and self.thread.is_alive() and time.monotonic() < end - _CLOSING:
            time.sleep(_GLANCE)
        self.until.break_off_at = end - _FAREWELL
        assert self.until.stop is not None  # noqa: S101 - it was made with one
        self.until.stop.set()
        self.debt.wake.set()
        self.thread.join(max(0.0, end - time.monotonic()))


def _work(dispatcher: Callable[[], Dispatcher | None], until: StopCondition, debt: _Debt) -> None:
    from .dispatcher import deliver

    threads.keep_spare(_SPARE)
    deliver(dispatcher, until, debt.wake, rest=debt.pay)


class ThreadDelivery:
    """Delivery in a daemon thread, started where it is first needed."""

    def __init__(self, dispatcher: Callable[..., Dispatcher]) -> None:
        self._dispatcher = dispatcher
        self._lock = threading.Lock()
        self._running: _Running | None = None
        self._not_before = 0.0  # after a thread that could not be started
        self._complained = False
        self._owes = False  # something that was committed while there was no thread

    def ensure_running(self) -> None:
        """Start the thread unless this very process has one (a fork copies no threads).

        Where no thread can be started that is logged once, and tried again after a while.
        """
        running = self._running
        if running is not None and running.pid == os.getpid() and running.thread.is_alive():
            return
        if time.monotonic() < self._not_before:
            return
        with self._lock:
            if self._running is running:
                self._running = self._start()

    def _start(self) -> _Running | None:
        from ..outbox.presence import How
        from .ports import StopCondition

        running = _Running(
            pid=os.getpid(),
            dispatcher=self._dispatcher(How.THREAD, modest=True),
            until=StopCondition(threading.Event()),
        )
        try:
            running.thread.start()
        except RuntimeError as error:  # all that Python says where there can be no more threads
            self._not_before = time.monotonic() + _AGAIN
            self._complain(error)
            return None
        if self._owes:
            running.debt.add()
        self._complained = self._owes = False
        _started.add(self)
        _at_the_end_of_a_child()
        return running

    def _complain(self, error: RuntimeError) -> None:
        if not self._complained:
            self._complained = True
            log.error(
                "delivery.no_thread: %s; what is stored waits in the outbox, a thread is tried "
                "again each minute. Raise the limit of the system (ulimit -u, TasksMax of "
                "systemd, pids of a container)",
                error,
            )

    def wake(self) -> None:
        """There is something to deliver."""
        self.ensure_running()
        if (running := self._running) is not None:
            running.debt.add()
        else:
            self._owes = True

    def context_ends(self) -> None:
        """Nothing: the thread does not wait for contexts."""

    def advice(self) -> None:
        """Nothing: delivery needs no more than this process."""

    def stop(self, timeout: float = _GOODBYE) -> None:
        """Deliver what this process has committed, for ``timeout`` seconds at most; then end.

        What is claimed and not begun by then is given back.
        """
        running, self._running = self._running, None
        if running is not None and running.pid == os.getpid():
            running.finish(timeout)


_started: weakref.WeakSet[ThreadDelivery] = weakref.WeakSet()


@atexit.register
def _process_ends() -> None:
    end = time.monotonic() + _GOODBYE
    for delivery in list(_started):
        delivery.stop(max(0.0, end - time.monotonic()))


def _at_the_end_of_a_child() -> None:
    """Children of ``multiprocessing``, as some servers serve with, end without ``atexit``."""
    if "multiprocessing.process" not in sys.modules:
        return  # then this is none of them
    from multiprocessing import parent_process, util

    if parent_process() is not None:
        util.Finalize(None, _process_ends, exitpriority=10)


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

    def advice(self) -> None:
        """Nothing: whether a worker runs is in the database."""

    def stop(self, timeout: float = _GOODBYE) -> None:
        """Nothing to stop."""


class SyncDelivery:
    """Delivery at the end of the app context that stored something, within 15 s in all."""

    def __init__(self, dispatcher: Callable[..., Dispatcher]) -> None:
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

    def _drain(self) -> DrainStats:
        from ..outbox.presence import How
        from .ports import StopCondition

        seconds = SYNC_BUDGET - SYNC_GRACE - 2 * _FAREWELL
        dispatcher = self._dispatcher(How.SYNC, grace=SYNC_GRACE, modest=True)
        return dispatcher.drain(StopCondition(deadline=time.monotonic() + seconds))

    def advice(self) -> None:
        """Nothing: delivery needs no more than this process."""

    def stop(self, timeout: float = _GOODBYE) -> None:
        """Nothing to stop."""


def chosen(state: State) -> Delivery:
    """Who delivers for ``state``, as its configuration says and this process allows.

    A Celery that has workers has been chosen before.
    """
    mode, dispatchers = state.config.delivery, partial(state.make_dispatcher, state)
    if mode in (DeliveryMode.SYNC, DeliveryMode.CELERY) or state.database.in_memory:
        return SyncDelivery(dispatchers)
    if mode is DeliveryMode.WORKER:
        from . import wakeup  # late: only for those who tell others

        return WorkerDelivery(lambda: wakeup.notify(state.database))
    if not appserver.runs_threads():
        log.warning("delivery.no_threads: %s", appserver.NO_THREADS)
        return SyncDelivery(dispatchers)
    return ThreadDelivery(dispatchers)
