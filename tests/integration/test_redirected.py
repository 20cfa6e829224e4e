"""A request that reached nobody goes to the default To, once; addresses that do not exist."""

from __future__ import annotations

import email
import re
import threading
from collections.abc import Sequence
from datetime import timedelta
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from flask_interaction_mail import (
    Merge,
    Notification,
    Party,
    cancel_notification,
    clock,
    get_notification,
    notification_queued,
    operations,
    request_merge,
    send_notification,
)
from flask_interaction_mail.merges import complete_merge
from flask_interaction_mail.monitoring import alerts
from flask_interaction_mail.outbox import dead_addresses, retention
from flask_interaction_mail.outbox.conditions import AlertName
from flask_interaction_mail.storage.tables import DEAD, DELIVERY, MESSAGE, REPORT
from tests import outbox_rows
from tests.catcher import Catcher
from tests.host import ADA, STEWARDS, Host, a_merge, opened
from tests.reports import report
from tests.servers.scripted import OK, Action, Peer, scripted
from tests.terminal import done, run

BOB, EVE, DESK = "bob@firm.example", "eve@firm.example", "merge-desk@firm.example"
GROUP = "stewards@firm.example"
DAY = timedelta(days=1)
pytestmark = pytest.mark.usefixtures("catcher")  # which gets the mail of each host


def queued(host: Host, *to: str, **others: Any) -> Notification:
    values: dict[str, Any] = {"text": "Please act.", "html": "<body>Please act.", **others}
    with host.app.app_context():
        notification = send_notification(
            list(to), "Hello", kind=values.pop("kind", "request"), **values
        )
        host.db.session.commit()
        return notification


def sent(host: Host, *to: str, **others: Any) -> Notification:
    notification = queued(host, *to, **others)
    host.dispatcher().drain()
    return notification


def asked(host: Host, merge: Merge | None = None) -> Notification:
    with host.app.app_context():
        notification = request_merge(merge or a_merge(requester=ADA))
        assert notification is not None
    host.dispatcher().drain()
    return notification


def now(host: Host, id: object) -> Notification:
    with host.app.app_context():
        found = get_notification(id=id)  # type: ignore[arg-type]
    assert found is not None
    return found


def take(host: Host, notification: Notification, *to: str, number: int = 1, **more: Any) -> None:
    action, edit = more.pop("action", "failed"), more.pop("edit", bytes)
    for recipient in to:
        content = report(str(notification.message_id), recipient, action, number=number, **more)
        with host.app.app_context():
            operations.take_report(host.state, edit(content))


def others(host: Host, *of: Notification) -> list[Any]:
    """The rows of all messages but these."""
    return [row for row in host.rows() if row.id not in {one.id for one in of}]


def is_lost(host: Host) -> bool:
    with host.app.app_context():
        return AlertName.LOST in alerts.health(host.state).holding


def parts(content: bytes) -> tuple[EmailMessage, str, str]:
    mail = email.message_from_bytes(content, policy=default)
    assert isinstance(mail, EmailMessage)
    plain, markup = mail.get_body(("plain",)), mail.get_body(("html",))
    assert plain is not None
    assert markup is not None
    return mail, plain.get_content(), markup.get_content()


# -- to the default To --------------------------------------------------------------------


def test_r34_a_request_that_came_back_from_all_goes_to_the_default_to(
    any_host: Host, catcher: Catcher
) -> None:
    """Once, as an answer to the old one, the reason first; while somebody has it, nothing."""
    first = sent(any_host, BOB, EVE, key="import-7", metadata={"case": "7"})
    take(any_host, first, BOB)
    assert others(any_host, first) == []
    take(any_host, first, EVE, diagnostic="smtp; 550 5.7.1 <b>no</b>")
    (row,) = others(any_host, first)
    assert (row.resend_of, row.actor) == (first.id, str(ADA.id))
    any_host.dispatcher().drain()
    mail, text, markup = parts(catcher.mails[-1].content)
    assert [one.addr_spec for one in mail["To"].addresses] == [DESK]
    assert (mail["Subject"], mail["In-Reply-To"]) == ("Hello", first.message_id)
    assert text.startswith("This request has reached nobody")
    assert text.index(BOB) < text.index(EVE) < text.index("Please act.")
    assert "&lt;b&gt;no&lt;/b&gt;" in markup
    assert markup.index("reached nobody") < markup.index("Please act.")
    # The old key means the old one, which names the new one.
    with any_host.app.app_context():
        same = send_notification([BOB], "Hello", text="x", kind="request", key="import-7")
    assert same.id == first.id
    assert same.redirected_as == row.id
    assert "reached nobody" in now(any_host, row.id).route[0]
    for number in (1, 2):  # the same reports, and others that say the same
        take(any_host, first, BOB, EVE, number=number)
    assert len(others(any_host, first)) == 1
    assert not is_lost(any_host)


