"""PgBouncer in front of the PostgreSQL of the tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from tests.servers.programs import free_port, program, wait_for_port

_INI = """
[databases]
* = host={host} port={port} user={user} {password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {own}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
ignore_startup_parameters = extra_float_digits,options
"""


@contextmanager
def bouncing(url: str, mode: str) -> Iterator[str]:
    """The URL of the same database through a PgBouncer in this ``mode``; skips without it."""
    found = program("pgbouncer", package="pgbouncer")
    user = {"user": "postgres"} if os.geteuid() == 0 else {}  # it refuses to run as root
    place, own = sa.make_url(url), free_port()
    password = f"password={place.password}" if place.password else ""
    text = _INI.format(
        host=place.host, port=place.port, user=place.username, password=password, own=own, mode=mode
    )
    with tempfile.NamedTemporaryFile("w", suffix=".ini") as file:
        file.write(text)
        file.flush()
        if user:
            shutil.chown(file.name, user["user"])
        process = subprocess.Popen(
            [found, file.name],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **user,  # type: ignore[call-overload]
        )
        try:
            wait_for_port(own)
            yield place.set(host="127.0.0.1", port=own, password=None).render_as_string(False)
        finally:
            process.kill()
            process.wait(10)
