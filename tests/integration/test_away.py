"""The host's database is away: what is kept for its return, and what is said of the rest."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import abort

from flask_interaction_mail import merge_denied, request_merge
from flask_interaction_mail.unit_of_work import retry_queue
from tests.databases import DIALECTS, fresh_database
from tests.host import ADA, Host, a_merge, opened
from tests.servers.line import line_to
from tests.transactions import eventually

_ROOT = Path(__file__).parents[2]
_PORTS = {"postgresql": 5432, "mariadb": 3306}


@dataclass
class Site:
    """A host, and how its database goes away and comes back."""

    host: Host
    cut: Callable[[], object]
    mend: Callable[[], object]


@pytest.fixture(params=DIALECTS)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    with fresh_database(request.param, tmp_path) as url:
        if request.param == "sqlite":
            with _locking(url) as (cut, mend), opened(url, **_patience(0.05)) as host:
                host.configure()
                yield Site(host, cut, mend)
            return
        direct = sa.make_url(url)
        with line_to(direct.host or "", direct.port or _PORTS[request.param]) as line:
            there = direct.set(host="127.0.0.1", port=line.port)
            with opened(there.render_as_string(hide_password=False)) as host:
                host.configure()
                yield Site(host, line.cut, line.mend)


@contextmanager
def _locking(url: str) -> Iterator[tuple[Callable[[], object], Callable[[], object]]]:
    other = sqlite3.connect(sa.make_url(url).database or "", isolation_level=None)
    yield lambda: other.execute("BEGIN EXCLUSIVE"), lambda: other.execute("ROLLBACK")
    other.close()


def _patience(seconds: float) -> dict[str, Any]:
    return {"SQLALCHEMY_ENGINE_OPTIONS": {"connect_args": {"timeout": seconds}}}


@pytest.fixture(autouse=True)
def retried_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry_queue, "DELAYS", (0.1,) * 40)


def test_a_denial_is_stored_when_the_database_is_back(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """Three clicks while it was away are one request, and each page went on."""

    @site.host.app.get("/merge")
    def merge() -> None:
        merge_denied.send(site.host.app, merge=a_merge())
        abort(403)

    site.host.people.user = ADA
    site.cut()
    client = site.host.app.test_client()
    assert [client.get("/merge").status_code for _ in range(3)] == [403] * 3
    with site.host.app.app_context():
        assert request_merge(a_merge(requester=ADA, ids=(7, 8))) is None
    said = "notification.delayed: the request of Ada Byron to merge Acme Ltd and ACME Limited"
    assert caplog.text.count(said) == 4
    site.host.people.user = None  # nobody is there any more when it is stored
    site.mend()
    assert eventually(lambda: not retry_queue._jobs, seconds=20)
    assert [row.source for row in site.host.rows()] == ["merge_denied"] * 2
    assert {row.actor for row in site.host.rows()} == {"1"}


_SCRIPT = """
import sqlite3, sys
from flask_interaction_mail import request_merge
from tests.host import ADA, Host, a_merge

host = Host(sys.argv[1], SQLALCHEMY_ENGINE_OPTIONS={"connect_args": {"timeout": 0.05}})
host.configure()
other = sqlite3.connect(sys.argv[2], isolation_level=None)
other.execute("BEGIN EXCLUSIVE")
with host.app.app_context():
    assert request_merge(a_merge(requester=ADA)) is None
"""


@pytest.mark.parametrize("back", [False, True])
def test_the_end_of_the_process_says_what_is_lost(tmp_path: Path, back: bool) -> None:
    """One more try, and a record that names the request where that fails."""
    path = tmp_path / "host.sqlite"
    script = _SCRIPT + ('other.execute("ROLLBACK")\n' if back else "")
    command = [sys.executable, "-c", script, f"sqlite:///{path}", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=_ROOT)
    assert done.returncode == 0, done.stderr
    lost = "notification.lost: the request of Ada Byron to merge Acme Ltd and ACME Limited"
    assert (lost in done.stderr) is not back
    with sqlite3.connect(path) as database:
        (count,) = database.execute("SELECT count(*) FROM interaction_mail_message").fetchone()
    database.close()
    assert count == int(back)
