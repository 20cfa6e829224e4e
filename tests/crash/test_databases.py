"""A database that goes away, is locked, or holds rubbish; clocks that are wrong; long queues."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from flask_interaction_mail import clock
from flask_interaction_mail.delivery import prefetch
from flask_interaction_mail.outbox import claim
from flask_interaction_mail.settings.model import PasswordState
from flask_interaction_mail.storage.tables import DELIVERY, MESSAGE, RECIPIENT
from tests import outbox_rows
from tests.crash.site import Site, a_site
from tests.crash.stock import FILES, SERVERS, on
from tests.host import opened
from tests.length import LONG
from tests.servers.postgresql import cluster
from tests.servers.scripted import after, scripted

_RESUMES = 10  # s


def test_a_database_that_goes_away_is_waited_for() -> None:
    """PostgreSQL stops in the middle: the worker lives, resumes, loses and doubles nothing."""
    with cluster() as database, a_site(database.url, "postgresql") as site:
        site.server.answers["DOT"] = after(0.02, site.acknowledge)
        site.put(60)
        worker = site.start(lease=60, connections=2)
        site.until(lambda: site.acknowledged >= 5)
        database.stop()
        time.sleep(30 if LONG else 3)  # how long it is away
        assert worker.process.is_alive()
        site.store.engine.dispose()
        database.start()
        back = time.monotonic()
        site.until_sent()
        assert time.monotonic() - back < _RESUMES
        site.stop(worker)
        found = site.account("database away")
        assert (found.lost, found.unexpected, found.duplicated) == (0, 0, 0)
        site.store.engine.dispose()


@on(*FILES)
def test_a_file_locked_by_the_host_is_waited_for(site: Site) -> None:
    """The host keeps SQLite's lock for longer than the driver waits: nothing lost or doubled."""
    options = (("SQLALCHEMY_ENGINE_OPTIONS", {"connect_args": {"timeout": 0.5}}),)
    site.server.answers["DOT"] = after(0.02, site.acknowledge)
    site.put(60)
    worker = site.start(lease=60, connections=2, options=options)
    site.until(lambda: site.acknowledged >= 5)
    with site.store.engine.connect() as host:
        host.exec_driver_sql("BEGIN EXCLUSIVE")
        time.sleep(10 if LONG else 3)  # how long the host is busy
        assert worker.process.is_alive()
        host.exec_driver_sql("ROLLBACK")
    free = time.monotonic()
    site.until_sent()
    assert time.monotonic() - free < _RESUMES
    site.stop(worker)
    found = site.account("SQLite locked by the host")
    assert (found.lost, found.unexpected, found.duplicated) == (0, 0, 0)


# What is done to a row, and what becomes of it beside twenty good ones.
_POISON: dict[str, tuple[str, str]] = {
    "no content": ("UPDATE interaction_mail_message SET content = NULL", "held"),
    "status of a newer version": (
        "UPDATE interaction_mail_delivery SET status = 'snoozed'",
        "snoozed",
    ),
    "intent of a newer version": (
        "UPDATE interaction_mail_message SET intent = '{\"mood\": 1}', route = '?'",
        "sent",
    ),
    "no recipients": ("DELETE FROM interaction_mail_recipient", "held"),
    "recipient of a newer version": (
        "UPDATE interaction_mail_recipient SET status = 'snoozed'",
        "held",
    ),
    "an address that is none": ("UPDATE interaction_mail_recipient SET address = '<>'", "failed"),
    "bare line feeds": ("", "failed"),
}


def test_damaged_messages_stop_nobody_else(site: Site) -> None:
    """Each waits or fails with its reason; the rest flows, and the worker lives."""
    bad = {}
    for poison, (statement, status) in _POISON.items():
        (message,) = site.put(1, b"Hello\r\n" if statement else b"Hello\nworld")
        _damage(site, message.id, statement)
        bad[poison] = message.id, status
    site.put(20)
    worker = site.start(lease=20)
    good = 20 + sum(status == "sent" for _, status in bad.values())
    site.until(lambda: site.store.statuses().get("sent") == good)
    site.until(lambda: not site.store.statuses().keys() & {"queued", "sending"})
    site.stop(worker)
    for poison, (id, status) in bad.items():
        row = site.store.message(id)
        assert row.status == status, poison
        if status in ("held", "failed"):
            assert row.reason in ("poison", "refused"), poison
            assert row.detail, poison


def _damage(site: Site, id: Any, statement: str) -> None:
    if not statement:
        return
    table, column = (RECIPIENT, "message_id") if "_recipient" in statement else (MESSAGE, "id")
    with site.store.writing() as connection:
        value = sa.bindparam("wanted", id, type_=table.c[column].type)
        connection.execute(sa.text(f"{statement} WHERE {column} = :wanted").bindparams(value))


@on(*FILES)
def test_a_row_that_cannot_even_be_read_stops_nobody_else(site: Site) -> None:
    """SQLite keeps what it is given, also where a time should be."""
    (bad,) = site.put(1)
    _damage(site, bad.id, "UPDATE interaction_mail_delivery SET created_at = 'yesterday'")
    site.put(20)
    worker = site.start(lease=20)
    site.until(lambda: site.store.statuses() == {"sent": 20, "held": 1})
    site.stop(worker)


