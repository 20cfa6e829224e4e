"""What comes back finds its message and its recipient, once, in whatever order it comes."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from flask_interaction_mail import (
    Notification,
    Party,
    clock,
    get_notification,
    notification_bounced,
    notification_delayed,
    notification_delivered,
    operations,
    send_notification,
)
from flask_interaction_mail.cli import bounces
from flask_interaction_mail.messages.message import id_of_key
from flask_interaction_mail.outbox import retention, returned
from flask_interaction_mail.returned.maildir import NOTED
from flask_interaction_mail.storage.tables import (
    ACTIVITY,
    ATTEMPT,
    DEAD,
    DELIVERY,
    MESSAGE,
    RECIPIENT,
    REPORT,
)
from tests import outbox_rows
from tests.catcher import Catcher
from tests.crash.commands import Commands
from tests.host import Host
from tests.reports import PLACES, automatic_reply, naming, report
from tests.servers.scripted import Action, refusing, room_for, scripted, until
from tests.terminal import Said, done, run

ROOT = Path(__file__).parents[2]
CORPUS = ROOT / "tests" / "corpora" / "dsn"
HOUR = timedelta(hours=1)
BOB, EVE = "bob@firm.example", "eve@firm.example"
FIRST, SECOND = (f"0100018f-aaaa-bbbb-cccc-{number:012}" for number in (1, 2))  # a provider's
_HOST = """
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from flask_interaction_mail import InteractionMail
import os

db = SQLAlchemy()
messaging = InteractionMail(db=db)

def create_app():
    app = Flask(__name__)
    app.config.update(SECRET_KEY="k" * 32, SQLALCHEMY_DATABASE_URI=os.environ["DATABASE"],
                      INTERACTION_MAIL_DELIVERY="worker")
    db.init_app(app)
    messaging.init_app(app)
    return app
