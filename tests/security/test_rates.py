"""T14: floods are slowed down, shown, and gathered; nothing of them is lost or sent twice.

``FIM_LONG=1`` kills workers on all four kinds of database instead of two, and sends a thousand
requests on PostgreSQL, too.
"""

from __future__ import annotations

import json
import re
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

import pytest
import sqlalchemy as sa
from bs4 import BeautifulSoup
from flask_mail import Mail, Message

from flask_interaction_mail import (
    Notification,
    Party,
    cancel_notification,
    clock,
    get_notification,
    merge_completed,
    merge_denied,
    notification_cancelled,
    notification_deferred,
    notification_failed,
    notification_held,
    notification_sent,
    operations,
    send_notification,
)
from flask_interaction_mail.api.sending import CURRENT_USER
from flask_interaction_mail.delivery import digests as delivery_digests
from flask_interaction_mail.delivery import notices, recorder
from flask_interaction_mail.delivery.resolution import Resolver
from flask_interaction_mail.errors import StillWaiting
from flask_interaction_mail.messages.intent import PURGED
from flask_interaction_mail.models import RecipientRow
from flask_interaction_mail.outbox import claim, messages, rate_limit, rates, retention
from flask_interaction_mail.outbox import digests as digests_of
from flask_interaction_mail.outbox import record as record_module
from flask_interaction_mail.outbox.claimed import AttemptResult, Claimed
from flask_interaction_mail.outbox.insert import insert
from flask_interaction_mail.outbox.record import record
from flask_interaction_mail.outcome import Reply, Result, Stage
from flask_interaction_mail.storage.tables import DELIVERY, MESSAGE, RECIPIENT
from flask_interaction_mail.transport.base import TransportResult
from flask_interaction_mail.values import Reason, Status
from tests.catcher import Catcher
from tests.catcher import Mail as Caught
from tests.crash.site import Site, Worker, a_site, letter
from tests.crash.stock import KILLED_ON, KINDS, fresh
from tests.databases import DIALECTS, LOCKING, be_impatient, fresh_database
from tests.host import STEWARDS, Host, a_merge, opened
from tests.length import LONG
from tests.outbox_rows import a_message
from tests.panel import OUTBOX, opened_panel
from tests.proofs import proved
from tests.terminal import done, run

RATE, ACTOR_RATE = 10, 100  # as they are by default
LIMITS = {"INTERACTION_MAIL_RATE": RATE, "INTERACTION_MAIL_ACTOR_RATE": ACTOR_RATE}
TO = "stewards@firm.example"


@contextmanager
def a_host(url: str, catcher: Catcher, **config: Any) -> Iterator[Host]:
    with opened(url, **(LIMITS | config)) as host:
        host.configure(smtp_port=catcher.port)
        yield host


@pytest.fixture
def host(tmp_path: Path, catcher: Catcher) -> Iterator[Host]:
    with a_host(f"sqlite:///{tmp_path}/host.sqlite", catcher) as host:
        yield host


@pytest.fixture(params=DIALECTS)
def any_host(request: pytest.FixtureRequest, tmp_path: Path, catcher: Catcher) -> Iterator[Host]:
    with fresh_database(request.param, tmp_path) as url, a_host(url, catcher) as host:
        yield host


def send(host: Host, to: Any = STEWARDS, subject: str = "Hello", **others: Any) -> uuid.UUID:
    """Queue a message and commit; nobody has caused it unless ``sender`` is left out."""
    with host.app.app_context():
        values = {"text": "Good day", "sender": None} | others
        sent = send_notification(to, subject, **values)
        host.db.session.commit()
        return sent.id


def flood(host: Host, count: int = RATE + 5, **others: Any) -> list[uuid.UUID]:
    return [send(host, subject=f"s{number}", **others) for number in range(count)]


def deny(host: Host, number: int, requester: Party | None = None) -> None:
    """A merge that somebody may not do; each number is another pair."""
    with host.app.app_context():
        merge = a_merge(ids=(number, number + 1_000_000), requester=requester, reason=f"n{number}")
        merge_denied.send(host.app, merge=merge)


def drain(host: Host) -> Any:
    return host.dispatcher().drain()


def pass_a_minute(host: Host) -> None:
    """The time comes for what is held."""
    with host.state.database.writing() as connection:
        connection.execute(_OVER)


_OVER = (
    sa.update(DELIVERY)
    .where(DELIVERY.c.status == Status.HELD, DELIVERY.c.due_at.is_not(None))
    .values(due_at=DELIVERY.c.created_at)
)


def states(host: Host) -> Counter[tuple[str, str | None, str]]:
    """How many messages have which status and reason, by their source."""
    return Counter((row.status, row.reason, row.source) for row in host.rows())


def only(host: Host, id: uuid.UUID) -> Any:
    (row,) = [row for row in host.rows() if row.id == id]
    return row


def digests(mails: Sequence[Caught]) -> list[Caught]:
    return [one for one in mails if re.match(r"\d+ (requests|messages)$", _subject(one))]


def _subject(mail: Caught) -> str:
    return str(mail.message["Subject"])


def text_of(mail: Caught, kind: str = "plain") -> str:
    body = mail.message.get_body((kind,))
    assert body is not None
    return str(body.get_content()).replace("\r\n", "\n")


@contextmanager
def told(host: Host) -> Iterator[list[Notification]]:
    """What the signals say meanwhile."""
    heard: list[Notification] = []

    def hear(_: object, notification: Notification) -> None:
        heard.append(notification)

    signals = (
        notification_held,
        notification_sent,
        notification_deferred,
        notification_failed,
        notification_cancelled,
    )
    for signal in signals:
        signal.connect(hear, host.app)
    try:
        yield heard
    finally:
        for signal in signals:
            signal.disconnect(hear, host.app)


