"""Programs of Celery as processes of their own, quickly: forked from one that has imported all.

Such a program differs from ``celery -A tests.celery_app`` only in its start, in which the
interpreter spends more than a second on imports.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import forking
from tests.forking import Forker

_LOOK = 0.02  # s between two looks at a program that is to end
_NEEDED = (
    "celery.__main__",
    "celery.apps.beat",
    "celery.apps.worker",
    "celery.bin.celery",
    "celery.concurrency.prefork",
    "celery.worker.consumer",
    "kombu.transport.pyamqp",
    "kombu.transport.redis",
    "psycopg",
    "tests.celery_host",
)


@dataclass
class Forked:
    """A program of the nursery; what tests use of ``subprocess.Popen``."""

    forker: Forker
    pid: int
    returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs."""
        if self.returncode is None:
            self.returncode = self.forker.ask({"pid": self.pid})
        return self.returncode

    def wait(self, timeout: float) -> int:
        end = time.monotonic() + timeout
        while (status := self.poll()) is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired("celery", timeout)
            time.sleep(_LOOK)
        return status

    def send_signal(self, number: int) -> None:
        if self.poll() is None:  # else its number may be another's by now
            os.kill(self.pid, number)


@dataclass(frozen=True)
class Nursery:
    """Starts programs, which are forked by ``forker``."""

    forker: Forker

    def start(self, arguments: list[str], environment: Mapping[str, str], log: Path) -> Forked:
        """``celery -A tests.celery_app arguments`` in a process group of its own."""
        order = {"arguments": arguments, "environment": dict(environment), "log": str(log)}
        return Forked(self.forker, self.forker.ask(order))


@contextmanager
def nursery() -> Iterator[Nursery]:
    """The process that programs are forked from, for as long as this lasts."""
    with forking.forker(__name__) as forker:
        yield Nursery(forker)


def serve() -> None:
    """Fork a program for each order, answer with its pid, or with the status of one by its pid."""
    for name in _NEEDED:
        importlib.import_module(name)
    for order in forking.orders():
        if "pid" in order:
            found, status = os.waitpid(order["pid"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if found else None
        elif (answer := os.fork()) == 0:
            _become(order)
            sys.modules[_NEEDED[0]].main()
        forking.answer(answer)


def _become(order: dict[str, Any]) -> None:
    """Take the order's environment, arguments and log."""
    os.setsid()
    os.environ.clear()
    os.environ |= order["environment"]
    sys.argv = ["celery", "-A", "tests.celery_app", *order["arguments"]]
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number, file in enumerate((os.open(os.devnull, os.O_RDONLY), log, log)):
        os.dup2(file, number)


if __name__ == "__main__":
    serve()