"""

_COMMAND = ("--app", "mail_host", "interaction-mail", "bounces", "read")
pytestmark = pytest.mark.usefixtures("catcher")  # which gets the mail of each host


def queued(host: Host, to: Sequence[str] = ("bob", "eve")) -> Notification:
    with host.app.app_context():
        notification = send_notification(list(to), "Hello", text="Hello")
        host.db.session.commit()
        return notification


def sent(host: Host, to: Sequence[str] = ("bob", "eve")) -> Notification:
    notification = queued(host, to)
    host.dispatcher().drain()
    assert now(host, notification).status == "sent"
    return notification


def now(host: Host, notification: Notification) -> Notification:
    with host.app.app_context():
        found = get_notification(notification.id)
    assert found is not None
    return found


def statuses(host: Host, notification: Notification) -> dict[str, str]:
    return {one.address: str(one.status) for one in now(host, notification).recipients}


def take(host: Host, content: bytes) -> Any:
    with host.app.app_context():
        return operations.take_report(host.state, content)


def about(notification: Notification, recipient: str, action: str = "failed", **more: Any) -> bytes:
    return report(str(notification.message_id), recipient, action, **more)


def reports(host: Host) -> Sequence[Any]:
    with host.app.app_context(), host.state.database.reading() as connection:
        return connection.execute(sa.select(REPORT)).all()


def worst(host: Host, notification: Notification) -> str | None:
    with host.app.app_context(), host.state.database.reading() as connection:
        found: str | None = connection.scalar(
            sa.select(DELIVERY.c.returned).where(DELIVERY.c.id == notification.id)
        )
        return found


def test_a_report_marks_its_recipient_and_nobody_else(any_host: Host) -> None:
    """The message stays sent; the reason is beside the reply that the first server gave."""
    notification = sent(any_host)
    noted = take(any_host, about(notification, BOB))
    assert (noted.id, noted.known) == (notification.id, False)
    found = now(any_host, notification)
    assert found.status == "sent"
    assert statuses(any_host, notification) == {BOB: "bounced", EVE: "sent"}
    bob, eve = found.recipients
    assert bob.report == "5.1.1 550 5.1.1 no such user"
    assert bob.reply is not None
    assert bob.reply.startswith("250")
    assert eve.report is None
    assert worst(any_host, notification) == "bounced"


@pytest.mark.parametrize("order", list(itertools.permutations(range(4), 4)), ids=str)
def test_the_order_of_reports_makes_no_difference(host: Host, order: tuple[int, ...]) -> None:
    """Bounced beats delivered beats passed on beats delayed, and nothing goes back."""
    actions = ("delayed", "relayed", "delivered", "failed")
    shown = ("delayed", "passed_on", "delivered", "bounced")
    notification, best = sent(host), -1
    for place in order:
        take(host, about(notification, BOB, actions[place], number=place))
        best = max(best, place)
        assert statuses(host, notification) == {BOB: shown[best], EVE: "sent"}
        assert worst(host, notification) == shown[best]
    assert len(reports(host)) == 4


def test_an_id_that_a_key_gives_away_matches_nothing(host: Host) -> None:
    """What names a message is random; ids that earlier versions made of a key prove nothing."""
    with host.app.app_context():
        notification = send_notification(["bob"], "Hello", text="Hello", key="invoice:7")
        host.db.session.commit()
    host.dispatcher().drain()
    computed = f"<{id_of_key('invoice:7')}@firm.example>"
    assert str(notification.id) not in str(notification.message_id)
    assert take(host, report(computed, BOB)) is None
    with host.app.app_context(), host.state.database.writing() as connection:
        connection.execute(sa.update(MESSAGE).values(message_id=computed))
    assert take(host, report(computed, BOB)) is None
    assert statuses(host, notification) == {BOB: "sent"}


def test_the_envelope_id_finds_its_message(host: Host) -> None:
    """Also where a server leaves it encoded, and no headers come back."""
    notification = sent(host)
    envid = str(notification.message_id).strip("<>").replace("@", "+40")
    plain = report("<none@x.example>", BOB).replace(
        b"Reporting-MTA", f"Original-Envelope-Id: {envid}\nReporting-MTA".encode()
    )
    assert take(host, plain).id == notification.id


def test_the_worst_of_all_recipients_stands_at_the_message(any_host: Host) -> None:
    """One recipient's report takes nothing from another's."""
    notification = sent(any_host)
    take(any_host, about(notification, BOB, "failed"))
    take(any_host, about(notification, EVE, "delivered", number=2))
    assert statuses(any_host, notification) == {BOB: "bounced", EVE: "delivered"}
    assert worst(any_host, notification) == "bounced"


def test_signals_tell_what_is_new(any_host: Host) -> None:
    """Once for each state that a recipient comes to; the notification carries it."""
    heard: list[tuple[str, str]] = []

    def hear(name: str) -> Any:
        def receiver(app: object, notification: Notification) -> None:
            assert app is any_host.app
            heard.append((name, str(notification.recipients[0].status)))

        return receiver

    notification, app = sent(any_host), any_host.app
    with (
        notification_delayed.connected_to(hear("delayed"), app),
        notification_delivered.connected_to(hear("delivered"), app),
        notification_bounced.connected_to(hear("bounced"), app),
    ):
        for number, action in enumerate(("delayed", "delayed", "relayed", "delivered", "failed")):
            take(any_host, about(notification, BOB, action, number=number))
        take(any_host, about(notification, BOB, "failed", number=4))
        take(any_host, about(notification, BOB, "delivered", number=9))
    assert heard == [("delayed", "delayed"), ("delivered", "delivered"), ("bounced", "bounced")]


def test_the_same_report_twice_is_one_also_at_the_same_moment(any_host: Host) -> None:
    """Two that read one mailbox leave one note, and one signal."""
    notification, heard = sent(any_host), list[Notification]()
    start, known = threading.Barrier(4), list[bool]()

    def hear(_: object, notification: Notification) -> None:
        heard.append(notification)

    def read_it(top: bytes) -> None:
        start.wait()
        known.append(take(any_host, top + about(notification, BOB)).known)

    with notification_bounced.connected_to(hear, any_host.app):
        # Each way puts other fields on top.
        threads = [threading.Thread(target=read_it, args=(b"X-Way: %d\n" % n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(known) == [False, True, True, True]
    assert len(reports(any_host)) == len(heard) == 1
    assert take(any_host, about(notification, BOB)).known


def test_what_the_database_refuses_is_not_known(
    any_host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    """Only the same report is; another one changes nothing, stays there, and is in the log."""
    notification = sent(any_host)
    with any_host.app.app_context(), any_host.db.engine.begin() as connection:
        connection.execute(sa.text(f"CREATE UNIQUE INDEX the_host_s_own ON {REPORT.name} (server)"))
    take(any_host, about(notification, BOB))
    other = about(notification, EVE, number=2)
    with pytest.raises(sa.exc.IntegrityError):
        take(any_host, other)
    with any_host.app.app_context():
        assert operations.outcome_of_report(any_host.state, other) == "unreadable"
    assert "returned.failed: a report could not be stored" in caplog.messages
    assert statuses(any_host, notification) == {BOB: "bounced", EVE: "sent"}
    assert take(any_host, about(notification, BOB)).known


def test_a_report_about_a_message_that_is_removed_meanwhile_is_about_none(
    any_host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is kept then, also where a database follows no keys, and that is no error."""
    notification, find = sent(any_host), returned._target

    def removed_then(connection: sa.Connection, found: Any) -> Any:
        target = find(connection, found)
        week = timedelta(weeks=1)
        database, later = any_host.state.database, clock.now() + 2 * week
        retention.purge(database, now=later, bodies=week, logs=week)
        return target

    monkeypatch.setattr(returned, "_target", removed_then)
    assert take(any_host, about(notification, BOB, "delayed")) is None
    assert not reports(any_host)


