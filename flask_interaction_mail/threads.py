"""Threads that are kept and used again.

Starting a thread takes time, and may be impossible: at a limit of the system, and from Python 3.12
on while the process ends, which is when the last messages leave.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable
from typing import Final

from .logs import log

_IDLE: Final = 10.0  # s without work after which a thread ends


class Task:
    """A piece of work for a thread; ``over`` is true once it has ended or failed."""

    def __init__(self, work: Callable[[], object], name: str) -> None:
        self.over: bool = False
        self._work = work
        self._name = name

    def do(self) -> None:
        """Do it in this thread; logs what it raises."""
        threading.current_thread().name = self._name
        try:
            self._work()
        except Exception:
            log.exception("thread.failed: %s", self._name)
        finally:
            self.over = True


class _Worker:
    """A thread that does one task after another, and ends after 10 s without one."""

    def __init__(self, pool: _Pool) -> None:
        self.tasks: queue.SimpleQueue[Task] = queue.SimpleQueue()
        self._pool = pool
        threading.Thread(target=self._work, name="interaction-mail-idle", daemon=True).start()

    def _work(self) -> None:
        while True:
            try:
                task = self.tasks.get(timeout=_IDLE)
            except queue.Empty:
                if self._pool.leaves(self):
                    return
                continue
            task.do()
            del task
            threading.current_thread().name = "interaction-mail-idle"
            self._pool.is_free(self)


class _Pool:
    """The threads of this process."""

    def __init__(self) -> None:
        self.spare = 0  # idle threads that never end
        self._lock = threading.Lock()
        self._idle: list[_Worker] = []

    def start(self, task: Task) -> bool:
        with self._lock:
            worker = self._idle.pop() if self._idle else None
        if worker is None:
            try:
                worker = _Worker(self)
            except RuntimeError:  # no more threads can be started
                return False
        worker.tasks.put(task)
        return True

    def keep(self, count: int) -> bool:
        """Have at least ``count`` idle threads; gives whether there are."""
        for _ in range(len(self._idle), count):
            try:
                self.is_free(_Worker(self))
            except RuntimeError:
                return False
        return True

    def is_free(self, worker: _Worker) -> None:
        with self._lock:
            self._idle.append(worker)

    def leaves(self, worker: _Worker) -> bool:
        """Whether ``worker`` may end: it is idle and not spare; it is then forgotten."""
        with self._lock:
            if worker not in self._idle or len(self._idle) <= self.spare:
                return False
            self._idle.remove(worker)
            return True


_pool = _Pool()


def start(work: Callable[[], object], name: str) -> Task | None:
    """Do ``work`` in a thread called ``name``; None if no thread can be started."""
    task = Task(work, name)
    return task if _pool.start(task) else None


def available() -> bool:
    """Whether a thread is idle or can be started now."""
    return _pool.keep(1)


def keep_spare(count: int) -> bool:
    """Keep ``count`` idle threads as long as the process lives; gives whether there are."""
    _pool.spare = max(_pool.spare, count)
    return _pool.keep(count)


def _start_over() -> None:  # a fork copies no threads
    global _pool
    _pool = _Pool()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_start_over)
