"""Finding programs that no Python package brings, and ports for them."""

from __future__ import annotations

import os
import shutil
import socket
import time

import pytest

_given: set[int] = set()  # ports


def found(name: str) -> str | None:
    """The path of ``name``; servers are where the PATH of a user often does not lead."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def program(name: str, *, package: str) -> str:
    """The path of ``name``; the test is skipped without it, naming the Debian ``package``."""
    path = found(name)
    if path is None:
        pytest.skip(f"{name} is missing: install the Debian package {package}")
    return path


def free_port() -> int:
    """A port of loopback that nobody listens at just now, another one at each call.

    The system may give the same one twice, and a server with many ports would have one less.
    """
    while True:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            port = int(listening.getsockname()[1])
        if port not in _given:
            _given.add(port)
            return port


def wait_for_port(port: int, seconds: float = 60.0) -> None:
    """Until somebody listens at ``port`` of loopback."""
    end = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)