def test_two_reports_at_the_same_moment_make_one_message(any_host: Host) -> None:
    """Whoever notes the last one makes it."""
    first = sent(any_host, BOB, EVE)
    start = threading.Barrier(4)

    def read_it(recipient: str, number: int) -> None:
        start.wait()
        take(any_host, first, recipient, number=number)

    threads = [
        threading.Thread(target=read_it, args=(recipient, number))
        for recipient in (BOB, EVE)
        for number in (1, 2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(others(any_host, first)) == 1


def test_a_crash_in_the_middle_leaves_nothing_behind(
    any_host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The report and the new message are stored together, or both the next time."""
    first, real = sent(any_host, BOB), operations.redirect

    def killed(*args: Any) -> None:
        real(*args)
        raise KeyboardInterrupt

    monkeypatch.setattr(operations, "redirect", killed)
    with pytest.raises(KeyboardInterrupt):
        take(any_host, first, BOB)
    with any_host.state.database.reading() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(REPORT)) == 0
    assert others(any_host, first) == []
    monkeypatch.undo()
    take(any_host, first, BOB)
    assert len(others(any_host, first)) == 1


def test_a_request_that_is_refused_at_once_goes_there_as_well(host: Host, catcher: Catcher) -> None:
    """Also where one was refused and the other returned; the key stays taken."""
    catcher.refuse, heard = {BOB: "550 5.1.1 unknown"}, list[Any]()

    def hear(_: object, notification: Notification) -> None:
        heard.append(notification.id)

    recording = host.messaging.record(host.app)
    with notification_queued.connected_to(hear, host.app), recording as recorded:
        alone, both = sent(host, BOB, key="k"), sent(host, BOB, EVE)
        host.dispatcher().drain()
    (row,) = others(host, alone, both)
    assert [message.id for message in recorded] == [alone.id, row.id, both.id]
    assert {*heard} == {alone.id, both.id, row.id}  # as each message that was stored
    assert (row.resend_of, row.status) == (alone.id, "sent")
    with host.app.app_context():
        assert send_notification([BOB], "x", text="x", key="k").id == row.id
    take(host, both, EVE)
    assert {row.resend_of for row in others(host, alone, both)} == {alone.id, both.id}


@pytest.mark.parametrize("first_of_all", ["returned", "given up"])
def test_what_was_returned_and_given_up_goes_there_in_either_order(
    host: Host, catcher: Catcher, first_of_all: str
) -> None:
    """It came back from one, and a server never took it for the other."""
    catcher.refuse = {EVE: "450 4.2.0 later"}
    first = sent(host, BOB, EVE)
    if first_of_all == "returned":
        take(host, first, BOB)
    with host.state.database.writing() as connection:
        outbox_rows.change(connection, first.id, attempts=200, due_at=clock.now())
    host.dispatcher().drain()
    if first_of_all == "given up":
        take(host, first, BOB)
    assert sorted(row.source for row in others(host, first)) == ["notice", "redirect"]


def test_a_copy_of_what_went_there_is_no_second_one(host: Host) -> None:
    """Somebody has sent it on by hand."""
    first = sent(host, BOB)
    take(host, first, BOB)
    host.dispatcher().drain()
    (row,) = others(host, first)
    with host.app.app_context():
        copy = operations.resend(host.state, row.id, to=EVE, by="Ada")
        assert not cancel_notification(id=row.id)
    assert now(host, first.id).redirected_as == row.id
    assert now(host, row.id).redirected_as is None
    assert now(host, copy.id).status == "queued"


def test_a_report_that_is_faster_than_our_own_record_counts(host: Host) -> None:
    """It came before the message was known to have left."""
    first = queued(host, BOB)
    take(host, first, BOB)
    assert others(host, first) == []
    host.dispatcher().drain()
    assert [row.resend_of for row in others(host, first)] == [first.id]


def test_within_the_window_a_merge_request_is_the_new_message(host: Host) -> None:
    """It has pair and requester of the first one, from which the window counts."""
    first = asked(host)
    take(host, first, GROUP)
    again = asked(host)
    assert (again.id, again.status) == (now(host, first.id).redirected_as, "queued")
    old, new = host.rows()
    assert (old.pair, old.actor) == (new.pair, new.actor)
    passed = host.state.config.request_window + timedelta(minutes=1)
    with host.state.database.writing() as connection:
        outbox_rows.change(connection, first.id, created_at=clock.now() - passed)
    assert asked(host).id not in (first.id, again.id)


@pytest.mark.parametrize("how", ["merge", "cancel", "notification"])
def test_nobody_is_asked_in_vain(host: Host, how: str) -> None:
    """Not once the contacts are merged or the request is called back, and not for information."""
    first = sent(host, BOB, kind="notification") if how == "notification" else asked(host)
    with host.app.app_context():
        if how == "merge":
            complete_merge(a_merge(requester=ADA))
            host.db.session.commit()
        elif how == "cancel":
            assert not cancel_notification(id=first.id)  # it has left
    take(host, first, GROUP if how != "notification" else BOB)
    assert [row for row in others(host, first) if row.kind == "request"] == []
    assert not is_lost(host)


def test_whoever_calls_back_the_old_one_means_the_new_one(host: Host) -> None:
    """It waits, and the old one has left."""
    first = sent(host, BOB)
    take(host, first, BOB)
    with host.app.app_context():
        assert cancel_notification(id=first.id)
    assert [row.status for row in others(host, first)] == ["cancelled"]


@pytest.mark.parametrize("why", ["is default To", "came back", "was refused", "purged"])
def test_what_cannot_go_there_is_an_alert(host: Host, catcher: Catcher, why: str) -> None:
    """No message for it, and again for it, for ever; the alert ends once somebody has acted."""
    first = sent(host, DESK if why == "is default To" else BOB)
    if why == "purged":
        with host.state.database.writing() as connection:
            outbox_rows.change(connection, intent="{}", content=None)
    if why == "was refused":
        catcher.refuse = {DESK: "550 5.1.1 unknown"}
    take(host, first, DESK if why == "is default To" else BOB)
    made = others(host, first)
    assert len(made) == (why in ("came back", "was refused"))
    host.dispatcher().drain()
    if why == "came back":
        assert not is_lost(host)
        host.configure(smtp_port=catcher.port, default_to="another-desk")  # for what is new
        take(host, now(host, made[0].id), DESK, number=2)
    assert is_lost(host)
    assert len(others(host, first)) == len(made)
    if why != "purged":
        lost = made[0].id if made else first.id
        with host.app.app_context():
            operations.resend(host.state, lost, to="zoe@firm.example")
        assert not is_lost(host)


@pytest.mark.parametrize(
    ("also", "made"), [([], 1), (["delivered"], 0), (["relayed"], 0), (["delayed"], 1)]
)
def test_somebody_behind_an_address_is_not_its_owner(
    host: Host, also: Sequence[str], made: int
) -> None:
    """Where it was delivered or passed on as well, nothing is routed anew."""
    first = sent(host, BOB)
    for number, action in enumerate(also):
        take(host, first, BOB, action=action, number=number)
    take(host, first, BOB, number=7, diagnostic="smtp; 550 5.1.1 <old@elsewhere.example> gone")
    assert len(others(host, first)) == made
    with host.state.database.reading() as connection:
        assert connection.scalars(sa.select(DEAD.c.address)).all() == []
    take(host, first, BOB, number=8)  # now the owner has not got it either
    assert len(others(host, first)) == 1


def test_what_comes_back_from_the_mailbox_of_a_trial_is_about_no_recipient(
    host: Host, catcher: Catcher
) -> None:
    """All mail is diverted to it: that it is full says nothing of whom a request was for."""
    trial = "trial@firm.example"
    host.configure(smtp_port=catcher.port, divert_to=trial)
    first = sent(host, BOB)
    take(host, first, trial)
    assert [str(one.status) for one in now(host, first.id).recipients] == ["sent"]
    assert others(host, first) == []
    with host.state.database.reading() as connection:
        (note,) = connection.scalars(sa.select(REPORT.c.notes)).all()
    assert "no such user" in note


@pytest.mark.parametrize("tried_before", [False, True])
@pytest.mark.parametrize("trial", ["trial@firm.example", None])
def test_what_comes_back_before_it_is_written_down_where_it_went_is_about_no_recipient(
    any_host: Host, trial: str | None, tried_before: bool
) -> None:
    """Nobody knows yet whether it was diverted; once that is known the next one counts, or not.

    What became of an earlier attempt does not tell.
    """
    alias = "stewards@elsewhere.example"
    later: list[Action] = [b"451 4.7.1 later\r\n"] * tried_before

    def come_back_at_once(peer: Peer) -> None:
        take(any_host, first, trial or alias)
        peer.say(OK)

    with scripted({"DOT": [*later, come_back_at_once]}) as server:
        any_host.configure(smtp_port=server.port)
        first = queued(any_host, BOB)
        if tried_before:
            any_host.dispatcher().drain()
            assert now(any_host, first.id).status == "deferred"
        with any_host.state.database.writing() as connection:
            outbox_rows.change(connection, first.id, due_at=clock.now())
        any_host.configure(smtp_port=server.port, divert_to=trial)
        any_host.dispatcher().drain()
    assert [str(one.status) for one in now(any_host, first.id).recipients] == ["sent"]
    assert others(any_host, first) == []
    take(any_host, first, trial or alias, number=2)
    counts = trial is None
    assert (str(now(any_host, first.id).recipients[0].status) == "bounced") is counts
    assert len(others(any_host, first)) == counts
    with any_host.state.database.reading() as connection:
        assert len(connection.scalars(sa.select(REPORT.c.notes)).all()) == 2


def test_what_comes_back_of_an_attempt_that_nobody_wrote_down_is_about_no_recipient(
    host: Host, catcher: Catcher
) -> None:
    """Its worker was killed, so that it may have been diverted, or not."""
    trial = "trial@firm.example"
    host.configure(smtp_port=catcher.port, on_ambiguous="hold")
    first = queued(host, BOB)
    with host.state.database.writing() as connection:
        outbox_rows.change(
            connection, first.id, status="held", reason="ambiguous", due_at=None, fence=1
        )
    take(host, first, trial)
    assert [str(one.status) for one in now(host, first.id).recipients] == ["queued"]
    with host.app.app_context():
        assert host.messaging.outbox.release(first.id)
    host.dispatcher().drain()
    assert [str(one.status) for one in now(host, first.id).recipients] == ["sent"]


# -- addresses that do not exist ----------------------------------------------------------


def came_back(host: Host, *, apart: timedelta, to: str = GROUP, **more: Any) -> None:
    """Two requests to the group, of which a report says that it does not exist."""
    for number, age in enumerate((apart, timedelta(0))):
        notification = sent(host, to, kind="notification")
        with host.state.database.writing() as connection:
            outbox_rows.change(connection, notification.id, created_at=clock.now() - age)
        take(host, notification, to, number=number, **more)


def dead(host: Host) -> list[str]:
    with host.app.app_context():
        return [*operations.dead_addresses(host.state)]


@pytest.mark.parametrize(
    ("code", "is_dead"), [("5.1.1", True), ("5.1.10", True), ("5.2.1", True), ("5.1.2", False)]
)
def test_two_messages_a_day_apart_make_an_address_dead(
    host: Host, code: str, is_dead: bool
) -> None:
    """5.1.2 says that of a server that is down, too."""
    came_back(host, apart=DAY, diagnostic=f"smtp; 550 {code} no")
    assert dead(host) == ([GROUP] if is_dead else [])


def test_one_bad_day_makes_no_address_dead(any_host: Host) -> None:
    """Nor the same message twice; a report in two spellings is one."""
    came_back(any_host, apart=DAY - timedelta(minutes=5))
    assert dead(any_host) == []
    came_back(any_host, apart=DAY, to="Stewards@firm.example")
    assert dead(any_host) == [GROUP]


def test_an_accent_makes_another_address(any_host: Host) -> None:
    """One that came back once is not dead because another did, and each report is noted."""
    rene, accent = "rene@firm.example", "rené@firm.example"
    first, second = (sent(any_host, rene, accent, kind="notification") for _ in range(2))
    with any_host.state.database.writing() as connection:
        outbox_rows.change(connection, first.id, created_at=clock.now() - 2 * DAY)
    take(any_host, first, rene)
    take(any_host, second, accent)
    assert dead(any_host) == []
    take(any_host, second, rene, number=2)
    assert [one.status for one in now(any_host, second.id).recipients] == ["bounced", "bounced"]


@pytest.mark.parametrize("action", ["delayed", "delivered"])
def test_another_action_makes_no_address_dead(host: Host, action: str) -> None:
    """Whatever the code says."""
    came_back(host, apart=DAY, action=action)
    assert dead(host) == []


def test_neither_a_text_makes_it_dead_nor_a_report_that_does_not_name_it(host: Host) -> None:
    """The report's own fields count alone; the reason in its text is shown."""

    def in_text(content: bytes) -> bytes:
        said = f"{GROUP}: 550 5.1.1 no such user".encode()
        return re.sub(b"\nDiagnostic-Code.*", b"", content).replace(b"Something happened.", said)

    def nameless(content: bytes) -> bytes:
        return re.sub(b"Final-Recipient.*\n", b"", content)

    for edit in (in_text, nameless):
        came_back(host, apart=DAY, edit=edit)
        assert dead(host) == []
    with host.state.database.reading() as connection:
        notes = connection.scalars(sa.select(REPORT.c.notes)).all()
    assert all("5.1.1" in note for note in notes)


def test_requests_pass_over_a_dead_address_until_it_is_mended(any_host: Host) -> None:
    """As far as the settings want it; who said that it exists again stands in the history."""
    came_back(any_host, apart=DAY)

    def asks() -> list[str]:
        with any_host.app.app_context():
            merge = a_merge(requester=Party("X", "x", id=len(any_host.rows())))
            notification = request_merge(merge)
            named = send_notification([STEWARDS], "x", text="x", kind="request")
            any_host.db.session.rollback()
            assert notification is not None
            assert named.recipients[0].address == notification.recipients[0].address
            return [one.address for one in notification.recipients]

    assert asks() == [GROUP]
    any_host.configure(smtp_port=1, skip_dead_addresses=True)
    assert asks() == [DESK]
    assert "does not exist any more" in " ".join(now(any_host, any_host.rows()[-1].id).route)
    with any_host.app.app_context():
        assert operations.mend(any_host.state, GROUP.upper(), by="Ada")
        assert not operations.mend(any_host.state, GROUP, by="Ada")
    assert asks() == [GROUP]


def test_to_pass_over_an_address_takes_no_second_connection(tmp_path: Path) -> None:
    """Requests that each hold one would wait for each other."""
    pool = {"pool_size": 1, "max_overflow": 0, "pool_timeout": 1}
    with opened(f"sqlite:///{tmp_path}/a.sqlite", SQLALCHEMY_ENGINE_OPTIONS=pool) as host:
        host.configure(skip_dead_addresses=True)
        with host.app.app_context():
            host.db.session.execute(sa.select(host.Thing.id))
            send_notification([BOB], "Hello", text="x", kind="request")
            assert request_merge(a_merge(requester=ADA)) is not None
            host.db.session.commit()
        assert len(host.rows()) == 2


def test_somebody_may_send_to_a_dead_address_nevertheless(host: Host) -> None:
    """An administrator who names it in *Send again to* knows that it exists."""
    came_back(host, apart=DAY, to=BOB)
    host.configure(skip_dead_addresses=True)
    first = sent(host, EVE)
    with host.app.app_context():
        copy = operations.resend(host.state, first.id, to=BOB, by="Ada")
    assert [one.address for one in copy.recipients] == [BOB]


def test_the_command_lists_and_mends(host: Host) -> None:
    """With an exit status of 1 where there is nothing to mend."""
    came_back(host, apart=DAY)
    assert f"{GROUP}: 2 messages came back (5.1.1)" in done(host, "addresses", "dead").out
    assert done(host, "addresses", "dead", "--json").json[0]["messages"] == 2
    assert "exists" in done(host, "addresses", "mended", GROUP).out
    assert run(host, "addresses", "mended", GROUP).status == 1
    assert "There are none." in done(host, "addresses", "dead").out


def test_what_is_known_of_an_address_goes_with_its_messages(any_host: Host) -> None:
    """With *erase* and with the purge."""
    came_back(any_host, apart=DAY)
    with any_host.app.app_context():
        retention.erase(any_host.state.database, GROUP, now=clock.now())
    assert dead(any_host) == []
    came_back(any_host, apart=DAY)
    with any_host.state.database.writing() as connection:
        old = clock.now() - timedelta(days=1000)
        outbox_rows.change(connection, created_at=old, finished_at=old)
    operations.purge(any_host.state)
    with any_host.state.database.reading() as connection:
        for table in (DEAD, DELIVERY, MESSAGE):
            assert connection.scalar(sa.select(sa.func.count()).select_from(table)) == 0
        assert dead_addresses.read(connection) == {}
