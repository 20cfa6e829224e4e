"""Delivery where something around it goes wrong: settings, receivers, tables, deadlines."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from flask_interaction_mail import (
    Notification,
    TablesMissing,
    clock,
    notification_sent,
    send_notification,
)
from flask_interaction_mail.errors import TransportError
from flask_interaction_mail.outbox import breaker
from flask_interaction_mail.outcome import Reply, Stage
from flask_interaction_mail.settings.model import relay_of
from flask_interaction_mail.storage import migrations
from flask_interaction_mail.storage.tables import CHECK, MESSAGE
from tests.databases import DIALECTS, fresh_database
from tests.host import Host, opened
from tests.integration.test_delivery import SETTINGS, Desk
from tests.outbox_rows import Store, a_message
from tests.servers.scripted import Scripted, after, scripted, silence, until
from tests.terminal import done, run


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    store = Store(f"sqlite:///{tmp_path}/outbox.sqlite")
    yield Desk(store)
    store.engine.dispose()


def test_mail_that_cannot_be_diverted_waits_and_says_why(desk: Desk) -> None:
    """An override may name a short address without a company domain."""
    desk.settings = replace(SETTINGS, divert_to="staging", company_domain=None)
    desk.store.put(a_message())
    assert "staging" in str(desk.drain().held_up_by)
    assert desk.transport.tried == []
    assert desk.store.statuses() == {"queued": 1}


def test_a_message_past_its_time_is_no_probe(desk: Desk) -> None:
    """Nobody has spoken with the server, so the breaker stays open."""
    desk.store.put(a_message())
    desk.transport.answer_with(TransportError("535", stage=Stage.AUTHENTICATION))
    desk.drain()
    past = clock.now() - timedelta(seconds=1)
    with desk.store.writing() as connection:
        connection.execute(sa.update(CHECK).values(until=past))
        connection.execute(sa.update(MESSAGE).values(expires_at=past))
    desk.drain()
    assert desk.store.statuses() == {"failed": 1}
    with desk.store.reading() as connection:
        assert breaker.read(connection, relay_of(desk.settings)) is not None


def test_no_claim_is_left_where_expired_messages_cannot_be_recorded(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What came in the same claim is given back, not left to the end of its lease."""
    good, late = a_message(), a_message(expires_at=clock.now() - timedelta(minutes=1))
    desk.store.put(good, late)

    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("disk full")

    monkeypatch.setattr("flask_interaction_mail.delivery.recorder.record", broken)
    with pytest.raises(RuntimeError):
        desk.drain()
    assert desk.transport.tried == []
    assert desk.store.message(good.id).status == "queued"


IN_MEMORY_AND_FILE = pytest.mark.parametrize("url", ["sqlite://", "sqlite:///{path}/host.sqlite"])


@contextmanager
def a_slow_delivery(url: str) -> Iterator[tuple[Host, Scripted]]:
    """A host that delivers by the end of a context, to a server that takes its time."""
    slowly = {"DOT": after(0.05, b"250 2.0.0 taken\r\n")}  # no two results share a commit
    options: dict[str, Any] = {
        "INTERACTION_MAIL_DELIVERY": "sync",
        "INTERACTION_MAIL_CONNECTIONS": 1,
    }
    with scripted(slowly) as server, opened(url, **options) as host:
        host.configure(smtp_port=server.port)
        yield host, server


@IN_MEMORY_AND_FILE
def test_a_transaction_that_a_receiver_leaves_open_does_not_stop_delivery(
    tmp_path: Path, url: str
) -> None:
    """SQLite has one writer, in memory even one connection: no receiver may keep it."""
    with a_slow_delivery(url.format(path=tmp_path)) as (host, server):

        def note(_: Any, notification: Notification) -> None:
            host.db.session.add(host.Thing(name=str(notification.id)))
            host.db.session.flush()

        with notification_sent.connected_to(note, host.app), host.app.app_context():
            for number in range(3):
                send_notification("bob", f"Hello {number}", text="x")
            host.db.session.commit()
        assert [row.status for row in host.rows()] == ["sent"] * 3
        assert len(server.messages) == 3


@pytest.mark.parametrize(
    ("mute", "status"), [("GREETING", "queued"), ("DOT", "deferred"), ("QUIT", "sent")]
)
def test_sync_delivery_to_a_server_that_falls_silent_ends_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mute: str, status: str
) -> None:
    """Somebody waits for this page: 15 s in all, here 4."""
    monkeypatch.setattr("flask_interaction_mail.delivery.modes.SYNC_BUDGET", 4.0)
    with (
        scripted({mute: silence}) as server,
        opened(f"sqlite:///{tmp_path}/host.sqlite", INTERACTION_MAIL_DELIVERY="sync") as host,
    ):
        host.configure(smtp_port=server.port)
        begin = time.monotonic()
        with host.app.app_context():
            send_notification("bob", "Hello", text="x")
            host.db.session.commit()
        assert time.monotonic() - begin < 4.5
        assert [row.status for row in host.rows()] == [status]