@pytest.mark.parametrize("sender", ["crm", "ada"])
def test_the_message_s_own_sender_is_behind_no_address(any_host: Host, sender: str) -> None:
    """Neither the one of the envelope nor the one in From; so the address itself is dead."""
    with any_host.app.app_context():
        ada = Party("Ada (Sales), “x”", "ada")
        notification = send_notification("bob", "Hello", text="Hello", sender=ada)
        any_host.db.session.commit()
    any_host.dispatcher().drain()
    said = f"smtp; 550 5.1.1 from <{sender}@firm.example>: no such user"
    content = about(notification, BOB, diagnostic=said).replace(b"Status: 5.0.0", b"Status: 5.1.1")
    take(any_host, content)
    (row,) = reports(any_host)
    assert json.loads(row.notes)[0]["behind"] == ""
    with any_host.app.app_context(), any_host.state.database.reading() as connection:
        assert connection.scalars(sa.select(DEAD.c.address)).all() == [BOB]


def test_a_report_about_a_stranger_is_a_note_at_the_message(host: Host) -> None:
    """It changes nobody: one of two people is not guessed."""
    notification = sent(host)
    noted = take(host, about(notification, "zoe@elsewhere.example"))
    assert (noted.changed, noted.known) == (frozenset(), False)
    assert statuses(host, notification) == {BOB: "sent", EVE: "sent"}
    assert worst(host, notification) is None
    assert len(reports(host)) == 1


def test_a_report_about_a_message_that_is_still_open_is_kept(host: Host, catcher: Catcher) -> None:
    """It shows once the message has left; until then delivery goes on as if there were none."""
    catcher.refuse = {EVE: "451 4.7.1 later"}
    notification = queued(host)
    host.dispatcher().drain()
    assert now(host, notification).status == "deferred"
    take(host, about(notification, EVE, "delayed"))
    take(host, about(notification, BOB, "failed", number=2))
    assert statuses(host, notification) == {BOB: "bounced", EVE: "deferred"}
    catcher.refuse = {}
    with host.app.app_context(), host.state.database.writing() as connection:
        connection.execute(sa.update(DELIVERY).values(due_at=clock.now() - timedelta(hours=1)))
    host.dispatcher().drain()
    assert statuses(host, notification) == {BOB: "bounced", EVE: "delayed"}


def test_counts_are_of_what_left(host: Host) -> None:
    """Counting anew from the rows comes to the same, whatever came back since."""
    notification, earlier = sent(host), clock.now() - timedelta(hours=3)
    wanted = sa.select(ACTIVITY.c.what, ACTIVITY.c.name, ACTIVITY.c.sent, ACTIVITY.c.failed)

    def counted() -> list[Any]:
        with host.app.app_context():
            operations.rebuild_activity(host.state)
            with host.state.database.reading() as connection:
                of_mail = ACTIVITY.c.what.in_(("total", "kind", "domain", "recipients"))
                rows = connection.execute(wanted.where(of_mail, ACTIVITY.c.at < clock.now() - HOUR))
                return sorted(map(tuple, rows))

    with host.app.app_context(), host.state.database.writing() as connection:
        outbox_rows.change(connection, created_at=earlier, finished_at=earlier)
    before = counted()
    assert ("domain", "firm.example", 2, 0) in before
    take(host, about(notification, BOB))
    assert counted() == before


