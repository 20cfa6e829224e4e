"""Two workers watch over one outbox: each alert is told by exactly one of them."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from flask_interaction_mail.storage.tables import ALERT, CHECK
from tests.crash.site import Site
from tests.crash.stock import on
from tests.servers.receiver import Receiver, receiving
from tests.servers.scripted import until

WATCH = 0.05  # s between two turns: many of them at once


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def state_of(site: Site) -> list[tuple[str, bool, bool]]:
    """Each alert: whether it holds, and whether all of it was told."""
    with site.store.reading() as connection:
        rows = connection.execute(sa.select(ALERT)).all()
    return [(row.name, row.ended_at is None, row.told == row.fence) for row in rows]


def make_probe_due(site: Site) -> None:
    with site.store.writing() as connection:
        connection.execute(sa.update(CHECK).where(CHECK.c.kind == "probe").values(until=CHECK.c.at))


@on("sqlite", "postgresql", "mariadb")
def test_each_alert_is_told_once_by_one_of_two_workers(site: Site, receiver: Receiver) -> None:
    """The server breaks, and comes back, five times, under the eyes of both."""
    site.configure(alert_url=receiver.url, alert_secret="s")
    for _ in range(2):
        site.start(watch_every=WATCH)
    wanted: list[tuple[str, str]] = []
    assert until(lambda: _has_row(site))
    for _ in range(5):
        site.server.answers["GREETING"] = b"554 5.3.2 no mail today\r\n"
        make_probe_due(site)
        wanted.append(("server", "begun"))
        assert until(lambda: len(receiver.hooks) >= len(wanted)), state_of(site)
        site.server.answers.pop("GREETING")
        make_probe_due(site)
        wanted.append(("server", "over"))
        assert until(lambda: len(receiver.hooks) >= len(wanted)), state_of(site)
    time.sleep(20 * WATCH)  # for one that would be told once more
    assert receiver.told() == wanted
    assert len({hook.json["id"] for hook in receiver.hooks}) == len(wanted)
    assert until(lambda: state_of(site) == [("server", False, True)])


def _has_row(site: Site) -> bool:
    with site.store.reading() as connection:
        return connection.scalar(sa.select(CHECK.c.id).where(CHECK.c.kind == "probe")) is not None


@on("postgresql")
def test_what_a_killed_worker_was_telling_is_told_by_the_next(
    site: Site, receiver: Receiver
) -> None:
    """With the same id, so that the receiver can tell."""
    receiver.stalls = True
    site.configure(alert_url=receiver.url, alert_secret="s")
    doomed = site.start(watch_every=WATCH)
    assert until(lambda: _has_row(site))
    site.server.answers["GREETING"] = b"554 5.3.2 no mail today\r\n"
    make_probe_due(site)
    assert until(lambda: bool(receiver.hooks))
    doomed.kill()
    receiver.stalls = False
    with site.store.writing() as connection:  # as if the minute of its claim were over
        connection.execute(sa.update(ALERT).values(due_at=ALERT.c.began_at))
    site.start(watch_every=WATCH)
    assert until(lambda: len(receiver.hooks) == 2)
    assert until(lambda: state_of(site) == [("server", True, True)])
    first, second = receiver.hooks
    assert first.json == second.json
