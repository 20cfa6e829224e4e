"""Servers that several test files share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers.postfix import Postfix, running_postfix


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
