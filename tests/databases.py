"""Fresh databases for tests: SQLite in a file, PostgreSQL and MariaDB on this machine.

Every database has a name of its own and is dropped afterwards, so that test runs side by side
do not meet. ``TEST_POSTGRESQL_URL`` and ``TEST_MARIADB_URL`` name other servers.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

DIALECTS = ("sqlite", "postgresql", "mariadb")
_SERVERS = {
    "postgresql": ("TEST_POSTGRESQL_URL", "postgresql+psycopg://postgres@127.0.0.1:5432/postgres"),
    # Else PyMySQL makes a TLS context for each connection, which takes 33 ms.
    "mariadb": (
        "TEST_MARIADB_URL",
        "mariadb+pymysql://root@127.0.0.1:3306/mysql?ssl_disabled=true",
    ),
}


@contextmanager
def fresh_database(dialect: str, folder: Path, *, options: str = "") -> Iterator[str]:
    """The URL of an empty database, dropped at the end; skips where there is no server.

    ``options`` are those of CREATE DATABASE.
    """
    if dialect == "sqlite":
        yield f"sqlite:///{folder / f'{uuid.uuid4().hex}.sqlite'}"
        return
    variable, default = _SERVERS[dialect]
    url = sa.make_url(os.environ.get(variable, default))
    name = f"interaction_mail_{uuid.uuid4().hex[:12]}"
    _run(url, f"CREATE DATABASE {name} {options}", dialect, variable)
    if dialect == "postgresql":  # no test here kills the server, so none needs a commit on disk
        _run(url, f"ALTER DATABASE {name} SET synchronous_commit = off", dialect, variable)
    try:
        yield url.set(database=name).render_as_string(hide_password=False)
    finally:
        force = " WITH (FORCE)" if dialect == "postgresql" else ""
        _run(url, f"DROP DATABASE {name}{force}", dialect, variable)


_TWO_SECONDS = {
    "postgresql": "SET lock_timeout = '2s'",
    "mariadb": "SET innodb_lock_wait_timeout = 2",
}
LOCKING = tuple(_TWO_SECONDS)  # those that lock rows


def be_impatient(engine: sa.Engine) -> None:
    """Who waits for a lock gets an error after two seconds, on ``engine``'s connections to come."""
    engine.dispose()

    @sa.event.listens_for(engine, "connect")
    def connect(connection: Any, _: object) -> None:
        connection.cursor().execute(_TWO_SECONDS[engine.dialect.name])
        connection.commit()


def _run(url: sa.URL, statement: str, dialect: str, variable: str) -> None:
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    try:
        with engine.connect() as connection:
            connection.execute(sa.text(statement))
    except sa.exc.OperationalError as error:
        pytest.skip(f"no {dialect} at {url.render_as_string()} ({variable}): {error.orig}")
    finally:
        engine.dispose()
