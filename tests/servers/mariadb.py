"""A MariaDB of the tests' own."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .programs import free_port, program, wait_for_port

WITHOUT_FSYNC = ("--innodb-flush-method=nosync", "--innodb-flush-log-at-trx-commit=0")
# The characters are those of Debian's own server.
_OWN = (
    "--bind-address=127.0.0.1",
    "--character-set-server=utf8mb4",
    "--collation-server=utf8mb4_general_ci",
)


@contextmanager
def mariadb(options: tuple[str, ...], parent: Path | None = None) -> Iterator[str]:
    """The URL of a running server in a folder below ``parent``; skips where it is not installed."""
    server = program("mariadbd", package="mariadb-server")
    folder, port = (
        Path(tempfile.mkdtemp(prefix="interaction-mail-mariadb-", dir=parent)),
        free_port(),
    )
    # It refuses to run as root, unless root says as whom it is to run.
    user = ("--user=mysql",) if os.geteuid() == 0 else ()
    try:
        if user:
            shutil.chown(folder, "mysql")
        files = ("--no-defaults", f"--datadir={folder / 'data'}", *user)
        _install(files)
        place = (f"--port={port}", f"--socket={folder / 'socket'}")
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen([server, *files, *place, *_OWN, *options], stderr=log)
        try:
            wait_for_port(port)
            yield f"mariadb+pymysql://root@127.0.0.1:{port}/mysql?ssl_disabled=true"
        finally:
            process.kill()
            process.wait(10)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _install(files: tuple[str, ...]) -> None:
    """Make the tables of the server; root comes in without a password."""
    subprocess.run(
        [
            program("mariadb-install-db", package="mariadb-server"),
            *files,
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
        ],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