def test_missing_tables_are_said_once_and_in_words(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Between installing and migrating nobody needs a stack trace a second."""
    with opened(f"sqlite:///{tmp_path}/host.sqlite") as host:
        with host.app.app_context():
            host.db.drop_all()
        host.state.database.tables_seen = False
        _work_a_while(host, caplog)
    said = _errors(caplog)
    assert len(said) == 1
    assert "tables" in said[0].getMessage()
    assert said[0].exc_info is None


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("seen", [False, True])
def test_a_missing_column_is_said_once_with_its_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, dialect: str, seen: bool
) -> None:
    """A new package on old tables: found at once, or in the words of the database."""
    with fresh_database(dialect, tmp_path) as url, opened(url) as host:
        host.configure()
        with host.app.app_context():
            send_notification("bob", "Waits", text="x")
        with host.app.app_context(), host.db.engine.begin() as connection:
            connection.execute(sa.text("ALTER TABLE interaction_mail_delivery DROP COLUMN fence"))
        host.state.database.tables_seen = seen
        _work_a_while(host, caplog)
        said = [record.getMessage() for record in _errors(caplog)]
        assert len(said) == 1
        assert "fence" in said[0]
        assert ("flask db upgrade" in said[0]) is not seen
        if not seen:  # told at the call, too, before anything of the host's is harmed
            with (
                host.app.app_context(),
                pytest.raises(TablesMissing, match=r"fence is missing\. Bring .* flask db upgrade"),
            ):
                send_notification("bob", "Hello", text="x")
        told = run(host, "worker", "--once")
        assert told.status == 1
        assert "fence" in told.err
        assert ("The database refuses this" in told.err) is seen


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_worker_waits_for_the_migration(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, dialect: str
) -> None:
    """It says what to do, sends nothing meanwhile, and goes on by itself afterwards."""
    with (
        scripted({}) as server,
        fresh_database(dialect, tmp_path) as url,
        opened(url, INTERACTION_MAIL_MIGRATIONS="own") as host,
    ):
        done(host, "db", "upgrade")
        host.configure(smtp_port=server.port)
        with host.app.app_context():
            send_notification("bob", "Waits", text="x")
            host.db.session.commit()
        done(host, "db", "downgrade", "--yes")
        host.state.database.tables_seen = False
        stop, wake = threading.Event(), threading.Event()
        worker = threading.Thread(target=host.dispatcher().run, args=(stop, wake))
        worker.start()
        try:
            assert until(lambda: bool(_errors(caplog)))
            said = _errors(caplog)[0].getMessage()
            assert "The column interaction_mail_attempt.provider_id is missing." in said
            assert "flask interaction-mail db upgrade" in said
            assert not server.messages
            with host.app.app_context():
                migrations.upgrade(host.db.engine)
            wake.set()
            assert until(lambda: len(server.messages) == 1)
        finally:
            stop.set()
            wake.set()
            worker.join(60)


def test_what_nobody_foresaw_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a traceback, but not one a second; and again where it is another reason."""
    reasons = iter(
        [*(ValueError("one") for _ in range(5)), *(ValueError("two") for _ in range(999))]
    )

    def fail(*_: Any) -> None:
        raise next(reasons)

    monkeypatch.setattr("flask_interaction_mail.delivery.dispatcher.Dispatcher._run", fail)
    with opened(f"sqlite:///{tmp_path}/host.sqlite") as host:
        _work_a_while(host, caplog, errors=2)
    said = _errors(caplog)
    assert [record.getMessage().partition(";")[0] for record in said] == [
        "dispatcher.failed: ValueError('one')",
        "dispatcher.failed: ValueError('two')",
    ]
    assert all(record.exc_info for record in said)


def _work_a_while(host: Host, caplog: pytest.LogCaptureFixture, errors: int = 1) -> None:
    """A worker looks for work until it has logged so many errors, and some ten times more."""
    stop, wake = threading.Event(), threading.Event()
    dispatcher = host.dispatcher()
    thread = threading.Thread(target=dispatcher.run, args=(stop, wake), kwargs={"poll": 0.01})
    thread.start()
    until(lambda: len(_errors(caplog)) >= errors)
    time.sleep(0.3)
    stop.set()
    wake.set()
    thread.join(10)


def _errors(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_a_reply_that_the_database_cannot_store_is_recorded_without_its_accents(
    tmp_path: Path,
) -> None:
    """A host's database in Latin-1: what the server accepted must not leave again and again."""
    latin = "ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
    with fresh_database("postgresql", tmp_path, options=latin) as url:
        desk = Desk(Store(url), connections=1)
        good, bad = a_message("ada@firm.example"), a_message("eve@firm.example")
        desk.store.put(good, bad)
        desk.transport.refuse("eve@firm.example", Reply(550, "5.1.1", "nobody here \U0001f600"))
        progress = desk.drain()
        assert (progress.sent, progress.others) == (1, 1)
        assert desk.store.statuses() == {"sent": 1, "failed": 1}
        said = "550 5.1.1 nobody here \\U0001f600"
        assert desk.store.verdicts(bad.id) == {"eve@firm.example": ("failed", said)}
        assert desk.store.message(bad.id).detail == said
        desk.store.engine.dispose()
