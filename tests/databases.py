"""Fresh databases for tests: SQLite in a file, PostgreSQL and MariaDB on this machine.

Every database has a name of its own and is gone afterwards, so that tests side by side do not meet.
``TEST_POSTGRESQL_URL`` and ``TEST_MARIADB_URL`` name other servers.

A test that is for several kinds of database, among them a server and SQLite, runs on one of them,
which its name decides: all other tests run on SQLite. The first one of a file runs on all, so that
no server misses a page or a command; so do the files in ``ON_ALL``, and with ``FIM_LONG=1`` each
test. What is for the servers alone, or for SQLite's ways to keep what is written, runs on each: it
is about what they differ in.
"""

from __future__ import annotations

import os
import random
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

LOCKING = ("postgresql", "mariadb")  # those that lock rows
DIALECTS = ("sqlite", *LOCKING)
_SERVERS = {
    "postgresql": ("TEST_POSTGRESQL_URL", "postgresql+psycopg://postgres@127.0.0.1:5432/postgres"),
    # Else PyMySQL makes a TLS context for each connection, which takes 33 ms.
    "mariadb": (
        "TEST_MARIADB_URL",
        "mariadb+pymysql://root@127.0.0.1:3306/mysql?ssl_disabled=true",
    ),
}

# Below tests/: where the kinds differ in each statement, as in the tables, claims and records.
ON_ALL = (
    "integration/test_claimer.py",
    "integration/test_json_",
    "integration/test_migrations",
    "integration/test_models.py",
    "integration/test_queue.py",
)
_OF_SQLITE = ("sqlite", "memory", "wal", "delete", "sqlite-wal", "sqlite-delete")
_KINDS = (*LOCKING, *_OF_SQLITE)


def left_out(items: Iterable[pytest.Item]) -> list[pytest.Item]:
    """Those of ``items`` that only the long form runs, for their kind of database."""
    tests: dict[str, dict[str, pytest.Item]] = {}
    for item in items:
        kind, test = _parted(item)
        if kind and not test.startswith(ON_ALL):
            tests.setdefault(test, {})[kind] = item
    first = {test.partition("::")[0]: test for test in reversed(tests)}
    others = (test for test in tests if test not in first.values())
    return [one for test in others for one in _spare(test, tests[test])]


def _parted(item: pytest.Item) -> tuple[str, str]:
    """The kind of database among the parameters of a test, "" if none, and the test without it."""
    name = item.nodeid.partition("[")[0].removeprefix("tests/")
    call = getattr(item, "callspec", None)
    given: Mapping[str, object] = call.params if call else {}
    kinds = {one: kind for one, kind in given.items() if isinstance(kind, str) and kind in _KINDS}
    others = sorted((one, call.indices[one]) for one in given if one not in kinds)
    return "".join(kinds.values()), f"{name}{others}"


def _spare(test: str, on: Mapping[str, pytest.Item]) -> list[pytest.Item]:
    if not set(on).intersection(LOCKING) or not set(on).intersection(_OF_SQLITE):
        return []
    kept = random.Random(test).choice([*on])  # the same one in every run
    return [item for kind, item in on.items() if kind != kept]


# Databases of PostgreSQL that this process has emptied; None: each is dropped at its end.
_kept: list[str] | None = None


@contextmanager
def fresh_database(dialect: str, folder: Path, *, options: str = "") -> Iterator[str]:
    """The URL of an empty database, gone at the end; skips where there is no server.

    ``options`` are those of CREATE DATABASE.
    """
    if dialect == "sqlite":
        yield f"sqlite:///{folder / f'{uuid.uuid4().hex}.sqlite'}"
        return
    server = _Server(dialect)
    keep = dialect == "postgresql" and not options
    name = _kept.pop() if keep and _kept else server.create(options)
    try:
        yield server.url.set(database=name).render_as_string(hide_password=False)
    finally:
        if keep and _kept is not None:
            _kept.append(_emptied(server, name))
        else:
            server.drop(name)


@contextmanager
def keeping() -> Iterator[None]:
    """Have PostgreSQL make few databases meanwhile: each is emptied for the next test.

    That takes half the time of a new one.
    """
    global _kept
    _kept = []
    try:
        yield
    finally:
        for name in _kept:
            _Server("postgresql").drop(name)
        _kept = None


@dataclass(frozen=True)
class _Server:
    """Makes and drops databases of its ``dialect``."""

    dialect: str

    @property
    def url(self) -> sa.URL:
        variable, default = _SERVERS[self.dialect]
        return sa.make_url(os.environ.get(variable, default))

    def create(self, options: str) -> str:
        """Gives its name."""
        name = _new_name()
        statements = [f"CREATE DATABASE {name} {options}"]
        if self.dialect == "postgresql":  # no test here kills it, so none needs a commit on disk
            statements.append(f"ALTER DATABASE {name} SET synchronous_commit = off")
        self.run(*statements)
        return name

    def drop(self, name: str) -> None:
        force = " WITH (FORCE)" if self.dialect == "postgresql" else ""
        self.run(f"DROP DATABASE {name}{force}")

    def run(self, *statements: str) -> None:
        try:
            with _engine(self.url).connect() as connection:
                for statement in statements:
                    connection.execute(sa.text(statement))
        except sa.exc.OperationalError as error:
            where = f"{self.url.render_as_string()} ({_SERVERS[self.dialect][0]})"
            pytest.skip(f"no {self.dialect} at {where}: {error.orig}")


_DROP_SCHEMAS = r"""
DO $$ DECLARE schema text; BEGIN
    SET LOCAL client_min_messages = warning;
    FOR schema IN SELECT nspname FROM pg_namespace
        WHERE nspname NOT LIKE 'pg\_%' AND nspname <> 'information_schema'
    LOOP EXECUTE format('DROP SCHEMA %I CASCADE', schema); END LOOP;
    CREATE SCHEMA public;
END $$
"""


def _emptied(server: _Server, name: str) -> str:
    """Drop what is in a database of PostgreSQL; gives its new name, under which no one knows it."""
    new = _new_name()
    server.run(
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'",
        f"ALTER DATABASE {name} RENAME TO {new}",  # waits until they are gone
    )
    with _engine.__wrapped__(server.url.set(database=new)).connect() as connection:
        connection.execute(sa.text(_DROP_SCHEMAS))
    return new


def _new_name() -> str:
    return f"interaction_mail_{uuid.uuid4().hex[:12]}"


@cache
def _engine(url: sa.URL) -> sa.Engine:
    """It keeps no connection, but knows what its first one has asked the server."""
    return sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)


_TWO_SECONDS = {
    "postgresql": "SET lock_timeout = '2s'",
    "mariadb": "SET innodb_lock_wait_timeout = 2",
}


def be_impatient(engine: sa.Engine) -> None:
    """Who waits for a lock gets an error after two seconds, on ``engine``'s connections to come."""
    engine.dispose()

    @sa.event.listens_for(engine, "connect")
    def connect(connection: Any, _: object) -> None:
        connection.cursor().execute(_TWO_SECONDS[engine.dialect.name])
        connection.commit()
