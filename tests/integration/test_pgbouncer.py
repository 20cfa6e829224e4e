"""PostgreSQL behind PgBouncer: what works in which of its modes, and who says so."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from flask_interaction_mail import send_notification
from flask_interaction_mail.delivery import wakeup
from tests.catcher import catching
from tests.databases import fresh_database
from tests.host import Host, opened
from tests.servers.pgbouncer import bouncing
from tests.servers.programs import free_port
from tests.servers.scripted import until
from tests.terminal import run

DRIVERS = ("psycopg", "psycopg2")


def looks(host: Host) -> dict[str, Any]:
    return {one["topic"]: one for one in run(host, "doctor", "--json").json}


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize(("mode", "health"), [("session", "ok"), ("transaction", "note")])
def test_doctor_finds_out_whether_notices_are_heard(
    driver: str, mode: str, health: str, tmp_path: Path
) -> None:
    """By one to itself: LISTEN raises nothing in transaction mode, and hears nothing."""
    with (
        fresh_database("postgresql", tmp_path) as url,
        bouncing(url, mode) as through,
        opened(through.replace("+psycopg:", f"+{driver}:")) as host,
    ):
        found = looks(host)["notices"]
    assert found["health"] == health
    assert ("pool_mode = session" in found["text"]) is (health == "note")


def test_doctor_hears_itself_without_anything_between(tmp_path: Path) -> None:
    """And says of other databases that there are no notices."""
    with fresh_database("postgresql", tmp_path) as url, opened(url) as host:
        assert looks(host)["notices"]["text"] == "are heard"
    with opened(f"sqlite:///{tmp_path}/host.sqlite") as host:
        assert looks(host)["notices"]["health"] == "ok"
        assert wakeup.is_heard(host.state.database.bind.engine) is None


@pytest.mark.parametrize("driver", DRIVERS)
def test_doctor_goes_on_where_the_database_does_not_answer(driver: str) -> None:
    """Each look at it says so in a sentence."""
    host = opened_without_tables(f"postgresql+{driver}://nobody@127.0.0.1:{free_port()}/none")
    found = looks(host)
    for topic in ("database", "notices"):
        assert found[topic]["health"] == "wrong"
        assert "Connection refused" in found[topic]["text"]


def test_in_transaction_mode_mail_leaves_by_looking(tmp_path: Path) -> None:
    """Within seconds, though no notice arrives."""
    with (
        catching() as catcher,
        fresh_database("postgresql", tmp_path) as url,
        bouncing(url, "transaction") as through,
        opened(through) as host,
    ):
        host.configure(smtp_port=catcher.port)
        stop, wake = threading.Event(), threading.Event()
        worker = threading.Thread(target=host.dispatcher().run, args=(stop, wake))
        worker.start()
        try:
            with host.app.app_context():
                send_notification("bob", "Hello", text="Hello")
                host.db.session.commit()
            catcher.wait_for(1)
            assert until(lambda: [row.status for row in host.rows()] == ["sent"])
        finally:
            stop.set()
            wake.set()
            worker.join(20)


@pytest.mark.parametrize("driver", DRIVERS)
def test_statement_mode_is_said_at_the_first_failure(
    driver: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """By every command, and by a worker: nothing can work there."""
    with fresh_database("postgresql", tmp_path) as url:
        with opened(url) as host:
            host.configure()
        with bouncing(url, "statement") as through:
            application = opened_without_tables(through.replace("+psycopg:", f"+{driver}:"))
            said = run(application, "status")
            doctor = looks(application)
            once = run(application, "worker", "--once")
            stop = threading.Event()
            worker = threading.Thread(
                target=application.dispatcher().run, args=(stop, threading.Event())
            )
            worker.start()
            assert until(lambda: "statement mode" in caplog.text)
            stop.set()
            worker.join(20)
    assert said.status == once.status == 1
    assert "PgBouncer is in statement mode" in said.err
    assert "PgBouncer is in statement mode" in once.err
    assert doctor["database"]["health"] == "wrong"
    assert "pool_mode = session" in doctor["database"]["text"]


def opened_without_tables(url: str) -> Host:
    """A host on a database that has them: it could not make any."""

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.host.create_all", lambda *_: None)
        return Host(url)