# -- the bomb ----------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"] if LONG else ["sqlite"])
def test_t14_a_thousand_denials_are_ten_mails_and_one_digest(
    tmp_path: Path, catcher: Catcher, dialect: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1,000 denials within a minute to one group, while delivery runs: <= 10 and 1, 0 lost."""
    # A busy machine takes more than a minute to make them: that one is an hour long.
    for module in (rates, rate_limit):
        monkeypatch.setattr(module, "WINDOW", timedelta(hours=1))
    with fresh_database(dialect, tmp_path) as url, a_host(url, catcher) as host:
        stop, wake = threading.Event(), threading.Event()
        dispatcher = host.dispatcher()
        worker = threading.Thread(target=dispatcher.run, args=(stop, wake), kwargs={"poll": 0.05})
        worker.start()
        try:
            for number in range(1000):
                deny(host, number)
            _until(lambda: not {"queued", "sending"} & _statuses(host))
            mails = len(catcher.mails)
            pass_a_minute(host)
            _until(lambda: _statuses(host) == {"sent"})
        finally:
            stop.set()
            wake.set()
            worker.join()
        gathered = digests(catcher.mails)
        went = [row for row in host.rows() if row.source == "merge_denied"]
        alone = [row for row in went if row.reason is None]
        lost = 1000 - len(went)
        proved("T14", f"{dialect}: mails={mails}  digests={len(gathered)}  lost={lost}")
        assert (mails, len(gathered), lost) == (RATE, 1, 0)
        assert (len(catcher.mails), len(alone)) == (RATE + 1, RATE)
        assert _subject(gathered[0]) == "990 requests"
        assert gathered[0].recipients == [TO]


def _statuses(host: Host) -> set[str]:
    """Without the contents, of which there are many."""
    with host.state.database.reading() as connection:
        return set(connection.scalars(sa.select(DELIVERY.c.status).distinct()))


def _until(condition: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it does not come true"
        time.sleep(0.05)


def test_a_flood_while_mail_is_paused_is_one_all_the_same(host: Host, catcher: Catcher) -> None:
    """It counts when messages were made, not when they can leave."""
    host.configure(smtp_port=catcher.port, paused=True)
    flood(host, 30)
    with host.state.database.writing() as connection:
        early = DELIVERY.c.created_at
        rows = connection.execute(sa.select(DELIVERY.c.id, early)).all()
        for id, at in rows:
            before = at - timedelta(hours=1)
            made = sa.update(DELIVERY).where(DELIVERY.c.id == id)
            connection.execute(made.values(created_at=before, due_at=before))
    with host.app.app_context():
        base = host.state.settings.current().revision
        operations.save_settings(host.state, {"paused": False}, base=base, changed_by="test")
    drain(host)
    assert len(catcher.mails) == RATE


def test_a_backlog_that_came_slowly_is_none(host: Host, catcher: Catcher) -> None:
    """Thirty messages of an hour leave together after an outage: each at its own time was fine."""
    ids = flood(host, 30)
    with host.state.database.writing() as connection:
        for number, id in enumerate(ids):
            made = clock.now() - timedelta(minutes=90) + timedelta(minutes=2 * number)
            row = sa.update(DELIVERY).where(DELIVERY.c.id == id)
            connection.execute(row.values(created_at=made, due_at=made))
    drain(host)
    assert len(catcher.mails) == 30


def test_a_busy_minute_and_a_long_history_change_nothing(any_host: Host, catcher: Catcher) -> None:
    """Among 1,200 others of the same minute, and with 300 of last week, the rate is the same."""
    week = timedelta(days=7)
    others = [a_message(f"p{number}@firm.example") for number in range(1200)]
    old = [a_message(TO)._replace(created_at=clock.now() - week) for _ in range(300)]
    with any_host.state.database.writing() as connection:
        insert(connection, [*old, *others])
        connection.execute(sa.update(DELIVERY).values(status=Status.SENT, due_at=None, fence=1))
        connection.execute(sa.update(RECIPIENT).values(status=Status.SENT))
    flood(any_host, 30)
    drain(any_host)
    assert len(catcher.mails) == RATE


def test_delivery_without_a_worker_gathers_with_the_next_message(
    tmp_path: Path, catcher: Catcher
) -> None:
    """In memory, and delivered as contexts end: the digest leaves with what comes next."""
    with a_host("sqlite://", catcher) as host:
        flood(host, RATE + 2)
        pass_a_minute(host)
        send(host, "bob")
        assert len(catcher.mails) == RATE + 2
        assert _subject(digests(catcher.mails)[0]) == "2 messages"


# -- held, and shown ---------------------------------------------------------------------


def test_what_is_held_is_shown_and_told(any_host: Host, catcher: Catcher) -> None:
    """Status, reason, what it waits for, and a signal; the snapshot says the same."""
    with told(any_host) as heard:
        ids = flood(any_host)
        drain(any_host)
    assert states(any_host) == {
        ("sent", None, "call"): RATE,
        ("held", "rate", "call"): 5,
    }
    last = only(any_host, ids[-1])
    assert "10 messages within a minute" in last.detail
    assert last.due_at - clock.now() < timedelta(minutes=1)
    held = [one for one in heard if one.status is Status.HELD]
    assert {one.id for one in held} == {*ids[RATE:]}
    assert {one.recipients[0].status for one in held} == {Status.HELD}
    with any_host.app.app_context():
        snapshot = get_notification(ids[-1])
    assert snapshot is not None
    assert (snapshot.status, snapshot.reason) == (Status.HELD, "rate")
    drain(any_host)  # before the minute is over nothing happens
    assert len(catcher.mails) == RATE


def test_the_digest_says_what_by_whom_and_when(any_host: Host, catcher: Catcher) -> None:
    """Subject, author, time and text of each; in HTML nothing of a stranger is markup."""
    names = ["Ada <b>Byron</b>", "Bob"]
    for number in range(RATE + 2):
        deny(any_host, number, Party(names[number % 2], "ada", id=number))
    drain(any_host)
    pass_a_minute(any_host)
    with told(any_host) as heard:
        drain(any_host)
    (digest,) = digests(catcher.mails)
    text, html = text_of(digest), text_of(digest, "html")
    assert _subject(digest) == "2 requests"
    assert digest.message["From"].addresses[0].addr_spec == "crm@firm.example"
    for said in ("Please merge: Acme Ltd", "from Ada <b>Byron</b>", "n10", "n11", "UTC"):
        assert said in text
    assert "<b>Byron" not in html
    assert "n11" in BeautifulSoup(html, "html.parser").text
    assert states(any_host) == {
        ("sent", None, "merge_denied"): RATE,
        ("sent", "rate", "merge_denied"): 2,
        ("sent", None, "digest"): 1,
    }
    gathered = [row for row in any_host.rows() if row.reason == "rate"]
    (sent,) = [row for row in any_host.rows() if row.source == "digest"]
    assert {row.detail for row in gathered} == {f"It went out in the digest {sent.id}."}
    assert {row.id for row in gathered} <= {one.id for one in heard if one.status is Status.SENT}


def test_a_template_of_the_host_replaces_the_text(
    host: Host, catcher: Catcher, tmp_path: Path
) -> None:
    """As with every other message of ours."""
    folder = tmp_path / "templates" / "interaction_mail" / "mail"
    folder.mkdir(parents=True)
    (folder / "digest.subject.txt").write_text("{{ count }} things")
    (folder / "digest.txt").write_text("{% for one in messages %}* {{ one.subject }}\n{% endfor %}")
    host.app.template_folder = str(tmp_path / "templates")
    flood(host, RATE + 2)
    drain(host)
    pass_a_minute(host)
    drain(host)
    assert _subject(catcher.mails[-1]) == "2 things"
    assert text_of(catcher.mails[-1]) == "* s10\n* s11\n"


def test_a_broken_template_delays_and_loses_nothing(
    host: Host, catcher: Catcher, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What cannot be gathered stays held for another minute, and the rest of mail flows."""
    folder = tmp_path / "templates" / "interaction_mail" / "mail"
    folder.mkdir(parents=True)
    (folder / "digest.txt").write_text("{{ nobody.knows }}")
    host.app.template_folder = str(tmp_path / "templates")
    (both,) = (flood(host, RATE + 2), send(host, ["stewards", "bob"]))[1:]
    drain(host)
    pass_a_minute(host)
    send(host, "eve")
    drain(host)
    assert "digest.failed" in caplog.text
    assert states(host)["held", "rate", "call"] == 3
    assert only(host, both).due_at > clock.now()  # also for Bob: one state for both
    assert catcher.mails[-1].recipients == ["eve@firm.example"]
    (folder / "digest.txt").write_text("{{ count }}")
    host.app.jinja_env.cache.clear()  # type: ignore[union-attr]
    pass_a_minute(host)
    drain(host)
    assert set(states(host)) == {
        ("sent", None, "call"),
        ("sent", "rate", "call"),
        ("sent", None, "digest"),
    }


def test_a_single_held_message_leaves_as_it_is(any_host: Host, catcher: Catcher) -> None:
    """The eleventh waits for its minute, and nobody need unpack it."""
    ids = flood(any_host, RATE + 1)
    message_id = only(any_host, ids[-1]).message_id
    drain(any_host)
    assert only(any_host, ids[-1]).status == "held"
    pass_a_minute(any_host)
    drain(any_host)
    assert (only(any_host, ids[-1]).status, only(any_host, ids[-1]).reason) == ("sent", None)
    assert catcher.mails[-1].message["Message-ID"] == message_id
    assert digests(catcher.mails) == []


def test_each_recipient_of_one_message_gets_it_in_his_way(any_host: Host, catcher: Catcher) -> None:
    """For the one it is in the digest, for the other, who had no flood, it comes by itself."""
    flood(any_host, RATE + 1)
    both = send(any_host, ["stewards", "bob"], "Both")
    drain(any_host)
    pass_a_minute(any_host)
    drain(any_host)
    mails = [(_subject(one), one.recipients) for one in catcher.mails[RATE:]]
    assert sorted(mails) == [("2 messages", [TO]), ("Both", ["bob@firm.example"])]
    assert only(any_host, both).status == "sent"
    with any_host.app.app_context():
        snapshot = get_notification(both)
    assert snapshot is not None
    assert {one.status for one in snapshot.recipients} == {Status.SENT}


def test_large_digests_end_and_say_where_the_rest_is(host: Host, catcher: Catcher) -> None:
    """Two hundred messages: twenty texts, the other subjects, and a hint; still one mail."""
    flood(host, RATE + 200)
    drain(host)
    pass_a_minute(host)
    drain(host)
    (digest,) = digests(catcher.mails)
    assert _subject(digest) == "200 messages"
    assert text_of(digest).count("Good day") == 20
    assert "Outbox" in text_of(digest)
    assert "And 80 more" in text_of(digest)


# -- who is limited ----------------------------------------------------------------------


def test_one_actor_is_limited_whoever_gets_it(any_host: Host, catcher: Catcher) -> None:
    """A hundred a minute by one user to anybody; what is above leaves a minute later, by itself."""
    for number in range(ACTOR_RATE + 20):
        send(any_host, f"p{number}", sender=CURRENT_USER)
    any_host.people.user = Party("Eve", "eve", id=66)
    send(any_host, "other", sender=CURRENT_USER)
    drain(any_host)
    assert len(catcher.mails) == ACTOR_RATE + 1
    held = [row for row in any_host.rows() if row.status == "held"]
    assert {row.reason for row in held} == {"rate"}
    assert "Who caused it" in held[0].detail
    pass_a_minute(any_host)
    drain(any_host)
    assert states(any_host) == {("sent", None, "call"): ACTOR_RATE + 21}
    assert digests(catcher.mails) == []


def test_the_current_user_is_the_actor_and_no_sender_is_none(
    tmp_path: Path, catcher: Catcher
) -> None:
    """A user is counted; a job that says ``sender=None`` is not."""
    url = f"sqlite:///{tmp_path}/host.sqlite"
    with a_host(url, catcher, INTERACTION_MAIL_ACTOR_RATE=3) as host:
        for number in range(5):
            send(host, f"p{number}")
            send(host, f"q{number}", sender=CURRENT_USER)
        drain(host)
        assert len(catcher.mails) == 5 + 3


def test_flask_mail_and_our_own_notices_are_not_limited(host: Host, catcher: Catcher) -> None:
    """Password resets do not wait, and do not make others wait."""
    mail = Mail()
    mail.init_app(host.app)
    with host.app.app_context():
        for number in range(RATE + 5):
            mail.send(Message(f"m{number}", recipients=[TO], body="x"))
        host.db.session.commit()
    send(host)
    drain(host)
    assert set(states(host)) == {("sent", None, "flask_mail"), ("sent", None, "call")}
    assert len(catcher.mails) == RATE + 6


def test_every_kind_of_message_counts_for_one_recipient(host: Host, catcher: Catcher) -> None:
    """Requests, news of merges, and a host's own messages share the recipient's rate."""
    host.people.owners = {"Firm List": [STEWARDS]}
    for number in range(5):
        deny(host, number)
        with host.app.app_context():
            merge_completed.send(host.app, merge=a_merge(ids=(number + 50, number + 70)))
            host.db.session.commit()
    send(host)
    drain(host)
    assert len(catcher.mails) == RATE
    assert sum(states(host)[one] for one in states(host) if one[0] == "held") == 1


def test_resending_in_a_loop_is_no_way_around(host: Host, catcher: Catcher) -> None:
    """An administrator who presses Resend thirty times makes ten mails, too."""
    id, latest = send(host), None
    drain(host)
    for _ in range(30):
        latest = operations.resend(host.state, id, by="admin", after=latest).id
    drain(host)
    assert len(catcher.mails) == RATE
    assert states(host)["held", "rate", "call"] == 21


# -- by hand -----------------------------------------------------------------------------


def test_held_messages_can_be_released_and_cancelled(any_host: Host, catcher: Catcher) -> None:
    """Released, one leaves at once; cancelled, it is not in the digest."""
    ids = flood(any_host, RATE + 4)
    drain(any_host)
    assert operations.release(any_host.state, ids[-1])
    with any_host.app.app_context():
        assert cancel_notification(ids[-2])
    drain(any_host)
    assert _subject(catcher.mails[-1]) == "s13"
    pass_a_minute(any_host)
    drain(any_host)
    (digest,) = digests(catcher.mails)
    assert _subject(digest) == "2 messages"
    assert "s12" not in text_of(digest)
    assert only(any_host, ids[-2]).reason == "withdrawn"


def test_what_a_digest_has_taken_cannot_be_released_any_more(
    any_host: Host, catcher: Catcher
) -> None:
    """It would come twice; the digest itself can be cancelled, with all that is in it."""
    ids, digest = _in_one_digest(any_host, 3)
    assert not operations.release(any_host.state, ids[-1])
    assert not operations.cancel(any_host.state, ids[-1])
    with any_host.app.app_context():
        assert not cancel_notification(ids[-1])
    assert {only(any_host, id).status for id in ids[RATE:]} == {"held"}
    with told(any_host) as heard:
        assert operations.cancel(any_host.state, digest)
    assert {one.id for one in heard} == {digest, *ids[RATE:]}
    assert states(any_host)["cancelled", "rate", "call"] == 3
    drain(any_host)
    assert len(catcher.mails) == RATE


def test_what_is_in_a_digest_is_held_until_that_is_done(any_host: Host, catcher: Catcher) -> None:
    """For the host it waits, with its reason, as long as the digest waits, is tried and retried."""
    ids, digest = _in_one_digest(any_host, 3)
    catcher.refuse[TO] = "451 4.2.0 later"
    for its_own in ("queued", "deferred"):
        assert only(any_host, digest).status == its_own
        for id in ids[RATE:]:
            row = only(any_host, id)
            assert (row.status, row.reason, row.due_at, row.finished_at) == (
                ("held", "rate", None, None)
            )
            assert row.detail == f"It is in the digest {digest}."
            with any_host.app.app_context():
                snapshot = get_notification(id)
            assert snapshot is not None
            assert (snapshot.status, snapshot.reason) == (Status.HELD, "rate")
            (recipient,) = snapshot.recipients
            assert (recipient.status, recipient.digest) == (Status.HELD, digest)
        drain(any_host)
    catcher.refuse.clear()
    _hasten(any_host)
    drain(any_host)
    assert states(any_host)["sent", "rate", "call"] == 3
    assert None not in {only(any_host, id).finished_at for id in ids[RATE:]}


def _hasten(host: Host) -> None:
    """The next attempt of what was deferred is due."""
    deferred = sa.update(DELIVERY).where(DELIVERY.c.status == Status.DEFERRED)
    with host.state.database.writing() as connection:
        connection.execute(deferred.values(due_at=DELIVERY.c.created_at))


def test_what_was_in_a_digest_is_known_after_its_text_is_gone(
    any_host: Host, catcher: Catcher
) -> None:
    """The purge takes the digest's text away; which messages were in it stays."""
    ids, digest = _in_one_digest(any_host, 3)
    drain(any_host)
    later = clock.now() + timedelta(days=8)
    retention.purge(
        any_host.state.database, now=later, bodies=timedelta(days=7), logs=timedelta(days=90)
    )
    assert only(any_host, digest).intent == PURGED
    with any_host.state.database.reading() as connection:
        assert {*digests_of.members(connection, digest)} == {*ids[RATE:]}


def _gather(host: Host) -> list[uuid.UUID]:
    """Form the digests, and send nothing."""
    rate_limits = host.dispatcher()._ports.rate_limits
    with host.state.database.writing() as connection:
        return rate_limits.gather(connection, clock.now())


def _in_one_digest(host: Host, count: int) -> tuple[list[uuid.UUID], uuid.UUID]:
    """A flood of which ``count`` messages are in one digest, not sent yet; its ids and that one."""
    ids = flood(host, RATE + count)
    drain(host)
    pass_a_minute(host)
    (digest,) = _gather(host)
    return ids, digest


@pytest.mark.parametrize("any_host", LOCKING, indirect=True)
def test_two_workers_never_share_what_is_held_for_one_address(
    any_host: Host, catcher: Catcher
) -> None:
    """Who has come to a part of it leaves it to the other, or there would be two digests."""
    first = flood(any_host, RATE + 1)[-1]
    both = send(any_host, ["stewards", "bob"], "Both")
    single = flood(any_host, RATE + 1, to="ann")[-1]
    flood(any_host, RATE + 2, to="eve")
    drain(any_host)
    pass_a_minute(any_host)
    with any_host.app.app_context():
        be_impatient(any_host.db.engine)
    with any_host.state.database.writing() as other_worker:
        its = DELIVERY.c.id.in_([first, single])
        other_worker.execute(sa.select(DELIVERY.c.id).where(its).with_for_update())
        (of_eve,) = _gather(any_host)
    of_the_others = _gather(any_host)
    assert of_eve not in of_the_others
    assert both in of_the_others  # for Bob alone, who had to wait as well: it has one state
    drain(any_host)
    mails = sorted((_subject(one), *one.recipients) for one in catcher.mails[3 * RATE :])
    assert mails == [
        ("2 messages", "eve@firm.example"),
        ("2 messages", TO),
        ("Both", "bob@firm.example"),
        ("s10", "ann@firm.example"),
    ]


@pytest.mark.parametrize("any_host", LOCKING, indirect=True)
def test_a_worker_that_forms_digests_between_two_statements_of_another(
    any_host: Host, catcher: Catcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The messages wait for Bob as well, so that both could lock them: each gets one digest."""
    for number in range(RATE + 2):
        send(any_host, ["stewards", "bob"], f"s{number}")
    drain(any_host)
    pass_a_minute(any_host)
    monkeypatch.setattr(delivery_digests, "_AT_ONCE", 1)  # as if there were a hundred others
    looks: list[object] = []

    def form_before_the_second(_: sa.Connection, statement: object, *others: object) -> None:
        if (
            any(statement is look for look in (digests_of._LOCK, digests_of._HELD))
            and len(looks) < 2
        ):
            looks.append(statement)
            if len(looks) == 2:
                _gather(any_host)

    with any_host.app.app_context():
        engine = any_host.db.engine
    sa.event.listen(engine, "before_execute", form_before_the_second)
    _gather(any_host)
    sa.event.remove(engine, "before_execute", form_before_the_second)
    for _ in range(3):
        drain(any_host)
        pass_a_minute(any_host)
    mails = [(_subject(mail), *mail.recipients) for mail in catcher.mails[RATE:]]
    assert sorted(mails) == [("2 messages", "bob@firm.example"), ("2 messages", TO)]


def test_what_is_in_a_digest_goes_into_no_other(any_host: Host, catcher: Catcher) -> None:
    """Whoever looked too early: the digest that is made of it is dropped."""
    flood(any_host, RATE + 2)
    drain(any_host)
    pass_a_minute(any_host)
    with any_host.state.database.writing() as connection:
        (held,) = digests_of.held_and_due(connection, clock.now())
    _gather(any_host)
    with any_host.state.database.writing() as connection, pytest.raises(LookupError, match="0 of"):
        digests_of.assign_to_digest(connection, held, uuid.uuid4())


def test_sqlite_goes_by_the_rows_that_a_statement_names(
    host: Host, catcher: Catcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not through all that is held, has ended, or was ever for an address, for each row."""
    seen: list[tuple[str, Any]] = []

    def look(_: object, __: object, statement: str, parameters: Any, *___: object) -> None:
        if statement.startswith("UPDATE") and "json_each" in statement:
            seen.append((statement, parameters))

    with host.app.app_context():
        engine = host.db.engine
    sa.event.listen(engine, "before_cursor_execute", look)
    _partly_in_a_digest(host)
    flood(host, RATE + 2, to="ann")
    drain(host)
    pass_a_minute(host)
    with monkeypatch.context() as patched:
        patched.setattr(delivery_digests, "_composed", None)  # none can be made: all is postponed
        _gather(host)
    pass_a_minute(host)
    _gather(host)
    drain(host)
    sa.event.remove(engine, "before_cursor_execute", look)
    assert len({statement for statement, _ in seen}) >= 10
    with engine.connect() as connection:
        for statement, parameters in seen:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            assert plan.all()[0].detail.startswith("SCAN json_each"), statement


def _deadlocked(connection: sa.Connection) -> NoReturn:
    """What MariaDB does at a deadlock: the transaction is gone, with its savepoints."""
    connection.exec_driver_sql("ROLLBACK")
    raise sa.exc.OperationalError("UPDATE", {}, Exception(1213, "Deadlock found"))


@pytest.mark.parametrize("any_host", ["mariadb"], indirect=True)
def test_a_deadlock_while_digests_are_made_ends_them_all(
    any_host: Host, catcher: Catcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one is rolled back as well, and must not be named; the next look has both."""
    flood(any_host, RATE + 2)
    flood(any_host, RATE + 2, to="ann")
    drain(any_host)
    pass_a_minute(any_host)
    assign = digests_of.assign_to_digest
    made: list[uuid.UUID] = []

    def assign_first(connection: sa.Connection, held: Any, digest: uuid.UUID) -> None:
        if made:
            _deadlocked(connection)
        made.append(digest)
        assign(connection, held, digest)

    monkeypatch.setattr(digests_of, "assign_to_digest", assign_first)
    with pytest.raises(sa.exc.OperationalError):
        _gather(any_host)
    monkeypatch.undo()
    assert len(_gather(any_host)) == 2
    assert not {*made} & {row.id for row in any_host.rows()}


@pytest.mark.parametrize("any_host", ["mariadb"], indirect=True)
def test_a_deadlock_in_a_notice_is_no_record(
    any_host: Host, catcher: Catcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record is rolled back with it: it is made again, and the message leaves once."""
    id = send(any_host)
    insert = notices.insert
    failures = iter([True])

    def insert_later(connection: sa.Connection, new: Sequence[Any]) -> Any:
        if next(failures, False):
            _deadlocked(connection)
        return insert(connection, new)

    monkeypatch.setattr(notices, "insert", insert_later)
    monkeypatch.setattr(recorder, "is_for_default_to", lambda result: result.claimed.id == id)
    monkeypatch.setattr(notices, "given_up", lambda _: True)
    drain(any_host)
    assert only(any_host, id).status == "sent"
    assert [row.source for row in any_host.rows()].count("notice") == 1


def test_a_refused_digest_fails_what_is_in_it_and_can_be_sent_again(
    any_host: Host, catcher: Catcher
) -> None:
    """The verdict is everybody's, with the reply; a resent digest that arrives is good news."""
    ids = flood(any_host, RATE + 3)
    drain(any_host)
    pass_a_minute(any_host)
    catcher.refuse[TO] = "550 5.1.1 unknown"
    with told(any_host) as heard:
        drain(any_host)
    assert states(any_host)["failed", "rate", "call"] == 3
    assert {one.id for one in heard if one.status is Status.FAILED} >= {*ids[RATE:]}
    assert heard[-1].recipients[0].reply == "550 5.1.1 unknown"
    (digest,) = [row for row in any_host.rows() if row.source == "digest"]
    assert only(any_host, ids[-1]).detail == f"It was in the digest {digest.id}, which failed."
    catcher.refuse.clear()
    again = operations.resend(any_host.state, digest.id)
    drain(any_host)  # who resends is limited as well
    assert states(any_host)["held", "rate", "digest"] == 1
    pass_a_minute(any_host)
    drain(any_host)
    assert states(any_host)["sent", "rate", "call"] == 3
    (told_first,) = {only(any_host, id).detail for id in ids[RATE:]}
    operations.resend(any_host.state, digest.id, after=again.id)
    drain(any_host)
    pass_a_minute(any_host)
    drain(any_host)
    assert {only(any_host, id).detail for id in ids[RATE:]} == {told_first}  # no news


def test_a_digest_sent_again_that_leaves_in_another_digest(
    any_host: Host, catcher: Catcher
) -> None:
    """Above the rate it waits with newer mail: what was in it arrives with the digest of both."""
    ids, digest = _in_one_digest(any_host, 2)
    catcher.refuse[TO] = "550 5.1.1 unknown"
    drain(any_host)
    catcher.refuse.clear()
    again = operations.resend(any_host.state, digest).id
    ids += flood(any_host, 1)
    drain(any_host)
    assert states(any_host)["held", "rate", "digest"] == 1
    pass_a_minute(any_host)
    with told(any_host) as heard:
        # A look that finds one of them locked leaves the digest to the next.
        for _ in range(10):
            drain(any_host)
            if heard:
                break
    assert {told_of.id for told_of in heard if told_of.status is Status.SENT} >= {
        *ids[RATE:],
        again,
    }
    assert {row.status for row in any_host.rows() if row.id != digest} == {"sent"}


def test_erasing_an_address_ends_its_digest(any_host: Host, catcher: Catcher) -> None:
    """What waited in it is cancelled with it, and erased."""
    flood(any_host, RATE + 3)
    drain(any_host)
    pass_a_minute(any_host)
    _gather(any_host)
    erased = retention.erase(any_host.state.database, TO, now=clock.now())
    assert (erased.messages, erased.in_flight) == (RATE + 4, 0)
    drain(any_host)
    assert len(catcher.mails) == RATE
    assert TO not in any_host.recipients()
    assert {row.status for row in any_host.rows()} == {"sent", "cancelled"}


# -- one message, several recipients -----------------------------------------------------


def _partly_in_a_digest(host: Host) -> tuple[uuid.UUID, uuid.UUID]:
    """A message that is queued for Bob, and the digest in which the stewards get it."""
    flood(host, RATE + 1)
    both = send(host, ["stewards", "bob"], "Both")
    drain(host)
    pass_a_minute(host)
    released, digest = _gather(host)
    assert released == both
    return both, digest


def _put_off(host: Host, *ids: uuid.UUID) -> None:
    with host.state.database.writing() as connection:
        these = sa.update(DELIVERY).where(DELIVERY.c.id.in_(ids))
        connection.execute(these.values(due_at=clock.now() + timedelta(minutes=1)))


def _verdicts(host: Host, id: uuid.UUID) -> dict[str, str]:
    with host.app.app_context():
        snapshot = get_notification(id)
    assert snapshot is not None
    return {one.address.partition("@")[0]: str(one.status) for one in snapshot.recipients}


@pytest.mark.parametrize(("answer", "ends"), [(None, "sent"), ("550 5.1.1 unknown", "failed")])
def test_a_message_is_held_until_its_last_recipient_has_it(
    any_host: Host, catcher: Catcher, answer: str | None, ends: str
) -> None:
    """Bob has it, the stewards wait for their digest, and what becomes of that decides."""
    both, digest = _partly_in_a_digest(any_host)
    assert only(any_host, both).status == "queued"
    assert _verdicts(any_host, both) == {"stewards": "held", "bob": "queued"}
    _put_off(any_host, digest)
    stats = any_host.dispatcher().drain()
    assert (stats.sent, stats.others) == (1, 0)  # nothing that the server did not take
    row = only(any_host, both)
    assert (row.status, row.reason, row.finished_at) == ("held", "rate", None)
    assert row.detail == f"It is in the digest {digest}."
    assert _verdicts(any_host, both) == {"stewards": "held", "bob": "sent"}
    with pytest.raises(StillWaiting, match="for the digest"):
        operations.resend(any_host.state, both)
    assert not operations.cancel(any_host.state, both)
    if answer:
        catcher.refuse[TO] = answer
    with any_host.state.database.writing() as connection:
        now = sa.update(DELIVERY).where(DELIVERY.c.id == digest)
        connection.execute(now.values(due_at=clock.now()))
    drain(any_host)
    row = only(any_host, both)
    assert (row.status, row.reason) == (ends, "rate")
    assert row.finished_at is not None
    assert _verdicts(any_host, both) == {"stewards": ends, "bob": "sent"}


def test_who_was_refused_fails_the_message_whatever_becomes_of_the_digest(
    any_host: Host, catcher: Catcher
) -> None:
    """With its own reason; sent again before the digest is done, it would come twice."""
    both, digest = _partly_in_a_digest(any_host)
    _put_off(any_host, digest)
    catcher.refuse["bob@firm.example"] = "550 5.1.1 unknown"
    drain(any_host)
    refused = only(any_host, both)
    assert (refused.status, refused.reason) == ("failed", "refused")
    with pytest.raises(StillWaiting, match="for the digest"):
        operations.resend(any_host.state, both)
    assert operations.cancel(any_host.state, digest)
    assert _verdicts(any_host, both) == {"stewards": "cancelled", "bob": "failed"}
    assert only(any_host, both) == refused
    catcher.refuse.clear()
    operations.resend(any_host.state, both)


def test_a_digest_that_is_done_while_another_recipient_is_tried(
    any_host: Host, catcher: Catcher
) -> None:
    """Who claimed the message before knows nothing of it, and still it does not wait for ever."""
    both, digest = _partly_in_a_digest(any_host)
    result = _accepted_elsewhere(any_host, both, digest)
    catcher.refuse[TO] = "550 5.1.1 unknown"
    drain(any_host)
    assert only(any_host, both).status == "sending"
    with any_host.state.database.writing() as connection:
        record(connection, [result], worker="other", now=clock.now())
    row = only(any_host, both)
    assert (row.status, row.reason) == ("failed", "rate")
    assert row.detail == f"It was in the digest {digest}, which failed."


def test_the_detail_names_the_digest_that_decided(any_host: Host, catcher: Catcher) -> None:
    """Of two that are done while a third recipient is tried, the one that failed."""
    flood(any_host, RATE, to=["stewards", "ann"])
    for to in ("stewards", "ann"):
        send(any_host, to)
    three = send(any_host, ["stewards", "ann", "bob"])
    drain(any_host)
    pass_a_minute(any_host)
    _gather(any_host)
    (claimed,) = (each for each in _claim_all(any_host) if each.id == three)
    with any_host.state.database.writing() as connection:
        of_digests = sa.select(MESSAGE.c.id).where(MESSAGE.c.source == "digest")
        given_back = sa.update(DELIVERY).where(DELIVERY.c.id.in_(of_digests))
        connection.execute(given_back.values(lease_until=clock.now() - timedelta(minutes=1)))
    catcher.refuse[TO] = "550 5.1.1 unknown"
    drain(any_host)
    failures: list[Exception] = []
    _record(any_host, failures, claimed)
    assert failures == []
    (failed,) = (row for row in any_host.rows() if (row.source, row.status) == ("digest", "failed"))
    row = only(any_host, three)
    assert row.status == "failed"
    assert row.detail == f"It was in the digest {failed.id}, which failed."


@pytest.mark.parametrize("any_host", LOCKING, indirect=True)
def test_a_digest_and_a_message_in_it_are_recorded_at_the_same_moment(
    any_host: Host, catcher: Catcher
) -> None:
    """By two workers, of whom neither sees yet what the other writes: one waits for the other."""
    both, digest = _partly_in_a_digest(any_host)
    result = _accepted_elsewhere(any_host, both, digest)
    other_worker = threading.Thread(target=drain, args=(any_host,))
    with any_host.state.database.writing() as connection:
        record(connection, [result], worker="other", now=clock.now())
        other_worker.start()
        _until(lambda: digests(catcher.mails))
        other_worker.join(1)
        assert other_worker.is_alive()
    other_worker.join()
    assert (only(any_host, digest).status, only(any_host, both).status) == ("sent", "sent")
    assert _verdicts(any_host, both) == {"stewards": "sent", "bob": "sent"}


def _accepted_elsewhere(host: Host, both: uuid.UUID, digest: uuid.UUID) -> AttemptResult:
    """What another worker is about to record: it has claimed the message, and Bob has it."""
    _put_off(host, digest)
    now = clock.now()
    with host.state.database.writing() as connection:
        (claimed,) = claim.claim(
            connection, limit=1, worker="other", lease=timedelta(minutes=1), now=now
        )
        its_own = sa.update(DELIVERY).where(DELIVERY.c.id == digest)
        connection.execute(its_own.values(due_at=now))
    assert (claimed.id, claimed.digest) == (both, digest)
    return _accepted(claimed)


def _accepted(claimed: Claimed) -> AttemptResult:
    now = clock.now()
    accepted = TransportResult(
        result=Result.ACCEPTED, stage=Stage.CONTENT, reply=Reply(250, None, "taken"), verdicts={}
    )
    resolver = Resolver(server="mail:25", hold=False, diverted_to=None, sender=None)
    return resolver.resolve(claimed, accepted, started_at=now, finished_at=now, chance=0.0)


def _claim_all(host: Host) -> list[Claimed]:
    with host.state.database.writing() as connection:
        return claim.claim(
            connection, limit=50, worker="w", lease=timedelta(minutes=5), now=clock.now()
        )


def _record(host: Host, failures: list[Exception], *claims: Claimed) -> None:
    try:
        with host.state.database.writing() as connection:
            record(connection, [*map(_accepted, claims)], worker="w", now=clock.now())
    except sa.exc.DBAPIError as error:
        failures.append(error)


@pytest.mark.parametrize("any_host", LOCKING, indirect=True)
def test_two_workers_that_have_a_message_of_the_others_digest(
    any_host: Host, catcher: Catcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each records a digest and a message that is in the other one: none waits for both."""
    flood(any_host, RATE, to=["ann", "zoe"])
    ids = {}
    for digest, other in (("ann", "bob"), ("zoe", "bea")):
        send(any_host, digest)
        ids[digest] = send(any_host, [digest, other])
    drain(any_host)
    pass_a_minute(any_host)
    _gather(any_host)
    claims = {
        claimed.id if claimed.source == "call" else claimed.envelope.recipients[0]: claimed
        for claimed in _claim_all(any_host)
    }
    both_are_here = threading.Barrier(2)

    def apply_later(*given: Any) -> Any:
        with suppress(threading.BrokenBarrierError):
            both_are_here.wait(1)
        return digests_of.apply_outcome(*given)

    monkeypatch.setattr(record_module, "apply_outcome", apply_later)
    failures: list[Exception] = []
    pairs = (
        (claims["ann@firm.example"], claims[ids["zoe"]]),
        (claims["zoe@firm.example"], claims[ids["ann"]]),
    )
    workers = [threading.Thread(target=_record, args=(any_host, failures, *pair)) for pair in pairs]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert failures == []
    assert {row.status for row in any_host.rows()} == {"sent"}


@pytest.mark.parametrize("any_host", LOCKING, indirect=True)
def test_a_message_is_locked_before_its_recipients(any_host: Host, catcher: Catcher) -> None:
    """By who records its digest as well as by who calls it back: one waits for the other."""
    flood(any_host, RATE)
    ids = [send(any_host, ["stewards", "bob"]) for _ in range(2)]
    drain(any_host)
    pass_a_minute(any_host)
    digest = next(id for id in _gather(any_host) if only(any_host, id).subject.endswith("messages"))
    with any_host.state.database.reading() as connection:
        stewards = RECIPIENT.c.digest_id == digest
        to = connection.scalar(sa.select(RECIPIENT.c.address).where(stewards).limit(1))
    claimed = next(each for each in _claim_all(any_host) if each.envelope.recipients == (to,))
    failures: list[Exception] = []
    worker = threading.Thread(target=_record, args=(any_host, failures, claimed))
    with any_host.state.database.writing() as by_hand:
        its_own = sa.update(DELIVERY).where(DELIVERY.c.id == ids[0])
        by_hand.execute(its_own.values(size=DELIVERY.c.size))
        worker.start()
        worker.join(0.5)
        assert worker.is_alive()
        theirs = sa.update(RECIPIENT).where(RECIPIENT.c.message_id == ids[0])
        by_hand.execute(theirs.values(name="x"))
    worker.join()
    assert failures == []
    assert only(any_host, digest).status == "sent"


@pytest.mark.parametrize("answer", ["550 5.1.1 unknown", "451 4.2.0 later"])
def test_a_digest_announces_only_what_ends_with_it(
    any_host: Host, catcher: Catcher, answer: str
) -> None:
    """What has failed for another recipient, or is tried again for one, was announced before."""
    both, digest = _partly_in_a_digest(any_host)
    _put_off(any_host, digest)
    catcher.refuse["bob@firm.example"] = answer
    drain(any_host)
    before = only(any_host, both).status
    assert before in ("failed", "deferred")
    with any_host.state.database.writing() as connection:
        due = sa.update(DELIVERY).where(DELIVERY.c.id == digest)
        connection.execute(due.values(due_at=clock.now()))
    with told(any_host) as heard:
        drain(any_host)
    assert only(any_host, both).status == before
    assert len(heard) == 2  # the digest, and the message that was for the stewards alone
    assert {told_of.status for told_of in heard} == {Status.SENT}
    assert both not in {told_of.id for told_of in heard}


def test_what_waits_for_one_recipient_can_be_called_back(any_host: Host, catcher: Catcher) -> None:
    """For Bob; the stewards get it in the digest that is on its way, and the message says so."""
    both, digest = _partly_in_a_digest(any_host)
    with told(any_host) as heard:
        assert operations.cancel(any_host.state, both)
    assert [told_of.status for told_of in heard] == [Status.HELD]
    assert _verdicts(any_host, both) == {"stewards": "held", "bob": "cancelled"}
    row = only(any_host, both)
    assert (row.status, row.reason, row.finished_at) == ("held", "rate", None)
    assert "cancelled for everybody but those who get it in a digest" in row.detail
    assert not operations.cancel(any_host.state, both)
    with pytest.raises(StillWaiting, match="for the digest"):
        operations.resend(any_host.state, both)
    drain(any_host)
    assert only(any_host, digest).status == "sent"
    assert _verdicts(any_host, both) == {"stewards": "sent", "bob": "cancelled"}
    assert only(any_host, both).status == "sent"
    assert "bob@firm.example" not in {to for mail in catcher.mails for to in mail.recipients}


@pytest.mark.parametrize("answer", [None, "550 5.1.1 unknown"], ids=["cancelled", "refused"])
def test_a_key_stays_taken_while_its_message_is_in_a_digest(
    any_host: Host, catcher: Catcher, answer: str | None
) -> None:
    """Cancelled or refused for Bob, it still leaves for the stewards: a second one would be too."""
    flood(any_host, RATE + 1)
    both = send(any_host, ["stewards", "bob"], key="k")
    drain(any_host)
    pass_a_minute(any_host)
    _, digest = _gather(any_host)
    if answer:
        catcher.refuse["bob@firm.example"] = answer
        _put_off(any_host, digest)
        drain(any_host)
        assert only(any_host, both).status == "failed"
    else:
        with any_host.app.app_context():
            assert cancel_notification(key="k")
    assert send(any_host, ["stewards", "bob"], key="k") == both


def test_a_digest_cancelled_together_with_a_message_in_it(any_host: Host, catcher: Catcher) -> None:
    """Whatever their order, each is announced once, and the message is cancelled for all."""
    both, digest = _partly_in_a_digest(any_host)
    with any_host.state.database.writing() as connection:
        cancelled = messages.cancel(connection, [both, digest], Reason.WITHDRAWN, clock.now())
    assert len(cancelled) == len({*cancelled}) == 3
    assert only(any_host, both).status == "cancelled"
    assert _verdicts(any_host, both) == {"stewards": "cancelled", "bob": "cancelled"}


def test_a_merge_does_not_say_that_it_called_back_what_is_in_a_digest(
    host: Host, catcher: Catcher
) -> None:
    """The request is on its way with others; nobody hears that it was withdrawn."""
    for number in range(RATE + 2):
        deny(host, number)
    drain(host)
    pass_a_minute(host)
    _gather(host)
    with told(host) as heard, host.app.app_context():
        merge = a_merge(ids=(RATE, RATE + 1_000_000))
        merge_completed.send(host.app, merge=merge)
        host.db.session.commit()
    assert heard == []
    drain(host)
    assert states(host)["sent", "rate", "merge_denied"] == 2


def test_what_is_in_a_digest_is_not_purged_before_that_is_done(
    any_host: Host, catcher: Catcher
) -> None:
    """However old it is: a digest can wait for a server for days."""
    ids, digest = _in_one_digest(any_host, 2)
    long_ago = clock.now() - timedelta(days=400)
    with any_host.state.database.writing() as connection:
        connection.execute(sa.update(DELIVERY).values(created_at=long_ago))
        connection.execute(
            sa.update(DELIVERY).where(DELIVERY.c.status == "sent").values(finished_at=long_ago)
        )
    operations.purge(any_host.state)
    assert {row.id for row in any_host.rows()} == {*ids[RATE:], digest}
    drain(any_host)
    assert {row.status for row in any_host.rows()} == {"sent"}


@pytest.mark.parametrize(
    ("digest_is", "ends"),
    [("sent", "sent"), ("failed", "failed"), ("cancelled", "cancelled"), (None, "failed")],
    ids=str,
)
def test_what_a_digest_has_left_behind_ends_with_the_next_purge(
    any_host: Host, catcher: Catcher, digest_is: str | None, ends: str
) -> None:
    """A worker of version 0.1 has sent or deleted it, and knew nothing of what is in it."""
    both, digest = _partly_in_a_digest(any_host)
    operations.purge(any_host.state)  # it waits, and nothing is left behind
    assert _verdicts(any_host, both) == {"stewards": "held", "bob": "queued"}
    with any_host.state.database.writing() as connection:
        its_own = DELIVERY.c.id == digest
        if digest_is is None:
            connection.execute(sa.delete(RECIPIENT).where(RECIPIENT.c.message_id == digest))
            connection.execute(sa.delete(DELIVERY).where(its_own))
            connection.execute(sa.delete(MESSAGE).where(MESSAGE.c.id == digest))
        else:
            done_now = {"status": digest_is, "finished_at": clock.now(), "due_at": None}
            connection.execute(sa.update(DELIVERY).where(its_own).values(done_now))
    drain(any_host)  # Bob has it; the purge of the hour is not part of it
    assert only(any_host, both).status == "held"
    with told(any_host) as heard:
        operations.purge(any_host.state)
    assert len(heard) == 2
    assert only(any_host, both).status == ("sent" if ends == "cancelled" else ends)
    assert _verdicts(any_host, both) == {"stewards": ends, "bob": "sent"}


# -- digests of version 0.1 --------------------------------------------------------------


def as_of_0_1(host: Host, digest: uuid.UUID) -> None:
    """What 0.1 had written down, after a migration of the host's own has added the column."""
    with host.state.database.writing() as connection:
        in_it = RECIPIENT.c.digest_id == digest
        ids = connection.scalars(sa.select(RECIPIENT.c.message_id).where(in_it)).all()
        intent = connection.scalar(sa.select(MESSAGE.c.intent).where(MESSAGE.c.id == digest))
        text = json.dumps(json.loads(str(intent)) | {"gathers": [id.hex for id in ids]})
        connection.execute(sa.update(MESSAGE).where(MESSAGE.c.id == digest).values(intent=text))
        left = DELIVERY.c.id.in_(ids) & (DELIVERY.c.status == "held")
        connection.execute(sa.update(DELIVERY).where(left).values(status="sending"))
        connection.execute(
            sa.update(RECIPIENT).where(in_it).values(status="sending", digest_id=None)
        )


@pytest.mark.parametrize(("answer", "ends"), [(None, "sent"), ("550 5.1.1 unknown", "failed")])
def test_a_digest_of_version_0_1_is_taken_over(
    any_host: Host, catcher: Catcher, answer: str | None, ends: str
) -> None:
    """It was on its way during the update: what became of it becomes of what is in it."""
    both, digest = _partly_in_a_digest(any_host)
    as_of_0_1(any_host, digest)
    if answer:
        catcher.refuse[TO] = answer
    with told(any_host) as heard:
        drain(any_host)
    assert states(any_host)[ends, "rate", "call"] == 2
    assert _verdicts(any_host, both) == {"stewards": ends, "bob": "sent"}
    assert {one.id for one in heard if one.status == ends} >= {digest, both}
    with any_host.state.database.reading() as connection:
        assert len(digests_of.members(connection, digest)) == 2
    assert not {row.status for row in any_host.rows()} & {"sending", "held"}


@pytest.mark.parametrize("first", ["digest", "message", "both"])
def test_a_digest_of_version_0_1_and_a_message_in_it_are_under_way_at_once(
    any_host: Host, catcher: Catcher, first: str
) -> None:
    """Whichever is recorded first, the message ends with its digest."""
    both, digest = _partly_in_a_digest(any_host)
    as_of_0_1(any_host, digest)
    claims = sorted(
        _claim_all(any_host), key=lambda claimed: (claimed.id == digest) ^ (first == "digest")
    )
    assert {claimed.id for claimed in claims} == {both, digest}
    failures: list[Exception] = []
    for together in [claims] if first == "both" else [[claimed] for claimed in claims]:
        _record(any_host, failures, *together)
    assert failures == []
    row = only(any_host, both)
    assert (row.status, row.reason) == ("sent", "rate")
    assert row.detail == f"It went out in the digest {digest}."
    assert _verdicts(any_host, both) == {"stewards": "sent", "bob": "sent"}


def test_a_failed_digest_of_version_0_1_can_be_sent_again(host: Host, catcher: Catcher) -> None:
    """Its intent still says what is in it, and the new digest is for those."""
    flood(host, RATE + 3)
    drain(host)
    pass_a_minute(host)
    (digest,) = _gather(host)
    as_of_0_1(host, digest)
    catcher.refuse[TO] = "550 5.1.1 unknown"
    drain(host)
    catcher.refuse.clear()
    with host.state.database.writing() as connection:
        connection.execute(sa.update(RECIPIENT).values(digest_id=None))
    operations.resend(host.state, digest)
    for _ in range(2):
        drain(host)
        pass_a_minute(host)
    assert states(host)["sent", "rate", "call"] == 3


@pytest.mark.parametrize(
    "intent",
    ["{", "[1]", '{"gathers": null}', '{"gathers": [1]}', '{"gathers": ["not-an-id"]}'],
)
def test_a_damaged_digest_of_version_0_1_is_told(
    host: Host, catcher: Catcher, caplog: pytest.LogCaptureFixture, intent: str
) -> None:
    """What was in it is not known; what became of the digest itself is written down."""
    flood(host, RATE + 2)
    drain(host)
    pass_a_minute(host)
    (digest,) = _gather(host)
    as_of_0_1(host, digest)
    with host.state.database.writing() as connection:
        connection.execute(sa.update(MESSAGE).where(MESSAGE.c.id == digest).values(intent=intent))
    drain(host)
    assert only(host, digest).status == "sent"
    assert "digest.damaged" in caplog.text


def test_panel_and_command_line_show_what_is_held(tmp_path: Path, catcher: Catcher) -> None:
    """The list by reason, the details with the time, ``status`` with the number."""
    with opened_panel(tmp_path, **LIMITS) as panel:
        panel.host.configure(smtp_port=catcher.port)
        ids = flood(panel.host)
        drain(panel.host)
        page = panel.get(f"{OUTBOX}?reason=rate")
        assert len(page.select("tbody tr:not(.im-why)")) == 5
        details = panel.get(f"{OUTBOX}{ids[-1]}/").text
        assert "leaves at about" in details
        assert "Release" in details
        assert "leaves at about" in done(panel.host, "outbox", "show", str(ids[-1])).out
        assert "rate" in done(panel.host, "outbox", "list", "--status", "held").out
        assert done(panel.host, "status", "--json").json["held_by_rate"] == 5
        assert (
            "5, of which 5 are above a rate and leave by themselves"
            in done(panel.host, "status").out
        )


def test_panel_and_command_line_say_what_is_in_a_digest(tmp_path: Path, catcher: Catcher) -> None:
    """It leaves by itself: no button, and an answer for who asks all the same."""
    with opened_panel(tmp_path, **LIMITS) as panel:
        panel.host.configure(smtp_port=catcher.port)
        both, digest = _partly_in_a_digest(panel.host)
        id = str(both)
        (part,) = panel.get(f"{OUTBOX}{id}/").select("[aria-labelledby=im-h-recipients]")
        recipients = " ".join(part.text.split())
        assert "goes out together with others" in recipients.partition("bob@")[0]
        assert "It waits for its turn" in recipients.partition("bob@")[2]
        _put_off(panel.host, digest)
        drain(panel.host)
        page = panel.get(f"{OUTBOX}{id}/")
        assert f"It is in the digest {digest}." in page.text
        actions = ("resend", "cancel", "release")
        assert not page.select(", ".join(f"[formaction*={name}]" for name in actions))
        for name, said in (("cancel", "Too late"), ("release", "not held any more")):
            panel.post(f"{OUTBOX}{id}/{name}")
            answer = panel.get(f"{OUTBOX}{id}/").text
            assert said in answer
            assert "on its way together with others" in answer
            refused = run(panel.host, "outbox", name, id)
            assert refused.status == 1
            assert "is in a digest that is on its way" in refused.err
        assert "for the digest that it is in" in run(panel.host, "outbox", "resend", id).err
        assert id in done(panel.host, "outbox", "list", "--status", "held").out
        assert done(panel.host, "status", "--json").json["messages"]["sending"] == 0


# -- many processes, and their ends --------------------------------------------------------


@pytest.fixture(params=KINDS)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    with fresh(request.param, tmp_path) as url, a_site(url, request.param) as site:
        yield site


def a_worker(site: Site, **plan: Any) -> Worker:
    return site.start(options=tuple(LIMITS.items()), **plan)


def put(site: Site, count: int, address: str = TO) -> None:
    site.store.put(*(letter(address) for _ in range(count)))


def minute_over(site: Site) -> None:
    with site.store.writing() as connection:
        connection.execute(_OVER)


def taken(site: Site) -> tuple[int, list[str]]:
    """How many single messages the server has, and the Message-IDs of the digests, with copies."""
    heads = [one.content.partition(b"\r\n\r\n")[0].decode() for one in site.server.messages]
    found = [head for head in heads if re.search(r"^Subject: \d+ messages", head, re.MULTILINE)]
    ids = [re.search(r"^Message-ID:\s*(\S+)", head, re.MULTILINE) for head in found]
    return len(heads) - len(found), [one.group(1) for one in ids if one]


def test_four_workers_at_once_keep_the_rate_and_form_one_digest(site: Site) -> None:
    """200 messages to one, 50 to others, four processes: ten leave, one digest is formed."""
    workers = [a_worker(site, waits=True, lease=30.0) for _ in range(4)]
    put(site, 200)
    for number in range(50):
        put(site, 1, f"p{number}@firm.example")
    for one in workers:
        one.go()
    site.until(lambda: not {"queued", "sending"} & {*site.store.statuses()})
    mails, _ = taken(site)
    minute_over(site)
    site.until(lambda: {*site.store.statuses()} == {"sent"})
    _, gathered = taken(site)
    proved("T14", f"{site.kind}: mails={mails - 50} of 200  digests={len(gathered)}")
    assert (mails - 50, len(gathered)) == (RATE, 1)
    site.stop()


def test_a_flood_that_goes_on_while_workers_claim_stays_within_the_bound(site: Site) -> None:
    """Three processes claim what is just being stored: at most the rate for each of them."""
    workers = [a_worker(site, lease=30.0, poll=0.01) for _ in range(3)]
    threads = [threading.Thread(target=_trickle, args=(site, 60)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    site.until(lambda: not {"queued", "sending"} & {*site.store.statuses()})
    mails, _ = taken(site)
    proved("T14", f"{site.kind}: mails={mails} of 180, at most {RATE * len(workers)}")
    assert RATE <= mails <= RATE * len(workers)
    minute_over(site)
    site.until(lambda: {*site.store.statuses()} == {"sent"})
    assert len(taken(site)[1]) == 1
    site.stop()


def _trickle(site: Site, count: int) -> None:
    for _ in range(count):
        put(site, 1)


# When a worker dies: in which of its transactions, and how many copies of a digest there may be.
DEATHS = {
    "before it is formed": (("before", 1), 1),
    "while it is formed": (("inside", 1), 1),
    "formed, not claimed": (("after", 1), 1),
    "claimed": (("after", 2), 1),
    "taken, not recorded": (("before", 3), 2),
    "recorded with all that is in it": (("inside", 3), 2),
    "after the record": (("after", 3), 1),
}


@pytest.mark.parametrize("site", KILLED_ON, indirect=True)
@pytest.mark.parametrize("death", DEATHS)
def test_a_worker_killed_around_a_digest_loses_nothing(site: Site, death: str) -> None:
    """kill -9 at each step: one digest, its copies the same message, all in it sent."""
    dies, copies = DEATHS[death]
    put(site, RATE + 20)
    first = a_worker(site)
    site.until(lambda: site.store.statuses() == {"sent": RATE, "held": 20})
    site.stop(first)
    minute_over(site)
    victim = a_worker(site, dies=dies, lease=0.5)
    assert victim.ended() == -9
    heir = a_worker(site, lease=0.5)
    site.until(lambda: site.store.statuses() == {"sent": RATE + 21})
    site.stop(heir)
    mails, gathered = taken(site)
    gone = sum(row.source == "call" and row.status == "sent" for row in site.rows())
    lost = RATE + 20 - gone
    different = len(set(gathered))
    proved(
        "T14", f"{site.kind}, {death}: {mails=} digests={different} copies={len(gathered)} {lost=}"
    )
    assert (mails, different, lost) == (RATE, 1, 0)
    assert len(gathered) <= copies
    with site.store.reading() as connection:
        statuses = connection.scalars(sa.select(RecipientRow.status).distinct()).all()
    assert statuses == ["sent"]


@pytest.mark.parametrize("site", KILLED_ON, indirect=True)
@pytest.mark.parametrize("dies", [("before", 1), ("inside", 1), ("after", 1)])
def test_a_worker_killed_while_it_holds_loses_nothing(site: Site, dies: tuple[str, int]) -> None:
    """What it was about to hold is held by the next one, and what it let go still counts."""
    put(site, RATE + 20)
    assert a_worker(site, dies=dies, lease=0.5).ended() == -9
    heir = a_worker(site, lease=0.5)
    site.until(lambda: site.store.statuses() == {"sent": RATE, "held": 20})
    minute_over(site)
    site.until(lambda: site.store.statuses() == {"sent": RATE + 21})
    site.stop(heir)
    assert taken(site)[0] == RATE
