"""Hosts on every kind of database, for the tests of what a transaction carries."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.databases import fresh_database
from tests.transactions import FILES, KINDS, SERVERS, Host


@pytest.fixture(scope="session")
def server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str]]:
    """Gives the URL of this run's own database on a server; made at the first use."""
    with ExitStack() as stack:
        urls: dict[str, str] = {}

        def url_of(kind: str) -> str:
            if kind not in urls:
                fresh = fresh_database(kind, tmp_path_factory.getbasetemp())
                urls[kind] = stack.enter_context(fresh)
            return urls[kind]

        yield url_of


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """memory, wal and delete (SQLite's journal modes), postgresql, mariadb."""
    return str(request.param)


@pytest.fixture
def make_host(
    kind: str, tmp_path: Path, server_url: Callable[[str], str]
) -> Iterator[Callable[..., Host]]:
    """Makes hosts on one database of this kind."""
    if kind in SERVERS:
        url = server_url(kind)
    elif kind in FILES:
        url = f"sqlite:///{tmp_path}/host.sqlite"
    else:
        url = "sqlite://"
    hosts: list[Host] = []

    def make(**options: Any) -> Host:
        hosts.append(host := Host(kind, url, **options))
        if kind == "wal":
            with host.engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA journal_mode=WAL")
        return host

    yield make
    for host in hosts:
        host.close()


@pytest.fixture
def host(make_host: Callable[..., Host]) -> Host:
    return make_host()
