"""Servers and databases that several test files share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.databases import DIALECTS, fresh_database
from tests.outbox_rows import Store
from tests.servers.postfix import Postfix, running_postfix


@pytest.fixture(params=DIALECTS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty outbox in each kind of database."""
    with fresh_database(request.param, tmp_path) as url:
        store = Store(url)
        yield store
        store.engine.dispose()


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
