"""What could not be stored yet: kept in the process, and tried again until it can.

As long as the database is away nothing is given up but what memory has no room for. What it
refuses is tried for some minutes. When the process ends all is tried once more; the log says what
is lost.
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

from ..storage.database import in_short, is_away

log = logging.getLogger("flask_interaction_mail")

# Seconds before each try; the last is that before all others, too.
RETRY: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, *(60.0,) * 8)
ROOM = 64 * 2**20  # bytes that may wait in one process
_AT_THE_END: Final = 5.0  # s for a try that is under way when the process ends


@dataclass(eq=False, slots=True)
class Job:
    """Something to be done in an app context of ``app``, as often as ``attempt`` raises."""

    app: Flask
    attempt: Callable[[], object]
    give_up: Callable[[], object]
    names: Sequence[str]  # what is lost with it
    size: int  # bytes, about
    tries: int = 0

    def run(self) -> Exception | None:
        """Try it; what went wrong."""
        try:
            with self.app.app_context():  # receivers of the signals expect one
                self.attempt()
        except Exception as error:
            return error
        return None


def keep(job: Job, error: Exception) -> None:
    """Try ``job``, which has failed with ``error``, again later. Never raises."""
    with _lock:
        full = sum(one.size for one in _jobs) + job.size > ROOM
        hopeless = _ending or not (RETRY or is_away(error))
        if not (full or hopeless):
            _jobs.append(job)
    if full:
        _lose(job, f"{in_short(error)}, and no more than {ROOM >> 20} MiB can wait")
    elif hopeless:
        _lose(job, in_short(error))
    else:
        tell(logging.ERROR, "delayed", job.names, in_short(error))
        _start()


def tell(level: int, event: str, names: Sequence[str], because: str) -> None:
    """Log what became of the works that ``names`` are."""
    text = "notification.%s: %s: %s"
    log.log(level, text, event, ", ".join(names), because, extra={"works": names})


def process_ends() -> bool:
    """Whether this is the last try of all."""
    return _ending


def _lose(job: Job, because: str) -> None:
    job.give_up()
    tell(logging.ERROR, "lost", job.names, because)


# -- trying again ----------------------------------------------------------------------

_jobs: list[Job] = []
_lock = threading.Lock()  # for the list and the thread
_trying = threading.Lock()
_thread: threading.Thread | None = None
_ending = False


def _start() -> None:
    global _thread
    with _lock:
        if _thread is not None:
            return
        thread = threading.Thread(target=_work, name="interaction-mail-delayed", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # the next that is kept tries it again
            log.error("notification.delayed: no thread can be started: %s", error)
        else:
            _thread = thread


def _work() -> None:
    global _thread
    rounds = 0
    while True:
        _pause.wait(RETRY[min(rounds, len(RETRY) - 1)])
        with _trying:
            rounds = 0 if _round() else rounds + 1
        with _lock:
            if not _jobs:
                _thread = None
                return


_pause = threading.Event()  # never set: a sleep that ends with the process


def _round() -> bool:
    """Try each job once, but none of an application whose database is away; any success?"""
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
            job.tries += 1
            _put_back(job) if job.tries < len(RETRY) else _lose(job, in_short(error))
    return success


def _put_back(job: Job) -> None:
    with _lock:
        _jobs.append(job)  # behind the others: it may be the only one that fails


@atexit.register
def _end() -> None:
    global _ending
    _ending = True
    with ExitStack() as stack:
        if _trying.acquire(timeout=_AT_THE_END):
            stack.callback(_trying.release)
            _round()
    for job in _jobs:
        _lose(job, "the process ends before the database is back")
    _jobs.clear()


def _forget() -> None:
    """A fork copies no threads: what waits is the parent's to store."""
    global _lock, _trying, _thread
    for job in _jobs:
        job.give_up()
    _jobs.clear()
    _lock, _trying, _thread = threading.Lock(), threading.Lock(), None


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_forget)
