"""A mailing whose process is killed, and that is called again until it ends."""

from __future__ import annotations

import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import pytest

from tests.databases import DIALECTS, fresh_database
from tests.host import opened
from tests.length import LONG

COUNT = 400
KILLS = 5 if LONG else 1


@pytest.mark.parametrize("dialect", DIALECTS)
def test_everybody_gets_one_message_whenever_it_is_killed(dialect: str, tmp_path: Path) -> None:
    """The key makes each call send the rest alone."""
    chance = random.Random(dialect)
    with fresh_database(dialect, tmp_path) as url, opened(url) as host:
        host.configure(paused=True)
        for _ in range(KILLS):
            with mailing(url) as process:
                assert process.stdout is not None
                told = islice(process.stdout, chance.randint(2, 8))
                assert all(int(line) < COUNT for line in told)
        with mailing(url) as process:
            assert process.stdout is not None
            *_, last = process.stdout
            assert (int(last), process.wait()) == (COUNT, 0)
        recipients = Counter(host.recipients())
    assert len(recipients) == COUNT
    assert set(recipients.values()) == {1}


@contextmanager
def mailing(url: str) -> Iterator[subprocess.Popen[str]]:
    """A process that sends the mailing, killed at the end of the block if it still does."""
    command = [sys.executable, "-m", "tests.crash.mailing", url, str(COUNT)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()
