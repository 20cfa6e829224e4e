"""Threads for short pieces of work, kept for the next one.

To start one costs time, and it may be impossible: at a limit of the system, and from Python 3.12
on at the end of the process, which is when the last messages leave.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Callable
from typing import Final

log = logging.getLogger("flask_interaction_mail")

_IDLE: Final = 10.0  # s without work after which a thread ends


class Task:
    """A piece of work in a thread; ``over`` as soon as it has ended, however it ended."""

    def __init__(self, work: Callable[[], object], name: str) -> None:
        self.over = False
        self._work = work
        self._name = name

    def do(self) -> None:
        """Do it in this thread; what it raises is logged, as nobody is there to hear."""
        threading.current_thread().name = self._name
        try:
            self._work()
        except Exception:
            log.exception("thread.failed: %s", self._name)
        finally:
            self.over = True


class _Hand:
    """A thread that does one task after the other."""

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
    """The threads of a process; another process after a fork has none of them."""

    def __init__(self) -> None:
        self.spare = 0  # that stay for as long as the process
        self._lock = threading.Lock()
        self._idle: list[_Hand] = []

    def start(self, task: Task) -> bool:
        with self._lock:
            hand = self._idle.pop() if self._idle else None
        if hand is None:
            try:
                hand = _Hand(self)
            except RuntimeError:  # all that Python says where there can be no more threads
                return False
        hand.tasks.put(task)
        return True

    def keep(self, count: int) -> bool:
        """Have ``count`` idle ones; whether there are."""
        for _ in range(len(self._idle), count):
            try:
                self.is_free(_Hand(self))
            except RuntimeError:
                return False
        return True

    def is_free(self, hand: _Hand) -> None:
        with self._lock:
            self._idle.append(hand)

    def leaves(self, hand: _Hand) -> bool:
        """Whether ``hand`` may end: it is idle, and not one of those that stay."""
        with self._lock:
            if hand not in self._idle or len(self._idle) <= self.spare:
                return False
            self._idle.remove(hand)
            return True


_pool = _Pool()


def start(work: Callable[[], object], name: str) -> Task | None:
    """Have ``work`` done in a thread; None where there is none to be had."""
    task = Task(work, name)
    return task if _pool.start(task) else None


def available() -> bool:
    """Whether at least one piece of work can be begun now."""
    return _pool.keep(1)


def keep_spare(count: int) -> bool:
    """Have ``count`` threads at hand for as long as the process lives; whether there are."""
    _pool.spare = max(_pool.spare, count)
    return _pool.keep(count)


def _begin_anew() -> None:
    global _pool
    _pool = _Pool()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_begin_anew)
