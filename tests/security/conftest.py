"""What the proofs of security share: an application, and a server that remembers every byte."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host import Host, opened
from tests.integration.conftest import running_mail_server as running_mail_server
from tests.servers.scripted import Scripted, scripted


@pytest.fixture
def server() -> Iterator[Scripted]:
    with scripted() as running:
        yield running


@pytest.fixture
def host(tmp_path: Path, server: Scripted) -> Iterator[Host]:
    """An application whose mail goes to ``server``."""
    with opened(f"sqlite:///{tmp_path}/host.sqlite") as host:
        host.configure(smtp_port=server.port)
        yield host
