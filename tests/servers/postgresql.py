"""A PostgreSQL of the tests' own, which can be stopped and started again."""

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
    """Its files, its port, and options of ``postgres``."""

    folder: Path
    port: int
    options: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Run it; gives back control when it answers."""
        own = ("-p", str(self.port), "-c", "listen_addresses=127.0.0.1", "-k", str(self.folder))
        options = " ".join((*own, *self.options))
        self._control("start", "-w", "-o", options, "-l", str(self.folder / "log"))

    def stop(self) -> None:
        """As a crash would: whatever is connected is cut off."""
        self._control("stop", "-w", "-m", "immediate")

    def _control(self, *arguments: str) -> None:
        _run("pg_ctl", "-D", str(self.folder / "data"), *arguments)


# What only helps after a crash of the machine, or another server, is not written either.
WITHOUT_FSYNC = ("-F", "-c full_page_writes=off", "-c wal_level=minimal", "-c max_wal_senders=0")


@contextmanager
def cluster(
    options: tuple[str, ...] = WITHOUT_FSYNC, parent: Path | None = None
) -> Iterator[Cluster]:
    """A running cluster in a folder below ``parent``; skips where PostgreSQL is not installed."""
    folder = Path(tempfile.mkdtemp(prefix="interaction-mail-pg-", dir=parent))
    made = Cluster(folder, free_port(), options)
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres")
        # The locale is that of Debian's own cluster, whatever is set here.
        locale = ("--encoding=UTF8", "--locale=C.UTF-8")
        trusting = ("-U", "postgres", "-A", "trust", "--no-sync")
        _run("initdb", "-D", str(folder / "data"), *trusting, *locale)
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
