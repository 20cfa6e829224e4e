"""Who is at work: signs of life of those who deliver, for status and doctor."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from flask_interaction_mail import clock
from flask_interaction_mail.delivery.factory import pulse_of
from flask_interaction_mail.delivery.ports import worker_name
from flask_interaction_mail.outbox import presence
from flask_interaction_mail.outbox.presence import How
from flask_interaction_mail.storage.tables import CHECK
from tests.catcher import catching
from tests.databases import DIALECTS, fresh_database
from tests.host import Host, opened
from tests.servers.scripted import until
from tests.terminal import done, run


@pytest.fixture(params=DIALECTS)
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Host]:
    with (
        catching() as catcher,
        fresh_database(request.param, tmp_path) as url,
        opened(url) as host,
    ):
        host.configure(smtp_port=catcher.port)
        yield host


@contextmanager
def a_worker(host: Host) -> Iterator[None]:
    """What the command runs, as a thread of the test."""
    stop, wake = threading.Event(), threading.Event()
    dispatcher = host.dispatcher(How.WORKER)
    thread = threading.Thread(target=dispatcher.run, args=(stop, wake))
    thread.start()
    try:
        assert until(lambda: at_work(host) != [])
        yield
    finally:
        stop.set()
        wake.set()
        thread.join(20)


def at_work(host: Host) -> Any:
    return done(host, "status", "--json").json["at_work"]


def delivery(host: Host) -> str:
    """What doctor says of it."""
    (line,) = [one for one in run(host, "doctor").out.splitlines() if " delivery: " in one]
    return line


def test_worker_mode_without_a_worker_is_said_with_what_to_do(host: Host) -> None:
    """Before anything is overdue."""
    assert "[wrong] delivery: nobody is at work. Start 'flask interaction-mail worker'" in (
        delivery(host)
    )
    assert run(host, "doctor").status == 1
    assert "nobody: start 'flask interaction-mail worker'" in done(host, "status").out
    assert at_work(host) == []


def test_a_worker_is_told_since_when_it_is_at_work(host: Host) -> None:
    """While it is; one that ends is no longer there at once."""
    before = clock.now()
    with a_worker(host):
        (one,) = at_work(host)
        assert (one["who"], one["how"]) == (worker_name(), "worker")
        assert one["since"] >= f"{before - timedelta(seconds=5):%Y-%m-%dT%H:%M:%S}"
        assert f"At work: {worker_name()} since 2" in delivery(host)
        assert f"worker {worker_name()} since 2" in done(host, "status").out
    assert at_work(host) == []
    assert "nobody is at work" in delivery(host)


def test_a_worker_that_was_killed_is_missed_after_its_last_sign(host: Host) -> None:
    """Its row stays, and says when it was seen."""
    with host.app.app_context():
        pulse_of(host.state, How.WORKER).beat()
    assert len(at_work(host)) == 1
    age(host, timedelta(minutes=3))
    assert at_work(host) == []
    assert f"{worker_name()} was last seen 2" in delivery(host)


def age(host: Host, by: timedelta) -> None:
    """Time passes without a sign."""
    with host.state.database.writing() as connection:
        seen = connection.scalar(sa.select(CHECK.c.until).where(CHECK.c.kind == "presence"))
        change = sa.update(CHECK).where(CHECK.c.kind == "presence")
        connection.execute(change.values(until=seen - by))


def test_a_worker_that_is_called_again_and_again_is_enough(host: Host) -> None:
    """By cron, say; after an hour without it is missed."""
    done(host, "worker", "--once")
    assert "[   ok] delivery: by 'worker --once', last called 2" in delivery(host)
    assert at_work(host) == []
    age(host, timedelta(minutes=61))
    assert "[wrong] delivery: nobody is at work" in delivery(host)


def test_a_worker_gives_its_signs_while_it_is_busy(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once a minute, not at each look."""
    pulse = pulse_of(host.state, How.WORKER)
    with a_worker(host):
        first = at_work(host)[0]["seen"]
        assert not until(lambda: at_work(host)[0]["seen"] != first, 1.5)
        pulse._next = 0.0  # a minute passes
        assert until(lambda: at_work(host)[0]["seen"] != first)


def test_signs_older_than_a_day_are_removed(host: Host) -> None:
    """Names of containers come only once: their rows must not stay for ever."""
    pulse_of(host.state, How.ONCE).beat()
    age(host, timedelta(days=1, minutes=1))
    pulse_of(host.state, How.WORKER).beat()
    with host.state.database.reading() as connection:
        query = sa.select(CHECK.c.verdict).where(CHECK.c.kind == "presence")
        assert list(connection.scalars(query)) == ["worker"]


def test_a_sign_that_cannot_be_left_harms_nobody(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without tables it is not left, and not after a whole minute only once they are there."""
    with host.app.app_context():
        host.db.drop_all()
    host.state.database.tables_seen = False
    monkeypatch.setattr(presence, "_AGAIN", timedelta(0))
    pulse = pulse_of(host.state, How.WORKER)
    pulse.beat()
    pulse.end()
    with host.app.app_context():
        host.db.create_all()
    pulse.beat()
    assert len(at_work(host)) == 1
