"""A server of the stand while it runs, and how one is started and stopped."""

from __future__ import annotations

import contextlib
import os
import signal
import smtplib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.servers.programs import free_port, wait_for_port

from . import stored
from .stored import Stored

ROOT = Path(__file__).parents[3]
NODE = Path(os.environ.get("STAND_NODE", ROOT / ".stand" / "node"))


class Unavailable(Exception):
    """The server cannot be had here; the text says why, and how it can be."""


@dataclass(frozen=True)
class Running:
    """A server at ``port``; ``stored`` reads what it has kept or passed on so far."""

    port: int
    version: str
    stored: Callable[[], list[Stored]]
    refusing: bool = True  # it refuses the addresses that are to be refused
    settings: Mapping[str, Any] = field(default_factory=dict)  # beyond the port
    returned: Path | None = None  # the maildir for its reports; None where it writes none

    def offers(self) -> list[str]:
        """What it says in its answer to EHLO."""
        with smtplib.SMTP("127.0.0.1", self.port, timeout=60) as client:
            client.ehlo("stand.test")
            return sorted(
                f"{name.upper()} {rest}".strip() for name, rest in client.esmtp_features.items()
            )


Start = Callable[[Path], AbstractContextManager[Running]]


@contextlib.contextmanager
def process(
    command: Sequence[str | Path],
    port: int,
    log: Path,
    *,
    environment: Mapping[str, str] | None = None,
    seconds: float = 30,
) -> Iterator[None]:
    """Run ``command`` in a session of its own until the block ends; it listens at ``port``."""
    with log.open("ab") as output:
        running = subprocess.Popen(
            [str(one) for one in command],
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        _listening(running, port, log, seconds)
        yield
    finally:
        _end(running)


@contextlib.contextmanager
def shelf(folder: Path, *, refusing: bool) -> Iterator[tuple[int, Callable[[], list[Stored]]]]:
    """Run aiosmtpd that keeps what it gets; gives its port and what it has kept."""
    port, file = free_port(), folder / "stored"
    command = [sys.executable, "-m", "tests.servers.stand.shelf", str(port), str(file)]
    with process([*command, *(["refusing"] if refusing else [])], port, folder / "shelf.log"):
        yield port, lambda: stored.read(file)


def _listening(running: subprocess.Popen[bytes], port: int, log: Path, seconds: float) -> None:
    end = time.monotonic() + seconds
    while running.poll() is None and time.monotonic() < end:
        with contextlib.suppress(OSError):
            wait_for_port(port, 0.5)
            return
    tail = " ".join(log.read_text(errors="replace").split())[-600:]
    raise Unavailable(f"nothing listens at its port: {tail}")


def _end(running: subprocess.Popen[bytes]) -> None:
    """End the whole session: a daemon's children are in it."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.pid, sign)
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.wait(5)