def test_an_automatic_reply_changes_nothing(any_host: Host) -> None:
    """It is kept beside the message, whoever it names."""
    notification = sent(any_host)
    noted = take(any_host, automatic_reply(str(notification.message_id)))
    assert (noted.kind, noted.changed) == ("reply", frozenset())
    assert statuses(any_host, notification) == {BOB: "sent", EVE: "sent"}
    assert worst(any_host, notification) is None
    (row,) = reports(any_host)
    assert (row.kind, row.notes) == ("reply", "[]")


def test_what_is_about_no_message_of_ours_is_nothing(host: Host) -> None:
    """Reports about others' mail, people's answers, and mail of any other kind."""
    notification = sent(host)
    answer = b"In-Reply-To: %b\n\nThanks!\n" % str(notification.message_id).encode()
    for content in (report("<1@elsewhere.example>", BOB), answer, b"Subject: hello\n\nHello"):
        assert take(host, content) is None
    assert not reports(host)


def test_the_id_that_a_provider_gave_finds_the_message(any_host: Host, catcher: Catcher) -> None:
    """Some replace our Message-ID by one of their own, made of what they answered to us."""
    theirs = "0100018f-aaaa-bbbb-cccc-000000000000"
    catcher.taken = f"250 Ok {theirs}"
    notification = sent(any_host)
    noted = take(any_host, report(f"<{theirs}@email.provider.example>", BOB))
    assert noted.id == notification.id
    assert statuses(any_host, notification)[BOB] == "bounced"


def as_renamed(id: str, recipient: str, **more: Any) -> bytes:
    """A report as it comes where a provider has put its own Message-ID in place of ours."""
    return report(f"<{id}@email.provider.example>", recipient, **more)


def taken_as(*ids: str) -> list[Action]:
    """What a provider answers to one message after the other."""
    return [f"250 Ok {id}\r\n".encode() for id in ids]


def try_now(host: Host) -> None:
    """Send what waits, also what would be tried again later."""
    with host.app.app_context(), host.state.database.writing() as connection:
        waits = DELIVERY.c.due_at.is_not(None)
        connection.execute(sa.update(DELIVERY).where(waits).values(due_at=clock.now() - HOUR))
    host.dispatcher().drain()


def assert_each_is_found(host: Host, notification: Notification) -> None:
    """The provider took it for Bob as ``FIRST`` and for Eve as ``SECOND``."""
    assert take(host, as_renamed(FIRST, BOB)).id == notification.id
    assert statuses(host, notification) == {BOB: "bounced", EVE: "sent"}
    assert take(host, as_renamed(SECOND, EVE, number=2)).id == notification.id
    assert statuses(host, notification) == {BOB: "bounced", EVE: "bounced"}


def test_each_id_that_a_provider_gave_finds_the_message(any_host: Host) -> None:
    """Of two transactions each has its own; a report names the one that its recipient was in.

    On MariaDB the two tables may be of versions that compare texts in different ways.
    """
    if any_host.state.database.dialect_name in ("mysql", "mariadb"):
        collate = "CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci"
        with any_host.app.app_context(), any_host.db.engine.begin() as connection:
            connection.execute(sa.text(f"ALTER TABLE {ATTEMPT.name} {collate}"))
    with scripted({"RCPT": room_for(1), "DOT": taken_as(FIRST, SECOND)}) as server:
        any_host.configure(smtp_port=server.port)
        notification = sent(any_host)
        assert [one.recipients for one in server.messages] == [[BOB], [EVE]]
    assert_each_is_found(any_host, notification)


def test_the_id_of_an_earlier_attempt_finds_the_message(any_host: Host) -> None:
    """Bob was accepted at once, Eve only when she was tried again."""
    later = [refusing(b"451 4.7.1 later\r\n")]
    with scripted({"RCPT eve@firm.example": later, "DOT": taken_as(FIRST, SECOND)}) as server:
        any_host.configure(smtp_port=server.port)
        notification = queued(any_host)
        for status in ("deferred", "sent"):
            try_now(any_host)
            assert now(any_host, notification).status == status
    assert_each_is_found(any_host, notification)


