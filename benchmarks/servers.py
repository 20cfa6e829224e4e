"""What the contenders talk to: smtp-sink, a slow line, databases, small servers of our own."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import sqlalchemy as sa
import trustme

from .harness import ROOT, Options

POSTGRESQL = os.environ.get(
    "BENCH_POSTGRESQL_URL", "postgresql+psycopg://postgres@127.0.0.1:5432/postgres"
)


def program(name: str) -> str:
    """The path of a program of Debian's package postfix."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        raise SystemExit(f"{name} is missing: install the Debian package postfix")
    return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@contextlib.contextmanager
def running(command: list[str], port: int, *, cpu: int | None = None) -> Iterator[int]:
    """A server that runs for the length of the block; yields its port."""
    pin = [] if cpu is None else ["taskset", "-c", str(cpu)]
    process = subprocess.Popen(
        [*pin, *command], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _wait_for(port)
        yield port
    finally:
        process.kill()
        process.wait()


def _wait_for(port: int) -> None:
    end = time.monotonic() + 15
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)


@contextlib.contextmanager
def sink(*options: str, cpu: int | None = None) -> Iterator[int]:
    """Postfix's smtp-sink: takes mail and throws it away."""
    port = free_port()
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    command = [program("smtp-sink"), *user, *options, f"127.0.0.1:{port}", "200"]
    with running(command, port, cpu=cpu):
        yield port


@contextlib.contextmanager
def far_away(server: int, round_trip: float) -> Iterator[int]:
    """The port of ``server`` as seen over a line with this round trip in seconds."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.proxy", str(port), str(server), str(round_trip)]
    with running(command, port):
        yield port


@contextlib.contextmanager
def database(dialect: str, options: Options) -> Iterator[str]:
    """The SQLAlchemy URL of an empty database, gone at the end."""
    name = f"bench_{uuid.uuid4().hex[:12]}"
    if dialect == "sqlite":
        path = options.folder / f"{name}.sqlite"
        try:
            yield f"sqlite:///{path}"
        finally:
            for file in options.folder.glob(f"{name}*"):
                file.unlink()
        return
    _administer(f"CREATE DATABASE {name}")
    try:
        yield sa.make_url(POSTGRESQL).set(database=name).render_as_string(hide_password=False)
    finally:
        _administer(f"DROP DATABASE {name} WITH (FORCE)")


def settle(url: str) -> None:
    """Let the database do now, after a bulk load, what it would do in quiet minutes."""
    if url.startswith("sqlite"):
        os.sync()
        return
    _administer("VACUUM ANALYZE", url)
    _administer("CHECKPOINT", url)


def dialects() -> list[str]:
    """SQLite, and PostgreSQL where it can be reached."""
    try:
        _administer("SELECT 1")
    except sa.exc.OperationalError as error:
        print(f"no PostgreSQL, so not measured (BENCH_POSTGRESQL_URL): {error.orig}")
        return ["sqlite"]
    return ["sqlite", "postgresql"]


def _administer(statement: str, url: str = POSTGRESQL) -> None:
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        connection.execute(sa.text(statement))


def scratch() -> Path:
    """A folder on the disk of the project."""
    folder = ROOT / ".bench-venv" / "scratch"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextlib.contextmanager
def encrypting(options: Options, *, cpu: int | None = None) -> Iterator[tuple[int, str]]:
    """A mail server behind TLS; gives its port and the certificate of its authority."""
    authority = trustme.CA()
    path = options.folder / f"{uuid.uuid4().hex}.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(path))
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.smtpd", str(port), str(path)]
    try:
        with running(command, port, cpu=cpu):
            yield port, authority.cert_pem.bytes().decode()
    finally:
        path.unlink()


@contextlib.contextmanager
def listening() -> Iterator[tuple[int, Callable[[], list[float]]]]:
    """A mail server that notes when something came; gives its port and what it has noted."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.smtpd", str(port)]
    with tempfile.TemporaryFile("w+") as notes:
        process = subprocess.Popen(command, cwd=ROOT, stdout=notes)
        try:
            _wait_for(port)

            def noted() -> list[float]:
                notes.seek(0)
                return [float(line.split()[0]) for line in notes]

            yield port, noted
        finally:
            process.kill()
            process.wait()
