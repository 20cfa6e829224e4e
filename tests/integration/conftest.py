"""Servers and databases that several test files share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.databases import DIALECTS, fresh_database
from tests.forking import Forker, forker
from tests.outbox_rows import Store
from tests.servers.postfix import Postfix, running_postfix


@contextmanager
def _store(dialect: str, folder: Path) -> Iterator[Store]:
    with fresh_database(dialect, folder) as url:
        store = Store(url)
        yield store
        store.engine.dispose()


@pytest.fixture(params=DIALECTS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty outbox in each kind of database."""
    with _store(request.param, tmp_path) as store:
        yield store


@pytest.fixture(params=DIALECTS)
def any_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """The same, for a file whose ``store`` is one in SQLite."""
    with _store(request.param, tmp_path) as store:
        yield store


@pytest.fixture(scope="session")
def running_mail_server() -> Iterator[Postfix]:
    """One Postfix for the whole run: starting it takes seconds."""
    with running_postfix() as running:
        yield running


@pytest.fixture
def postfix(running_mail_server: Postfix) -> Postfix:
    """A real Postfix with empty mailboxes."""
    running_mail_server.empty()
    return running_mail_server


@pytest.fixture(scope="session")
def token_processes() -> Iterator[list[Forker]]:
    """Four that obey orders of tests/servers/token_process.py."""
    with ExitStack() as stack:
        yield [stack.enter_context(forker("tests.servers.token_process")) for _ in range(4)]
