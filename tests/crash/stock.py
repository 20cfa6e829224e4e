"""The kinds of database that delivery is tried on."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.databases import fresh_database
from tests.length import LONG

FILES = ("sqlite-wal", "sqlite-delete")
SERVERS = ("postgresql", "mariadb")
KINDS = (*FILES, *SERVERS)
# Where many deaths are died one by one: a kind of file and a kind of server, unless at length.
KILLED_ON = KINDS if LONG else ("sqlite-wal", "postgresql")


@contextmanager
def fresh(kind: str, folder: Path) -> Iterator[str]:
    """The URL of an empty database of this kind."""
    dialect, _, journal = kind.partition("-")
    with fresh_database(dialect, folder) as url:
        if journal:
            with closing(sqlite3.connect(sa.make_url(url).database or "")) as connection:
                connection.execute(f"PRAGMA journal_mode={journal}")
        yield url


def on(*kinds: str, at_length: tuple[str, ...] = ()) -> pytest.MarkDecorator:
    """Run the test on these kinds only; in the long form ``at_length``, too."""
    chosen = (*kinds, *at_length) if LONG else kinds
    return pytest.mark.parametrize("kind", chosen, indirect=True)
