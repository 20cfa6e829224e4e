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
from typing import Any

import sqlalchemy as sa
import trustme

from .harness import ROOT, Options

POSTGRESQL = os.environ.get(
    "BENCH_POSTGRESQL_URL", "postgresql+psycopg://postgres@127.0.0.1:5432/postgres"
)
SQLITE, SQLITE_WAL = "sqlite", "sqlite with WAL"  # with a rollback journal, unless it says WAL


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
def database(dialect: str, options: Options, server: str = POSTGRESQL) -> Iterator[str]:
    """The SQLAlchemy URL of an empty database, gone at the end."""
    name = f"bench_{uuid.uuid4().hex[:12]}"
    if dialect in (SQLITE, SQLITE_WAL):
        url = f"sqlite:///{options.folder / name}.sqlite"
        try:
            if dialect == SQLITE_WAL:
                _ask("PRAGMA journal_mode = WAL", url)  # it stays so
            yield url
        finally:
            for file in options.folder.glob(f"{name}*"):
                file.unlink()
        return
    _administer(f"CREATE DATABASE {name}", server)
    try:
        yield sa.make_url(server).set(database=name).render_as_string(hide_password=False)
    finally:
        _administer(f"DROP DATABASE {name} WITH (FORCE)", server)


@contextlib.contextmanager
def cluster(**settings: str) -> Iterator[str | None]:
    """The URL of a PostgreSQL of our own; None where its programs are missing."""
    control = _postgresql("pg_ctl")
    if control is None:
        print("no pg_ctl, so its log is not measured: install the Debian package postgresql")
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="bench-pg-") as folder:
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            shutil.chown(folder, "postgres")
        port, data = free_port(), f"{folder}/data"
        made = "-U postgres -A trust --encoding=UTF8 --locale=C.UTF-8 --no-sync"
        _as_postgres(control, "initdb", "-D", data, "-o", made)
        given = {"port": port, "listen_addresses": "127.0.0.1", "unix_socket_directories": folder}
        options = " ".join(f"-c {name}={value}" for name, value in (given | settings).items())
        _as_postgres(control, "start", "-w", "-D", data, "-l", f"{folder}/log", "-o", options)
        try:
            yield f"postgresql+psycopg://postgres@127.0.0.1:{port}/postgres"
        finally:
            _as_postgres(control, "stop", "-w", "-D", data, "-m", "immediate")


def _postgresql(name: str) -> str | None:
    """The path of a program that Debian keeps outside the usual folders."""
    newest_first = sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)
    return shutil.which(name, path=os.pathsep.join(newest_first)) or shutil.which(name)


def _as_postgres(*command: str) -> None:
    user = "postgres" if os.geteuid() == 0 else None
    quiet = subprocess.DEVNULL  # a pipe would stay open: the server inherits it
    subprocess.run(command, check=True, cwd="/", user=user, stdout=quiet, stderr=quiet)


def settle(url: str) -> None:
    """Let the database do now, after a bulk load, what it would do in quiet minutes."""
    if url.startswith("sqlite"):
        os.sync()
        return
    _administer("VACUUM ANALYZE", url)
    _administer("CHECKPOINT", url)


def vacuum(url: str) -> None:
    """Let the database use again, or give back, the room of what is gone."""
    _administer("VACUUM", url)


def size(url: str) -> int:
    """Bytes of all tables with their indexes."""
    if url.startswith("sqlite"):
        return int(
            _ask("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size", url)
        )
    return int(_ask("SELECT sum(pg_total_relation_size(relid)) FROM pg_stat_user_tables", url))


def log_position(url: str) -> int:
    """How many bytes of write-ahead log PostgreSQL has written."""
    return int(_ask("SELECT pg_current_wal_lsn() - '0/0'", url))


def dialects() -> list[str]:
    """SQLite, and PostgreSQL where it can be reached."""
    try:
        _administer("SELECT 1")
    except sa.exc.OperationalError as error:
        print(f"no PostgreSQL, so not measured (BENCH_POSTGRESQL_URL): {error.orig}")
        return [SQLITE]
    return [SQLITE, "postgresql"]


def _administer(statement: str, url: str = POSTGRESQL) -> None:
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        connection.execute(sa.text(statement))


def _ask(query: str, url: str) -> Any:
    with sa.create_engine(url, poolclass=sa.NullPool).connect() as connection:
        return connection.scalar(sa.text(query))


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
