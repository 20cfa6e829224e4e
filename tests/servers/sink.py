"""Postfix's smtp-sink: throws mail away, and fails on request."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator

from .programs import free_port, program, wait_for_port


@contextlib.contextmanager
def sink(*options: str, backlog: int = 100) -> Iterator[int]:
    """Run smtp-sink with ``options``; gives its port."""
    path = program("smtp-sink", package="postfix")
    port = free_port()
    user = ("-u", "nobody") if os.geteuid() == 0 else ()
    running = subprocess.Popen(
        [path, *user, *options, f"127.0.0.1:{port}", str(backlog)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for_port(port)
        yield port
    finally:
        running.kill()
        running.wait(10)