@on(*((*FILES, "postgresql") if LONG else ("sqlite-wal",)))
def test_a_body_of_60_megabytes_is_refused_and_the_rest_flows(site: Site) -> None:
    """The server says how much it takes; big ones are not claimed by the dozen."""
    (big,) = site.put(1)
    content = big.content or b""
    with site.store.writing() as connection:
        body = content + (b"x" * 70 + b"\r\n") * (60_000_000 // 72)
        outbox_rows.change(connection, big.id, content=body, size=len(body))
    site.put(20)
    worker = site.start(lease=20)
    site.until(lambda: site.store.statuses() == {"sent": 20, "failed": 1})
    site.stop(worker)
    row = site.store.message(big.id)
    assert row.reason == "refused"
    assert "takes at most" in row.detail


def test_a_claim_takes_big_messages_a_few_at_a_time(site: Site) -> None:
    """Fifty of three megabytes would not fit into the memory of a small machine."""
    site.put(6)
    with site.store.writing() as connection:
        connection.execute(sa.update(DELIVERY).values(size=3_000_000))
    with site.store.writing() as connection:
        claimed = claim.claim(
            connection, limit=50, worker="w", lease=timedelta(seconds=60), now=clock.now()
        )
    assert len(claimed) == 2


# -- settings and keys -----------------------------------------------------------------


@on(*FILES, "postgresql")
def test_what_is_queued_leaves_by_the_settings_of_its_time(site: Site) -> None:
    """Another server while it waits: the next attempt goes there, with the same bytes."""
    (message,) = site.put(1)
    site.server.answers["RCPT"] = b"450 4.2.0 later\r\n"
    with opened(site.url) as host:
        host.dispatcher().drain()
        with scripted() as other:
            site.make_due()
            host.configure(smtp_port=other.port)
            assert host.dispatcher().drain().sent == 1
            assert [one.content for one in other.messages] == [message.content]
    assert not any(one.content for one in site.server.messages)


@on(*FILES, "postgresql")
def test_a_lost_key_keeps_the_rows_and_says_so_until_it_is_back(site: Site) -> None:
    """Nothing leaves unauthenticated, no attempt is burnt, and the key brings it all back."""
    site.server.answers["EHLO"] = b"250-scripted.test\r\n250 AUTH PLAIN\r\n"
    site.configure(
        use_authentication=True,
        allow_unencrypted_auth=True,
        login="crm",
        password="s3cret-word",
    )
    site.put(3)
    with opened(site.url, SECRET_KEY="another key, long enough") as host:
        assert host.state.settings.current().password is PasswordState.UNREADABLE
        assert "password" in str(host.dispatcher().drain().held_up_by).lower()
    assert [(row.status, row.attempts) for row in site.rows()] == [("queued", 0)] * 3
    assert site.server.count("MAIL") == 0
    with opened(site.url) as host:
        assert host.dispatcher().drain().sent == 3


# -- clocks ----------------------------------------------------------------------------


@on(*SERVERS)
@pytest.mark.parametrize("hours", [-1, 1])
def test_a_workers_wrong_clock_changes_nothing(site: Site, hours: int) -> None:
    """The database's clock decides what is due, whose lease has ended, and what is written."""
    site.put(1)
    with site.store.writing() as connection:
        (held,) = claim.claim(
            connection, limit=1, worker="other", lease=timedelta(seconds=60), now=clock.now()
        )
    (later,) = site.put(1, due_in=timedelta(minutes=30))
    due = site.put(5)
    site.server.answers["RCPT p4@firm.example"] = b"450 4.2.0 later\r\n"
    worker = site.start(clock_is_off=timedelta(hours=hours), lease=20)
    site.until(lambda: site.store.statuses().get("sent") == 4)
    site.until(lambda: site.store.statuses().get("deferred") == 1)
    site.stop(worker)
    assert site.store.message(held.id).worker == "other"
    assert site.store.message(later.id).status == "queued"
    present = clock.now()
    for row in map(site.store.message, [one.id for one in due]):
        written = row.finished_at or row.due_at
        assert abs(written - present) < timedelta(minutes=3)


# -- queues ----------------------------------------------------------------------------


def test_fresh_mail_does_not_wait_behind_a_backlog(site: Site) -> None:
    """A hundred and twenty deferred are due, ten new ones come: they leave among the first."""
    site.put(120)
    with site.store.writing() as connection:
        connection.execute(sa.update(DELIVERY).values(status="deferred", attempts=1))
    fresh = {one.content for one in site.put(10)}
    worker = site.start(lease=20, connections=2)
    site.until(lambda: len(site.server.messages) >= 60)
    site.stop(worker)
    assert fresh <= {one.content for one in site.server.messages[:60]}


def test_a_backlog_does_not_wait_behind_fresh_mail(site: Site) -> None:
    """The other way round: ten deferred beside many new ones."""
    old = site.put(10)
    with site.store.writing() as connection:
        connection.execute(sa.update(DELIVERY).values(status="deferred", attempts=1))
    site.put(120)
    worker = site.start(lease=20, connections=2)
    site.until(lambda: len(site.server.messages) >= 60)
    site.stop(worker)
    assert {one.content for one in old} <= {one.content for one in site.server.messages[:60]}


def test_lost_messages_do_not_wait_for_the_end_of_the_queue(site: Site) -> None:
    """A worker died with twenty claimed; beside a steady stream of new mail they leave, too."""
    lost = site.put(20)
    with site.store.writing() as connection:
        claim.claim(
            connection, limit=50, worker="dead", lease=-timedelta(seconds=1), now=clock.now()
        )
    enough = 2 * prefetch.MOST  # the most that one claim takes, so that fresh mail fills each
    site.put(2 * enough)
    worker = site.start(lease=20)

    def all_left() -> bool:
        if site.store.statuses().get("queued", 0) < 2 * enough:
            site.put(enough)
        return all(site.store.message(one.id).status == "sent" for one in lost)

    site.until(all_left, 120)
    assert site.store.statuses()["queued"] >= enough  # the end of the queue never came
    site.stop(worker)
