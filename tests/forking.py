"""A process that imports all once, and forks others on orders: they differ only in their start."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Forker:
    """Gives orders to ``process``, one after the other."""

    process: subprocess.Popen[str]

    def ask(self, order: Any) -> Any:
        """The answer to ``order``; both are JSON."""
        assert self.process.stdin is not None
        print(json.dumps(order), file=self.process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())


@contextmanager
def forker(module: str, *arguments: str) -> Iterator[Forker]:
    """The process that runs ``module``, which obeys ``orders()``, for as long as this lasts."""
    with subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        found = Forker(process)
        found._answer()  # all is imported: no test that takes the time runs beside
        yield found
        assert process.stdin is not None
        process.stdin.close()


def at_once(processes: Sequence[Forker], *order: Any) -> list[Any]:
    """The answers of all ``processes`` to the same ``order``, which they obey side by side."""
    with ThreadPoolExecutor(len(processes)) as pool:
        return [*pool.map(lambda process: process.ask(order), processes)]


def orders() -> Iterator[Any]:
    """In such a process, once all is imported: what it is asked, until nobody asks any more."""
    gc.collect()
    gc.freeze()  # else each of those that are forked copies all of it at its end
    answer("ready")
    yield from map(json.loads, sys.stdin)


def answer(what: object) -> None:
    """Answer the last order."""
    sys.stdout.write(f"{json.dumps(what)}\n")
    sys.stdout.flush()
