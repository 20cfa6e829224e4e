"""Jobs that the database did not take: kept in this process, and tried again until it does.

While the database is away a job is given up only if ``MAX_BYTES`` are waiting already. One that
the database refuses is given up after the last of ``DELAYS``. When the process ends each is tried
once more, and the log says what is lost.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from flask import Flask

from ..logs import log
from ..storage.database import in_short, is_away
from .pending_work import log_works

DELAYS: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, *(60.0,) * 8)  # s; the last repeats
MAX_BYTES = 64 * 2**20  # that may wait in one process
_EXIT_WAIT: Final = 5.0  # s for a round that is under way when the process ends


@dataclass(eq=False, slots=True)
class Job:
    """Something to be done in an app context of ``app``, as often as ``attempt`` raises."""

    app: Flask
    attempt: Callable[[], object]
    give_up: Callable[[], object]
    names: Sequence[str]  # what is lost with it
    size: int  # bytes, about
    refusals: int = 0

    def run(self) -> Exception | None:
        """Try it; returns what went wrong."""
        try:
            with self.app.app_context():  # receivers of the signals expect one
                self.attempt()
        except Exception as error:
            return error
        return None


def add(job: Job, error: Exception) -> None:
    """Try ``job``, which has failed with ``error``, again later. Never raises."""
    with _lock:
        full = sum(waiting.size for waiting in _jobs) + job.size > MAX_BYTES
        hopeless = _process_ends or not (DELAYS or is_away(error))
        if not (full or hopeless):
            _jobs.append(job)
    if full:
        _give_up(job, f"{in_short(error)}, and no more than {MAX_BYTES >> 20} MiB can wait")
    elif hopeless:
        _give_up(job, in_short(error))
    else:
        log_works(logging.ERROR, "delayed", job.names, in_short(error))
        _start()


def process_ends() -> bool:
    """Whether this is the last round of all."""
    return _process_ends


def _give_up(job: Job, because: str) -> None:
    job.give_up()
    log_works(logging.ERROR, "lost", job.names, because)


# -- trying again ----------------------------------------------------------------------

_jobs: list[Job] = []
_lock = threading.Lock()  # for the list and the thread
_round_lock = threading.Lock()
_thread: threading.Thread | None = None
_process_ends = False
_pause = threading.Event()  # never set: a sleep that ends with the process


def _start() -> None:
    global _thread
    with _lock:
        if _thread is not None:
            return
        thread = threading.Thread(target=_work, name="interaction-mail-delayed", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # the next job that is added tries it again
            log.error("notification.delayed: no thread can be started: %s", error)
        else:
            _thread = thread


def _work() -> None:
    global _thread
    rounds = 0
    while True:
        _pause.wait(DELAYS[min(rounds, len(DELAYS) - 1)])
        with _round_lock:
            rounds = 0 if _round() else rounds + 1
        with _lock:
            if not _jobs:
                _thread = None
                return


def _round() -> bool:
    """Try each job once, except in an app whose database is away; True if any succeeded."""
    away: list[Flask] = []
    success = False
    for job in list(_jobs):
        if job.app in away:
            continue
        error = job.run()
        with _lock:
            if job not in _jobs:  # given up meanwhile: the process ends
                continue
            _jobs.remove(job)
        if error is None:
            success = True
        elif is_away(error):
            away.append(job.app)
            _put_back(job)
        else:
            job.refusals += 1
            _put_back(job) if job.refusals < len(DELAYS) else _give_up(job, in_short(error))
    return success


def _put_back(job: Job) -> None:
    with _lock:
        _jobs.append(job)  # behind the others: it may be the only one that fails


@atexit.register
def _at_exit() -> None:
    global _process_ends
    _process_ends = True
    with ExitStack() as stack:
        if _round_lock.acquire(timeout=_EXIT_WAIT):
            stack.callback(_round_lock.release)
            _round()
    for job in _jobs:
        _give_up(job, "the process ends before the database is back")
    _jobs.clear()


def _after_fork() -> None:
    """Leave the jobs to the parent: a fork copies no threads."""
    global _lock, _round_lock, _thread
    for job in _jobs:
        job.give_up()
    _jobs.clear()
    _lock, _round_lock, _thread = threading.Lock(), threading.Lock(), None


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)
