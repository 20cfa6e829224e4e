"""A PostgreSQL of our own, to be stopped and started again."""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.servers.programs import free_port


@dataclass(frozen=True)
class Cluster:
    """Its files and its port."""

    folder: Path
    port: int

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Run it; gives back control when it answers."""
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -k {self.folder} -F"
        self._control("start", "-w", "-o", options, "-l", str(self.folder / "log"))

    def stop(self) -> None:
        """As a crash would: whatever is connected is cut off."""
        self._control("stop", "-w", "-m", "immediate")

    def _control(self, *arguments: str) -> None:
        _run("pg_ctl", "-D", str(self.folder / "data"), *arguments)


@contextmanager
def cluster() -> Iterator[Cluster]:
    """A running cluster; skips where PostgreSQL is not installed on this machine."""
    folder = Path(tempfile.mkdtemp(prefix="interaction-mail-pg-"))
    made = Cluster(folder, free_port())
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres")
        _run("initdb", "-D", str(folder / "data"), "-U", "postgres", "-A", "trust", "--no-sync")
        made.start()
        try:
            yield made
        finally:
            made.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(name: str, *arguments: str) -> None:
    # PostgreSQL refuses to run as root.
    user = {"user": "postgres"} if os.geteuid() == 0 else {}
    subprocess.run(
        [_program(name), *arguments],
        check=True,
        cwd="/",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        **user,  # type: ignore[call-overload]
    )


def _program(name: str) -> str:
    places = os.pathsep.join([*sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True)])
    found = shutil.which(name, path=places) or shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is missing: install the Debian package postgresql")
    return found
