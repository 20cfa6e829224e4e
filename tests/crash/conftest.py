"""Databases and places of work for the crash tests, and the table that they print at the end."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.crash import accounts
from tests.crash.site import Site, a_site
from tests.crash.stock import KINDS, fresh
from tests.length import LONG

_HEAD = """\
# Torture: the last result

What `make torture` printed when it last ran, {when:%Y-%m-%d}, {where}. Tests: {counts}.

Each line is one run with real worker processes, a real database, and a server on the same machine
that keeps what it gets. *lost* and *unexpected* must be 0. *duplicated* are extra copies, byte for
byte the same, after a crash or a lost answer; *recovered* are messages that left although a worker
died over them; *message_ids* are messages that arrived in different versions, and must be 0.

"""


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Every kind of database; a test narrows it with ``on``."""
    kind: str = request.param
    return kind


@pytest.fixture
def url(kind: str, tmp_path: Path) -> Iterator[str]:
    with fresh(kind, tmp_path) as url:
        yield url


@pytest.fixture
def site(kind: str, url: str) -> Iterator[Site]:
    with a_site(url, kind) as site:
        yield site


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what every run came to; all of the long form is kept in the documentation."""
    for one in accounts.REPORT:
        terminalreporter.write_line(str(one))
    config = terminalreporter.config
    whole = config.args == ["tests/crash"] and not config.option.keyword
    if LONG and whole and accounts.REPORT:
        head = _HEAD.format(
            when=datetime.now(UTC),
            where=f"Python {platform.python_version()} on {platform.system()}",
            counts=_counts(terminalreporter),
        )
        accounts.RESULT.write_text(f"{head}{accounts.table()}\n", encoding="utf-8")


def _counts(terminalreporter: pytest.TerminalReporter) -> str:
    """How the tests went, those without a line of their own included."""
    words = ("passed", "failed", "error", "skipped")
    counted = {word: len(terminalreporter.stats.get(word, ())) for word in words}
    return ", ".join(f"{number} {word}" for word, number in counted.items())
