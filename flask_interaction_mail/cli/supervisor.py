"""Several worker processes under one, which starts them, replaces them and stops them together.

Each worker is the command that was given, once more, with a mark among the options of Python. The
supervisor watches them and does nothing else: it delivers nothing and opens no connection to the
database. All workers hold the reading end of one pipe, the lifeline, as their standard input. When
the supervisor is gone, however it ended, the pipe is closed, and they stop as on SIGTERM.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import IO, Final

import click

from ..delivery.ports import GRACE
from ..logs import log
from .output import fail, say

_SHORTEST: Final = 1.0  # s from the end of a worker to the start of the next
_LONGEST: Final = 30.0  # s, the same after many quick ends
_STEADY: Final = 60.0  # s that a worker lives before its end is no longer a quick one
_LOOK: Final = 0.2  # s between two looks at the workers
_PATIENCE: Final = GRACE + 5.0  # s that workers get to end before they are killed
_LAST_LINES: Final = 5.0  # s to read what the workers wrote at their end
_STDIN: Final = 0
_MARK: Final = "interaction_mail_supervised"  # of a worker, an option -X of its Python
# A worker that is told to stop while it still starts has not learned to answer SIGTERM yet.
_STOPPED: Final = (0, -signal.SIGTERM)
_DONE: Final = (0,)


def deliver(count: int, stop: threading.Event) -> None:
    """Keep ``count`` workers running until ``stop``, then end them.

    Raises:
        click.ClickException: not all of them ended as they should.
    """
    say(f"Delivering with {count} processes. Stop with Ctrl-C or SIGTERM.")
    with _running(count, _STOPPED) as workers:
        while not stop.wait(_LOOK):
            _replace(workers, stop)
    _report(workers)


def deliver_once(count: int, stop: threading.Event) -> None:
    """Let ``count`` workers deliver what is due; pass on what they say, with their numbers.

    Raises:
        click.ClickException: one of them did not end with status 0.
    """
    with _running(count, _DONE, subprocess.PIPE) as workers:
        readers = [reader for worker in workers for reader in _readers(worker)]
        while not all(worker.ended for worker in workers) and not stop.wait(_LOOK):
            pass
    for reader in readers:
        reader.join(_LAST_LINES)
    _report(workers)


class Worker:
    """A worker by its number; one process after another fills its place."""

    def __init__(self, number: int, lifeline: int, streams: int | None = None) -> None:
        self.number = number
        self.process: subprocess.Popen[str] | None = None
        self.due: float | None = None  # when it is started again, where it is not running
        self.trouble: str | None = None  # what was wrong with the end of the last process
        self._lifeline = lifeline
        self._streams = streams  # None: those of the supervisor
        self._began = self._delay = 0.0

    def start(self) -> None:
        """Start a process; where that fails, the worker counts as ended."""
        self._began = time.monotonic()
        self.process = self.due = self.trouble = None
        try:
            self.process = _start(self._lifeline, self._streams)
        except OSError as error:
            self.trouble = f"process {self.number} could not be started: {error}"
        else:
            log.info("worker.started: %s", self)

    @property
    def ended(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def start_later(self) -> None:
        """Say how the process has ended, and plan when the next one is started."""
        now = time.monotonic()
        self._delay = delay_after(now - self._began, self._delay)
        self.due = now + self._delay
        self.trouble = self.trouble or self._ending()
        log.error("worker.ended: %s; starting it again in %.0f s", self.trouble, self._delay)

    def tell(self) -> None:
        """Pass SIGTERM on; Windows has only a killer by this name, and the lifeline does alone."""
        if self.process is not None and os.name != "nt":
            self.process.terminate()

    def finish(self, deadline: float, good: Collection[int]) -> None:
        """Wait for the end of the process, which is killed at ``deadline``, and judge it."""
        if self.process is None or self.trouble is not None:
            return
        try:
            status = self.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            self.trouble = f"{self} did not end within {_PATIENCE:.0f} seconds and was killed"
        else:
            self.trouble = None if status in good else self._ending()

    def _ending(self) -> str:
        status = self.process.returncode if self.process is not None else 0
        how = (
            f"was ended by {_signal_name(-status)}" if status < 0 else f"ended with status {status}"
        )
        return f"{self} {how}"

    def __str__(self) -> str:
        pid = self.process.pid if self.process is not None else "none"
        return f"process {self.number} (pid {pid})"


def delay_after(lived: float, last_delay: float) -> float:
    """Seconds until a worker is started again that lived ``lived`` seconds.

    The delay doubles with each quick end.
    """
    if lived >= _STEADY:
        return _SHORTEST
    return min(_LONGEST, max(_SHORTEST, 2 * last_delay))


def _start(lifeline: int, streams: int | None) -> subprocess.Popen[str]:
    with _interrupts_blocked():
        return subprocess.Popen(  # noqa: S603 - what was given to this process itself
            _command(),
            stdin=lifeline,
            stdout=streams,
            stderr=streams,
            text=True,
            errors="replace",
        )


def _command() -> Sequence[str]:
    """The command of this process, with its options of Python, which ``sys.argv`` lacks.

    The mark stands among these, where neither a program that parses its own arguments nor one that
    clears its environment meets it.
    """
    return [sys.executable, "-X", _MARK, *sys.orig_argv[1:]]


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Block SIGINT; a process that is started meanwhile keeps it blocked until it can answer.

    Ctrl-C reaches every process of a terminal, and would break off a start with a traceback.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    former = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)


@contextmanager
def _lifeline() -> Iterator[tuple[int, Callable[[], None]]]:
    """The reading end of a pipe for all workers, and a function that closes the other end."""
    reading, writing = os.pipe()
    with open(reading, "rb", buffering=0), open(writing, "wb", buffering=0) as end:
        yield reading, end.close


@contextmanager
def _running(
    count: int, good: Collection[int], streams: int | None = None
) -> Iterator[Sequence[Worker]]:
    """Workers that are started; all have ended at the end, which is judged by ``good``."""
    with _lifeline() as (lifeline, close):
        workers = [Worker(number, lifeline, streams) for number in range(1, count + 1)]
        try:
            for worker in workers:
                worker.start()
            yield workers
        finally:
            close()
            _end(workers, good)


def _replace(workers: Sequence[Worker], stop: threading.Event) -> None:
    """Start the workers whose time has come, and plan when those that have ended are."""
    now = time.monotonic()
    for worker in workers:
        if worker.due is not None and now >= worker.due:
            worker.start()
    ended = [worker for worker in workers if worker.due is None and worker.ended]
    # A service manager tells all processes at once to stop, and a worker may be the quicker one.
    if ended and not stop.wait(_LOOK):
        for worker in ended:
            worker.start_later()


def _end(workers: Sequence[Worker], good: Collection[int]) -> None:
    """Tell all workers to stop, and wait until they have."""
    for worker in workers:
        worker.tell()
    deadline = time.monotonic() + _PATIENCE
    for worker in workers:
        worker.finish(deadline, good)


def _report(workers: Sequence[Worker]) -> None:
    troubles = [worker.trouble for worker in workers if worker.trouble is not None]
    if troubles:
        fail(f"{'; '.join(troubles)}.")


def _readers(worker: Worker) -> Iterator[threading.Thread]:
    """Threads that pass on what ``worker`` says, each line with its number."""
    if worker.process is None:
        return
    for stream, echo in (
        (worker.process.stdout, click.echo),
        (worker.process.stderr, partial(click.echo, err=True)),
    ):
        name = f"interaction-mail-process-{worker.number}"
        arguments = (f"Process {worker.number}: ", stream, echo)
        reader = threading.Thread(target=_pass_on, args=arguments, name=name, daemon=True)
        reader.start()
        yield reader


def _pass_on(prefix: str, stream: IO[str], echo: Callable[[str], None]) -> None:
    with stream:
        for line in stream:
            with suppress(OSError):  # nobody reads it; a worker that could not write would fail
                echo(prefix + line.removesuffix("\n"))


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # those for real time have no names
        return f"signal {number}"


# -- in a worker -------------------------------------------------------------------------


def is_there() -> bool:
    """Whether this process has a supervisor; what it starts itself has none."""
    return _MARK in sys._xoptions


def ignore_signals() -> None:
    """Ignore SIGTERM and SIGINT wherever nobody handles them; for the main thread.

    They can come twice, from the terminal and from the supervisor, and the second one must not
    kill a process that has done its work. None is lost: the lifeline is closed as well.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def watch(*events: threading.Event) -> None:
    """Set ``events`` as soon as the supervisor closes the lifeline or is gone."""
    # Not through sys.stdin: its lock would be held at the end of the process.
    name = "interaction-mail-lifeline"
    threading.Thread(target=_wait_for_end, args=events, name=name, daemon=True).start()


def _wait_for_end(*events: threading.Event) -> None:
    while os.read(_STDIN, 1):
        pass
    for event in events:
        event.set()