def test_the_id_of_another_relay_finds_the_message(any_host: Host) -> None:
    """The first relay took it for Bob and was gone; the second one took it for Eve."""
    later = [refusing(b"451 4.7.1 later\r\n")]
    with scripted({"DOT": taken_as(SECOND)}) as backup:
        second = {"smtp_server": "127.0.0.1", "smtp_port": backup.port, "encryption": "none"}
        with scripted({"RCPT eve@firm.example": later, "DOT": taken_as(FIRST)}) as first:
            any_host.configure(
                smtp_port=first.port,
                relays=("default", "backup"),
                **{f"relays.backup.{name}": value for name, value in second.items()},
            )
            notification = queued(any_host)
            try_now(any_host)
            assert now(any_host, notification).status == "deferred"

        def is_sent() -> bool:
            try_now(any_host)
            return now(any_host, notification).status == "sent"

        assert until(is_sent)
        assert [one.recipients for one in backup.messages] == [[EVE]]
    assert_each_is_found(any_host, notification)


def test_the_whole_corpus_finds_its_messages(host: Host) -> None:
    """Each report, its Message-ID exchanged for one of ours, meets the right recipient."""
    lines = (CORPUS / "expected.tsv").read_text().splitlines()
    rows = [line.split("\t") for line in lines if not line.startswith("#")]
    wanted = [row for row in rows if row[3] not in ("none", "automatic")]
    strongest = dict.fromkeys({(row[1], row[2]) for row in wanted}, -1)
    order = ("told", "delayed", "passed_on", "delivered", "bounced")
    for _, message_id, recipient, state, *_ in wanted:
        pair = message_id, recipient
        strongest[pair] = max(strongest[pair], order.index(state))
    ours: dict[str, Notification] = {}
    for message_id in {row[1] for row in wanted}:
        people = sorted({row[2] for row in wanted if row[1] == message_id} | {"x@other.example"})
        ours[message_id] = sent(host, people)
    for file in {row[0] for row in rows}:
        content = (CORPUS / f"{file}.eml").read_bytes()
        for message_id, notification in ours.items():
            content = content.replace(message_id.encode(), str(notification.message_id).encode())
        noted = take(host, content)
        of_file = [row for row in wanted if row[0] == file]
        assert (noted.id if noted else None) == (ours[of_file[0][1]].id if of_file else None), file
    for message_id, notification in ours.items():
        for address, status in statuses(host, notification).items():
            strength = strongest.get((message_id, address), 0)
            assert status == ("sent" if strength == 0 else order[strength]), (message_id, address)


# -- what is kept, and for how long ----------------------------------------------------


def test_reports_go_when_texts_do_and_with_their_message(any_host: Host) -> None:
    """The report itself goes after the retention of bodies, what it said with the message."""
    notification = sent(any_host)
    take(any_host, about(notification, BOB))
    moment, week = clock.now(), timedelta(days=7)
    with any_host.app.app_context():
        database = any_host.state.database
        retention.purge(database, now=moment, bodies=week, logs=90 * week)
        assert b"Undelivered" in reports(any_host)[0].content
        retention.purge(database, now=moment + 8 * week, bodies=week, logs=90 * week)
        assert reports(any_host)[0].content is None
        assert statuses(any_host, notification)[BOB] == "bounced"
        # What comes later brings no text back.
        take(any_host, about(notification, EVE, number=2))
        assert [row.content for row in reports(any_host)] == [None, None]
        retention.purge(database, now=moment + 100 * week, bodies=week, logs=90 * week)
    assert not reports(any_host)


def test_an_erased_address_is_in_no_report(any_host: Host) -> None:
    """Neither of its own messages, nor in a colleague's automatic reply; nor does it come back."""
    to_bob, to_eve = sent(any_host, ["bob"]), sent(any_host, ["eve"])
    take(any_host, about(to_bob, BOB, diagnostic=f"smtp; 550 5.1.1 <{BOB}> unknown"))
    take(any_host, automatic_reply(str(to_eve.message_id)))
    with any_host.app.app_context():
        retention.erase(any_host.state.database, BOB, now=clock.now())
    take(any_host, about(to_bob, BOB, number=2, diagnostic=f"smtp; 550 5.1.1 <{BOB}> unknown"))
    with any_host.app.app_context(), any_host.state.database.reading() as connection:
        kept = [*connection.execute(sa.select(RECIPIENT)), *connection.execute(sa.select(REPORT))]
    assert "bob@" not in repr(kept)
    assert len(kept) == 4


