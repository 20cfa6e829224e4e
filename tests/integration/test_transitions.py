"""What happens to statuses while mail is sent, seen by the database, against the table."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from unittest.mock import patch

import pytest
import sqlalchemy as sa

from flask_interaction_mail import clock, operations, send_notification
from flask_interaction_mail.delivery import digests
from flask_interaction_mail.outbox import claim
from flask_interaction_mail.outbox.transitions import ADOPTED, STORED, TABLE
from flask_interaction_mail.storage.tables import DELIVERY
from flask_interaction_mail.values import Status
from tests.catcher import Catcher
from tests.host import Host, opened

RATE = 2
STEWARDS = "stewards@firm.example"
_WATCHED = ("interaction_mail_delivery", "interaction_mail_recipient")


@pytest.fixture
def host(tmp_path: Path, catcher: Catcher) -> Iterator[Host]:
    url = f"sqlite:///{tmp_path}/host.sqlite"
    with opened(url, INTERACTION_MAIL_RATE=RATE) as host:
        host.configure(smtp_port=catcher.port)
        with host.state.database.writing() as connection:
            for table in _WATCHED:
                connection.execute(sa.text(f"CREATE TABLE seen_{table} (old TEXT, new TEXT)"))
                connection.execute(
                    sa.text(
                        f"CREATE TRIGGER watch_{table} AFTER UPDATE OF status ON {table} BEGIN"
                        f" INSERT INTO seen_{table} VALUES (old.status, new.status); END"
                    )
                )
        yield host


def seen(host: Host, table: str) -> set[tuple[str, str]]:
    with host.state.database.reading() as connection:
        rows = connection.execute(sa.text(f"SELECT DISTINCT old, new FROM seen_{table}"))
        return {(row.old, row.new) for row in rows}


def send(host: Host, *to: str) -> uuid.UUID:
    with host.app.app_context():
        sent = send_notification([*to], "Hello", text="x", sender=None)
        host.db.session.commit()
        return sent.id


def drain(host: Host) -> None:
    host.dispatcher().drain()


def hasten(host: Host) -> None:
    with host.state.database.writing() as connection:
        waiting = sa.update(DELIVERY).where(DELIVERY.c.due_at.is_not(None))
        connection.execute(waiting.values(due_at=DELIVERY.c.created_at))


def claimed(host: Host, lease: timedelta = timedelta(minutes=1)) -> claim.Claimed:
    with host.state.database.writing() as connection:
        (one,) = claim.claim(connection, limit=1, worker="w", lease=lease, now=clock.now())
        return one


def give_back(host: Host) -> None:
    one = claimed(host)
    with host.state.database.writing() as connection:
        claim.give_back(connection, [one], due_at=clock.now(), detail=None)


def one_by_one(host: Host, catcher: Catcher) -> None:
    """Sent, refused, put off and tried again, given back, cancelled, set aside."""
    catcher.refuse = {"no@firm.example": "550 5.1.1 no", "later@firm.example": "451 4.2.0 later"}
    send(host, "yes@firm.example")
    send(host, "no@firm.example")
    later = send(host, "later@firm.example")
    for _ in range(2):
        drain(host)
        hasten(host)
    give_back(host)  # tried before
    assert operations.cancel(host.state, later, send(host, "off@firm.example"))
    poison = send(host, "poison@firm.example")
    give_back(host)  # never tried
    for _ in range(3):
        claimed(host, -timedelta(seconds=1))
    drain(host)
    assert operations.release(host.state, poison)
    drain(host)
    catcher.refuse.clear()


def in_digests(host: Host, catcher: Catcher, *fates: str) -> None:
    """A digest that is made of a flood, sent again and again, and each time meets another fate."""
    for _ in range(RATE + 2):
        send(host, STEWARDS)
    send(host, STEWARDS, "ben@firm.example")
    before = {row.id for row in host.rows()}
    drain(host)
    hasten(host)
    limits = host.dispatcher()._ports.rate_limits
    with host.state.database.writing() as connection:
        limits.gather(connection, clock.now())
    (digest,) = (row.id for row in host.rows() if row.source == "digest" and row.id not in before)
    latest = digest
    for number, fate in enumerate(fates):
        if number:
            known = None if number == 1 else latest
            latest = operations.resend(host.state, digest, after=known).id
        if fate == "cancelled":
            assert operations.cancel(host.state, latest)
        catcher.refuse = {STEWARDS: "550 5.1.1 no"} if fate == "failed" else {}
        for _ in range(3):  # what is sent again is held for its rate, too
            drain(host)
            hasten(host)
        assert {row.status for row in host.rows() if row.id == latest} == {fate}


def in_part(host: Host, catcher: Catcher) -> None:
    """Cancelled while one recipient gets it in a digest: untried, put off, and held for another."""
    for number, waits in enumerate(("queued", "deferred", "held")):
        ann, eve = (f"{name}{number}@firm.example" for name in ("ann", "eve"))
        for _ in range(RATE + 1):
            send(host, ann, *[eve] * (waits == "held"))
        both = send(host, ann, eve)
        drain(host)
        hasten(host)
        limits = host.dispatcher()._ports.rate_limits
        at_once = 1 if waits == "held" else 100
        with patch.object(digests, "_AT_ONCE", at_once), host.state.database.writing() as other:
            limits.gather(other, clock.now())
        if waits == "deferred":
            catcher.refuse = dict.fromkeys((ann, eve), "451 4.2.0 later")
            drain(host)
        assert {row.status for row in host.rows() if row.id == both} == {waits}
        assert operations.cancel(host.state, both)
        catcher.refuse = {}
        for _ in range(3):
            hasten(host)
            drain(host)


def by_hand(host: Host) -> None:
    """Of what is held, one is released and one is cancelled."""
    ids = [send(host, "ann@firm.example") for _ in range(RATE + 2)]
    drain(host)
    assert operations.release(host.state, ids[-1])
    assert operations.cancel(host.state, ids[-2])


def test_the_database_sees_the_steps_of_the_table_and_no_other(
    host: Host, catcher: Catcher
) -> None:
    """Of messages and of recipients, while everything happens that can."""
    one_by_one(host, catcher)
    by_hand(host)
    in_part(host, catcher)
    in_digests(host, catcher, "sent")
    in_digests(host, catcher, "failed", "cancelled", "failed", "sent")
    in_digests(host, catcher, "cancelled", "sent")
    steps = [step for step in TABLE if step not in (STORED, ADOPTED)]
    of_messages = {(old, new) for step in steps for old in step.sources for new in step.targets}
    of_people = {(old, new) for step in steps for old in step.recipients for new in step.targets}
    no_news = {(Status.FAILED, Status.FAILED), (Status.CANCELLED, Status.CANCELLED)}
    assert seen(host, "interaction_mail_delivery") == of_messages - no_news
    assert seen(host, "interaction_mail_recipient") <= of_people
