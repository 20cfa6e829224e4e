"""The line of state on every page: who delivers, the server, what waits, what needs somebody."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from flask import Flask

from flask_interaction_mail import clock, send_notification
from flask_interaction_mail.admin.state_line import who_delivers
from flask_interaction_mail.admin.texts import time
from flask_interaction_mail.config import DeliveryMode
from flask_interaction_mail.monitoring.overview import Overview, overview
from flask_interaction_mail.outbox.presence import How, Presence
from tests import outbox_rows
from tests.host import ADA, Host

NOW = clock.now()
YESTERDAY = NOW - timedelta(days=1)


def stored(host: Host, count: int, **values: object) -> None:
    """Store ``count`` messages, and write ``values`` into their rows."""
    with host.app.app_context():
        made = [send_notification(ADA, f"Message {n}", text="Text") for n in range(count)]
        host.db.session.commit()
        with host.state.database.writing() as connection:
            for one in made:
                outbox_rows.change(connection, one.id, **values)


def seen(host: Host) -> Overview:
    with host.app.app_context():
        return overview(host.state, host.state.settings.current())


def test_the_oldest_waiting_message_is_the_oldest_that_could_have_left(any_host: Host) -> None:
    """Of all that wait, whether tried or not; what is scheduled or done does not count."""
    hours = [NOW - timedelta(hours=n) for n in range(5)]
    stored(any_host, 1, status="queued", created_at=hours[1], due_at=hours[1])
    stored(
        any_host, 1, status="deferred", created_at=hours[2], due_at=clock.now() + timedelta(hours=1)
    )
    stored(
        any_host, 1, status="queued", created_at=hours[3], due_at=clock.now() + timedelta(days=1)
    )
    stored(any_host, 1, status="sent", created_at=hours[4], due_at=None)
    assert seen(any_host).oldest == hours[2]
    stored(any_host, 1, status="sending", created_at=hours[4], due_at=None)
    assert seen(any_host).oldest == hours[4]


def test_nothing_waits(any_host: Host) -> None:
    """Then there is no oldest message, and nothing that needs somebody."""
    stored(any_host, 2, status="sent", due_at=None)
    assert (seen(any_host).oldest, seen(any_host).attention) == (None, 0)


def test_what_needs_somebody_is_counted(any_host: Host) -> None:
    """Held, deferred and failed today; not what leaves by itself, nor what failed before."""
    today, before = clock.now() - timedelta(hours=23), clock.now() - timedelta(hours=25)
    stored(any_host, 1, status="held", reason="ambiguous", due_at=None)
    stored(any_host, 1, status="held", reason=None, due_at=None)
    stored(any_host, 1, status="deferred")
    stored(any_host, 1, status="failed", finished_at=today, due_at=None)
    assert seen(any_host).attention == 4
    stored(any_host, 1, status="held", reason="rate")
    stored(any_host, 1, status="failed", finished_at=before, due_at=None)
    stored(any_host, 1, status="queued")
    assert seen(any_host).attention == 4


@pytest.mark.parametrize(("count", "shown"), [(7, "7"), (99, "99"), (100, "99+"), (250, "99+")])
def test_a_count_stops_at_a_hundred(count: int, shown: str) -> None:
    """More is a question for the list."""
    assert (
        Overview(at_work=(), called=None, broken={}, oldest=None, attention=count).shown_attention
        == shown
    )


def process(who: str, since: datetime) -> Presence:
    return Presence(who=who, how=How.WORKER, since=since, seen=NOW, here=True)


ONE = [process("crm:1", NOW)]
TWO = [process("a", NOW), process("b", YESTERDAY)]


@pytest.mark.parametrize(
    ("mode", "at_work", "called", "text", "fine", "at"),
    [
        ("worker", ONE, None, "crm:1 has delivered since", True, NOW),
        ("worker", TWO, None, "2 processes deliver, the first since", True, YESTERDAY),
        ("worker", [], NOW, "A worker is called from time to time, last at", True, NOW),
        ("worker", [], None, "Nobody delivers: start “flask interaction-mail worker”", False, None),
        ("thread", [], None, "The application delivers by itself", True, None),
        ("sync", [], None, "Each request delivers at its end", True, None),
        ("celery", [], None, "Celery delivers", True, None),
    ],
)
def test_it_says_who_delivers(
    mode: str,
    at_work: list[Presence],
    called: datetime | None,
    text: str,
    fine: bool,
    at: datetime | None,
) -> None:
    """In every mode of delivery, with and without signs of life."""
    now = Overview(at_work=at_work, called=called, broken={}, oldest=None, attention=0)
    with Flask(__name__).app_context():
        told = who_delivers(DeliveryMode(mode), now.at_work, now.called)
        when = f" {time(at)}" if at else ""
    assert told == (f"{text}{when}", fine)