def test_an_erased_address_is_in_no_encoded_part_either(any_host: Host) -> None:
    """Of reports about somebody else, wherever it stands; the others keep their text."""
    notification = sent(any_host, ["bob"])
    kept = about(notification, BOB, number=100)
    take(any_host, kept)
    for number, place in enumerate(PLACES):
        content = naming(str(notification.message_id), EVE, place)
        take(any_host, content.replace(b"<1@mx.example>", b"<%d@mx.example>" % number))
    # Behind Bob's address, and so in what is kept of the report as well.
    xtext = about(notification, "eve+2Bcrm@firm.example", number=101)
    take(any_host, xtext)
    with any_host.app.app_context():
        retention.erase(any_host.state.database, EVE, now=clock.now())
    contents = [row.content for row in reports(any_host)]
    assert len(contents) == len(PLACES) + 2
    assert {content for content in contents if content is not None} == {kept, xtext}
    with any_host.app.app_context():
        retention.erase(any_host.state.database, "eve+crm@firm.example", now=clock.now())
    assert not reports(any_host)  # its message was with that address
    with any_host.app.app_context(), any_host.state.database.reading() as connection:
        assert "eve+" not in repr(connection.execute(sa.select(RECIPIENT)).all())


def test_no_more_than_a_hundred_reports_of_one_message_are_kept(host: Host) -> None:
    """Somebody who has a message can write any number of them; states still change."""
    notification = sent(host, ["bob"])
    for number in range(102):
        take(host, about(notification, BOB, "delayed", number=number))
    assert len(reports(host)) == 100
    take(host, about(notification, BOB, "failed", number=200))
    assert statuses(host, notification) == {BOB: "bounced"}


# -- the command -----------------------------------------------------------------------


def process(terminal: Commands, tmp_path: Path, url: str, content: bytes, *more: str) -> Said:
    """What a mail server runs."""
    (tmp_path / "mail_host.py").write_text(_HOST)
    line = (*_COMMAND, *more)
    (said,) = terminal.flask(line, at=tmp_path, typed=content.decode(), DATABASE=url)
    return said


def test_a_mail_server_learns_what_to_do_from_the_exit_status(
    host: Host, terminal: Commands, tmp_path: Path
) -> None:
    """0 for a report of ours, 65 for what has to stay, 75 where it should try again."""
    notification, url = sent(host), str(host.app.config["SQLALCHEMY_DATABASE_URI"])
    first = process(terminal, tmp_path, url, about(notification, BOB))
    assert (first.status, first.out, first.err) == (0, "1 reports noted\n", "")
    assert statuses(host, notification) == {BOB: "bounced", EVE: "sent"}
    again = process(terminal, tmp_path, url, about(notification, BOB) + b"x" * 1_000_000)
    assert (again.status, again.out) == (0, "1 known already\n")
    foreign = process(terminal, tmp_path, url, b"Subject: hello\n\nHello", "--json")
    assert (foreign.status, foreign.json) == (65, {"outcome": "foreign"})
    away = process(
        terminal, tmp_path, f"sqlite:///{tmp_path}/none.sqlite", about(notification, EVE)
    )
    assert away.status == 75
    assert "Traceback" not in away.err
    assert "not now" in away.err


