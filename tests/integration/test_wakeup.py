"""PostgreSQL tells a worker at once what another process has committed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from flask_interaction_mail import send_notification
from flask_interaction_mail.delivery import wakeup
from tests.catcher import catching
from tests.databases import fresh_database
from tests.host import Host, opened


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with fresh_database("postgresql", tmp_path) as url, opened(url) as host:
        yield host


def listener_is_there(host: Host) -> bool:
    """Whether somebody has said LISTEN on this database."""
    with host.app.app_context(), host.db.engine.connect() as connection:
        said = sa.text(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = current_database() AND query LIKE 'LISTEN%'"
        )
        return bool(connection.scalar(said))


def test_a_worker_hears_of_a_commit_before_its_next_look(host: Host) -> None:
    """A worker that would look every hour delivers at once."""
    with catching() as catcher:
        host.configure(smtp_port=catcher.port)
        stop, wake = threading.Event(), threading.Event()
        worker = threading.Thread(
            target=host.dispatcher().run, args=(stop, wake), kwargs={"poll": 3600.0}
        )
        worker.start()
        try:
            end = time.monotonic() + 10
            while not listener_is_there(host) and time.monotonic() < end:
                time.sleep(0.01)
            time.sleep(0.3)  # the look that the listener itself asks for is over
            with host.app.app_context():
                send_notification("bob", "Hello", text="Hello")
                host.db.session.commit()
            catcher.wait_for(1)
        finally:
            stop.set()
            wake.set()
            worker.join(20)
        assert not worker.is_alive()
    assert not listener_is_there(host)


def test_a_listener_that_is_cut_off_comes_back(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that restarts costs the shortcut, for a while, and nothing else."""
    monkeypatch.setattr(wakeup, "_AGAIN", 0.05)
    wake = threading.Event()
    with wakeup.listening(host.state.database.bind.engine, wake):
        assert wake.wait(10)
        wake.clear()
        with host.app.app_context(), host.db.engine.begin() as connection:
            cut = sa.text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND query LIKE 'LISTEN%'"
            )
            connection.execute(cut)
        assert wake.wait(10)  # it is there again
        wake.clear()
        wakeup.notify(host.state.database)
        assert wake.wait(10)


class Counted(threading.Event):
    """Counts how often it was set."""

    def __init__(self) -> None:
        super().__init__()
        self.times = 0

    def set(self) -> None:
        self.times += 1
        super().set()


def test_many_notices_are_few_wake_ups(host: Host) -> None:
    """Those of 20 ms come together, and the last one is heard as well."""
    wake = Counted()
    with wakeup.listening(host.state.database.bind.engine, wake):
        assert wake.wait(10)
        started = time.monotonic()
        for _ in range(200):
            wakeup.notify(host.state.database)
        wake.clear()
        wakeup.notify(host.state.database)
        assert wake.wait(10)
        assert wake.times <= 3 + (time.monotonic() - started) / 0.02


def test_other_databases_have_no_notices(tmp_path: Path) -> None:
    """Nothing is sent and nothing listens there."""
    with opened(f"sqlite:///{tmp_path}/host.sqlite") as host:
        wake = threading.Event()
        before = threading.active_count()
        with wakeup.listening(host.state.database.bind.engine, wake):
            wakeup.notify(host.state.database)
            assert threading.active_count() == before
        assert not wake.is_set()