def test_a_command_without_any_input_has_a_message_of_nobody(host: Host, tmp_path: Path) -> None:
    """Its standard input is closed, as some servers start what they run in the background."""
    (tmp_path / "mail_host.py").write_text(_HOST)
    said = subprocess.run(
        ["sh", "-c", 'exec "$0" -m flask "$@" <&-', sys.executable, *_COMMAND],
        cwd=tmp_path,
        env={**os.environ, "DATABASE": str(host.app.config["SQLALCHEMY_DATABASE_URI"])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (said.returncode, said.stdout, said.stderr) == (
        65,
        "1 about no message of this application, and left where they were\n",
        "",
    )


@pytest.fixture
def maildir(tmp_path: Path) -> Path:
    for name in ("new", "cur", "tmp"):
        (tmp_path / "Maildir" / name).mkdir(parents=True)
    return tmp_path / "Maildir"


def noted_in(maildir: Path) -> list[str]:
    return sorted(path.name for path in (maildir / NOTED / "cur").glob("*"))


def test_a_maildir_is_read_and_what_is_not_ours_stays(host: Host, maildir: Path) -> None:
    """Reports of ours are moved to a folder of their own; the rest is where it was."""
    notification = sent(host)
    (maildir / "new" / "1.a").write_bytes(about(notification, BOB))
    (maildir / "cur" / "2.b:2,RS").write_bytes(about(notification, EVE, "delivered", number=2))
    (maildir / "new" / "3.c").write_bytes(report("<1@elsewhere.example>", BOB))
    (maildir / "new" / "4.d").write_bytes(b"Content-Type: message/rfc822\n\n" * 9000)
    (maildir / "new" / "5.e").write_bytes(automatic_reply(str(notification.message_id)))
    (maildir / "new" / "6.f").symlink_to(maildir / "nowhere")
    expected = {"noted": 2, "known": 0, "replies": 1, "foreign": 1, "unreadable": 1}
    assert done(host, "bounces", "read", "--maildir", str(maildir), "--json").json == expected
    assert statuses(host, notification) == {BOB: "bounced", EVE: "delivered"}
    assert noted_in(maildir) == ["1.a:2,S", "2.b:2,RS"]
    left = sorted(path.name for name in ("new", "cur") for path in (maildir / name).iterdir())
    assert left == ["3.c", "4.d", "5.e", "6.f"]
    said = done(host, "bounces", "read", "--maildir", str(maildir)).out
    assert "3 messages" in said
    assert len(reports(host)) == 3


def test_a_crash_between_note_and_move_leaves_one_note(
    host: Host, maildir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What could not be moved is known the next time, and moved then."""
    notification = sent(host)
    (maildir / "new" / "1.a").write_bytes(about(notification, BOB))

    def stopped(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(bounces.maildir, "put_away", stopped)
        said = done(host, "bounces", "read", "--maildir", str(maildir))
    assert "stays where it is: No space left" in said.err
    found = done(host, "bounces", "read", "--maildir", str(maildir), "--json").json
    assert (found["noted"], found["known"]) == (0, 1)
    assert len(reports(host)) == 1
    assert noted_in(maildir) == ["1.a:2,S"]


def test_processes_that_read_one_maildir_share_it_and_one_may_be_killed(
    any_host: Host, maildir: Path, terminal: Commands, tmp_path: Path
) -> None:
    """Three begin at once, one is killed, one comes later: each report is noted once."""
    notification = sent(any_host, [f"p{number}" for number in range(40)])
    for number in range(40):
        address = f"p{number}@firm.example"
        content = about(notification, address, number=number)
        (maildir / "new" / f"{number:03}.x").write_bytes(content)
    url = str(any_host.app.config["SQLALCHEMY_DATABASE_URI"])
    (tmp_path / "mail_host.py").write_text(_HOST)
    command = [sys.executable, "-m", "flask", *_COMMAND, "--maildir", str(maildir)]
    environment = {**os.environ, "DATABASE": url, "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    running = [
        subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL)
        for _ in range(3)
    ]
    try:
        while not noted_in(maildir) and running[0].poll() is None:
            threading.Event().wait(0.005)
        running[0].kill()
        assert [one.wait(120) for one in running[1:]] == [0, 0]
    finally:
        for one in running:
            one.kill()
            one.wait()
    assert process(terminal, tmp_path, url, b"", "--maildir", str(maildir)).status == 0
    assert set(statuses(any_host, notification).values()) == {"bounced"}
    assert len(reports(any_host)) == len(noted_in(maildir)) == 40


def test_what_is_no_maildir_is_said(host: Host, tmp_path: Path) -> None:
    """Before anything is read."""
    said = run(host, "bounces", "read", "--maildir", str(tmp_path))
    assert said.status == 1
    assert "is no maildir" in said.err


def test_show_names_the_report(host: Host) -> None:
    """Beside the reply, for people and programs; *list* finds it by its state."""
    notification = sent(host)
    take(host, about(notification, BOB))
    shown = done(host, "outbox", "show", str(notification.id), "--json").json
    assert [one["status"] for one in shown["recipients"]] == ["bounced", "sent"]
    assert shown["recipients"][0]["report"] == "5.1.1 550 5.1.1 no such user"
    assert "no such user" in done(host, "outbox", "show", str(notification.id)).out
    listed = done(host, "outbox", "list", "--status", "bounced", "--json").json
    assert [uuid.UUID(one["id"]) for one in listed] == [notification.id]
