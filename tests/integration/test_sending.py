"""The calls of a host: what is stored, what is refused, and who is asked."""

from __future__ import annotations

import email
import email.policy
import logging
import threading
import uuid
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from flask_interaction_mail import (
    AddressError,
    ContentError,
    HeaderError,
    InteractionMail,
    MessagingNotConfigured,
    NoRecipient,
    Notification,
    Party,
    Role,
    TablesMissing,
    TemplateMissing,
    cancel_notification,
    get_notification,
    notification_cancelled,
    notification_queued,
    operations,
    request_merge,
    send_notification,
)
from flask_interaction_mail.storage.tables import DELIVERY
from tests.databases import fresh_database
from tests.host import STEWARDS, Host, a_merge, opened


def send(host: Host, to: Any = "bob", subject: str = "Hello", **others: Any) -> Notification:
    """One call in an app context of its own, committed."""
    with host.app.app_context():
        notification = send_notification(to, subject, **({"text": "Hello Bob"} | others))
        host.db.session.commit()
        return notification


def content(host: Host, index: int = -1) -> EmailMessage:
    message = email.message_from_bytes(host.rows()[index].content, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


# -- storing ---------------------------------------------------------------------------


def test_r1_one_call_is_enough(any_host: Host) -> None:
    """A call and the host's commit store a message that is complete, on every database."""
    told: list[str] = []

    def hear(_: Any, notification: Notification) -> None:
        told.append(notification.status)

    with notification_queued.connected_to(hear, any_host.app), any_host.app.app_context():
        notification = send_notification(["bob", STEWARDS], "Grüße", text="Hallo", html="<p>Hallo")
        assert any_host.subjects() == []
        any_host.db.session.add(any_host.Thing(name="t"))
        any_host.db.session.commit()
        assert told == ["queued"]
        found = get_notification(notification.id)
    (row,) = any_host.rows()
    assert (row.status, row.subject, row.envelope_sender) == (
        "queued",
        "Grüße",
        "crm@firm.example",
    )
    assert any_host.recipients() == ["bob@firm.example", "stewards@firm.example"]
    assert found is not None
    assert found.message_id == notification.message_id == row.message_id
    assert [one.address for one in found.recipients] == [
        "bob@firm.example",
        "stewards@firm.example",
    ]
    assert content(any_host)["Subject"] == "Grüße"


def test_a_rollback_takes_the_notification_with_it(any_host: Host) -> None:
    """A notification belongs to the host's transaction."""
    with any_host.app.app_context():
        send_notification("bob", "gone", text="x")
        any_host.db.session.rollback()
        send_notification("bob", "kept", text="x")
        any_host.db.session.commit()
    assert any_host.subjects() == ["kept"]


def test_a_notification_that_waits_for_the_commit_can_be_found_and_called_back(host: Host) -> None:
    """Before the commit it exists for the session that carries it."""
    with host.app.app_context():
        one = send_notification("bob", "one", text="x", key="k1")
        two = send_notification("bob", "two", text="x")
        assert get_notification(one.id) == one
        assert cancel_notification("k1") is True
        assert cancel_notification(two.id) is True
        assert get_notification(two.id) is None
        host.db.session.commit()
    assert host.rows() == []


def test_a_stored_notification_can_be_called_back_by_key_or_id(any_host: Host) -> None:
    """Calling back is part of the host's transaction if one is open, else it is done at once."""
    told: list[uuid.UUID] = []

    def hear(_: Any, notification: Notification) -> None:
        told.append(notification.id)

    first = send(any_host, key="order-1")
    second = send(any_host)
    third = send(any_host)
    with notification_cancelled.connected_to(hear, any_host.app), any_host.app.app_context():
        assert cancel_notification("order-1") is True
        assert cancel_notification(first.id) is False
        any_host.db.session.rollback()
        any_host.db.session.add(any_host.Thing(name="t"))
        any_host.db.session.flush()
        assert cancel_notification(str(second.id)) is True
        any_host.db.session.commit()
        any_host.db.session.add(any_host.Thing(name="u"))
        any_host.db.session.flush()
        assert cancel_notification(third.id) is True
        any_host.db.session.rollback()
    states = {row.id: row.status for row in any_host.rows()}
    assert (states[first.id], states[second.id], states[third.id]) == (
        "cancelled",
        "cancelled",
        "queued",
    )
    assert told == [first.id, second.id]
    assert cancel_in(any_host, uuid.uuid4()) is False


def cancel_in(host: Host, id: uuid.UUID) -> bool:
    with host.app.app_context():
        return cancel_notification(id)


def test_the_same_key_is_the_same_notification(any_host: Host) -> None:
    """The first call's content counts, in the same transaction and in a later one."""
    with any_host.app.app_context():
        first = send_notification("bob", "first", text="x", key="invoice-7")
        again = send_notification("eve", "second", text="x", key="invoice-7")
        any_host.db.session.commit()
        later = send_notification("eve", "third", text="x", key="invoice-7")
        any_host.db.session.commit()
    assert first.id == again.id == later.id
    assert {first.subject, again.subject, later.subject} == {"first"}
    assert any_host.subjects() == ["first"]


def test_one_key_from_many_threads_is_one_row(any_host: Host) -> None:
    """A key that another process took meanwhile breaks nobody's commit."""
    errors: list[Exception] = []
    barrier = threading.Barrier(6)

    def work(number: int) -> None:
        barrier.wait()
        try:
            with any_host.app.app_context():
                any_host.db.session.add(any_host.Thing(name=f"t{number}"))
                send_notification("bob", "once", text="x", key="race")
                any_host.db.session.commit()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert any_host.subjects() == ["once"]


def test_an_invitation_is_sent_as_one(host: Host) -> None:
    """The other forms of a text are beside it, also when the message is sent anew."""
    invitation = "BEGIN:VCALENDAR\nMETHOD:REQUEST\nEND:VCALENDAR\n"
    first = send(host, html="<p>Come", alternatives={"text/calendar": invitation})
    with host.app.app_context():
        host.db.session.execute(
            sa.update(DELIVERY).values(status="failed", finished_at=sa.func.now())
        )
        host.db.session.commit()
        operations.resend(host.state, first.id)
    for at in (0, 1):
        calendar = list(content(host, at).iter_parts())[-1]
        assert calendar["Content-Type"] == 'text/calendar; method="REQUEST"; charset="utf-8"'
        assert calendar.get_content().replace("\r\n", "\n") == invitation


def test_date_of_scheduled_mail_is_when_it_leaves(host: Host) -> None:
    """Mail programs sort by it; a time that is over is no date of a new message."""
    at = datetime(2040, 5, 1, 12, 30, 59, 999_999, tzinfo=UTC)
    send(host, send_at=at)
    send(host, send_at=datetime.now(UTC) - timedelta(days=3))
    assert content(host, 0)["Date"].datetime == at.replace(microsecond=0)
    assert abs(content(host, 1)["Date"].datetime - datetime.now(UTC)) < timedelta(minutes=1)


def test_message_ids_are_in_the_order_of_time(host: Host) -> None:
    """So that their index grows at its end; behind the second of the Date they are random."""
    for at in (None, None, datetime.now(UTC) + timedelta(days=3)):
        send(host, send_at=at)
    found = [content(host, at) for at in range(3)]
    ids = [str(message["Message-ID"]).strip("<>").partition("@")[0] for message in found]
    assert [int(id[:8], 16) for id in ids] == [one["Date"].datetime.timestamp() for one in found]
    assert {len(id) for id in ids} == {8 + 32}
    assert len({id[8:] for id in ids}) == 3


def test_send_at_and_expires_at_are_kept(host: Host) -> None:
    """Aware times are stored as UTC; naive ones are refused by name."""
    at = datetime(2030, 1, 1, 12, tzinfo=UTC)
    send(host, send_at=at, expires_at=at + timedelta(days=1))
    (row,) = host.rows()
    assert row.due_at == datetime(2030, 1, 1, 12)  # noqa: DTZ001 - as it is stored
    assert row.expires_at == datetime(2030, 1, 2, 12)  # noqa: DTZ001 - as it is stored
    with pytest.raises(ContentError, match=r"send_at.*time zone"):
        send(host, send_at=datetime(2030, 1, 1))  # noqa: DTZ001 - the mistake


# -- recipients and addresses ----------------------------------------------------------


def test_r9_short_addresses_of_users_and_groups_are_completed(host: Host) -> None:
    """The part before the @ is enough for both."""
    send(host, [Party("Ed", "emroberts"), Party("G", "stewards", kind="group")])
    assert host.recipients() == ["emroberts@firm.example", "stewards@firm.example"]


def test_r10_a_new_domain_moves_short_addresses_at_once(host: Host) -> None:
    """Combination happens at use: the next message has the new domain."""
    send(host)
    host.configure(company_domain="new.example")
    send(host)
    assert host.recipients() == ["bob@firm.example", "bob@new.example"]


def test_r11_full_addresses_are_used_unchanged_beside_short_ones(host: Host) -> None:
    """Both forms may be mixed."""
    send(host, ["bob", "Eve@Other.example"])
    assert host.recipients() == ["Eve@other.example", "bob@firm.example"]


def test_r12_a_short_address_without_a_domain_is_an_error_that_names_it(host: Host) -> None:
    """Nothing is stored, and the text says which address."""
    host.configure(company_domain="", default_to="a@firm.example", default_from="crm@firm.example")
    with pytest.raises(AddressError, match="'bob'"):
        send(host)
    assert host.rows() == []


@pytest.mark.parametrize("to", [None, (), []])
def test_r33_nobody_named_means_the_default_to(host: Host, to: Any) -> None:
    """None and an empty sequence are served by default To, and the route says so."""
    notification = send(host, to)
    assert host.recipients() == ["merge-desk@firm.example"]
    assert "default To" in " ".join(notification.route)


def test_r33_an_administrator_without_an_address_is_served_by_the_default_to(host: Host) -> None:
    """Any correct recipient without an address is."""
    send(host, Party("Admin", None, role=Role.ADMINISTRATOR))
    assert host.recipients() == ["merge-desk@firm.example"]


@pytest.mark.parametrize("field", ["cc", "bcc"])
@pytest.mark.parametrize("to", [None, ()])
def test_copies_alone_reach_those_whom_they_name(host: Host, to: Any, field: str) -> None:
    """Nobody is added where anybody is named; To then says so (RFC 5322 §3.4)."""
    notification = send(host, to, **{field: "eve@other.example"})
    assert host.recipients() == ["eve@other.example"]
    assert "default To" not in " ".join(notification.route)
    message = content(host)
    assert message.get_all("To") == ["undisclosed-recipients:;"]
    assert message["Cc"] == ("eve@other.example" if field == "cc" else None)


def test_copies_of_a_request_without_a_recipient_are_no_reason_for_the_default_to(
    host: Host,
) -> None:
    """A request must reach somebody, and does; resending it comes to the same."""
    first = send(host, None, kind="request", bcc=["eve@other.example", "bob"])
    with host.app.app_context():
        assert cancel_notification(first.id)
        operations.resend(host.state, first.id)
    assert host.recipients() == ["bob@firm.example"] * 2 + ["eve@other.example"] * 2


def test_copies_alone_need_no_default_to(tmp_path: Path) -> None:
    """Where MAIL_* are all the settings there are, there is none."""
    config = {"MAIL_SERVER": "mail.firm.example", "MAIL_DEFAULT_SENDER": "crm@firm.example"}
    with opened(f"sqlite:///{tmp_path}/host.sqlite", **config) as host:
        send(host, None, bcc="eve@other.example")
        assert host.recipients() == ["eve@other.example"]


def test_a_suppressed_recipient_leaves_an_empty_to(host: Host) -> None:
    """Whom nothing is sent to stands in no header, and the copies still go out."""
    send(host, Party("Pat", "pat", role=Role.PROFESSIONAL), cc="bob")
    message = content(host)
    assert (message["To"], message["Cc"]) == ("undisclosed-recipients:;", "bob@firm.example")


@pytest.mark.parametrize("to", ["", "a@b@c", "two words@x", ["bob", ""], "bo\nb", "<bob"])
def test_an_address_that_is_none_is_refused_at_the_call(host: Host, to: Any) -> None:
    """Nothing is stored in part."""
    with pytest.raises(AddressError):
        send(host, to)
    assert host.rows() == []


@pytest.mark.parametrize("end", ["\xa0", "\t", "\n", "\u200b"])
def test_an_address_of_the_host_is_cleaned_as_that_of_a_form_is(host: Host, end: str) -> None:
    """What an import left at its end is no reason to write to the default To instead."""
    host.people.user = Party("Eve", f"eve{end}")
    host.people.mergers = {"Firm List": [Party("Stewards", f"stewards{end}", kind="group")]}
    with host.app.app_context():
        request_merge(a_merge())
    send(host, f"bob@firm.example{end}")
    assert host.recipients() == ["bob@firm.example", "stewards@firm.example"]
    assert [content(host, at)["From"] for at in (0, 1)] == ["Eve <eve@firm.example>"] * 2


def test_the_default_from_is_shown_with_its_name(tmp_path: Path) -> None:
    """The name in MAIL_DEFAULT_SENDER, until another is saved; one that is saved empty is none."""
    config = {
        "MAIL_SERVER": "mail.firm.example",
        "MAIL_DEFAULT_SENDER": ("Acme Support", "crm@firm.example"),
    }
    with opened(f"sqlite:///{tmp_path}/host.sqlite", **config) as host:
        host.people.user = None
        send(host, "bob@firm.example")
        host.configure(default_from_name="Acme Desk")
        send(host, "bob")
        host.configure(default_from_name="")
        send(host, "bob")
        shown = [content(host, at)["From"] for at in range(3)]
    address = "crm@firm.example"
    assert shown == [f"Acme Support <{address}>", f"Acme Desk <{address}>", address]


def test_r6_an_ineligible_recipient_of_a_notification_is_suppressed(host: Host) -> None:
    """A professional without the desktop client is recorded, and not mailed."""
    somebody = Party("Pat", "pat", role=Role.PROFESSIONAL)
    notification = send(host, somebody)
    assert (notification.status, notification.reason) == ("suppressed", "ineligible")
    mixed = send(host, [somebody, "bob"])
    assert {one.address: one.status for one in mixed.recipients} == {
        "pat@firm.example": "suppressed",
        "bob@firm.example": "queued",
    }
    assert content(host)["To"] == "bob@firm.example"


def test_r6_a_request_to_somebody_ineligible_goes_to_the_default_to(host: Host) -> None:
    """Somebody must act."""
    notification = send(host, Party("Sec", "sec", role=Role.SECRETARY), kind="request")
    assert [one.address for one in notification.recipients] == ["merge-desk@firm.example"]
    assert "desktop client" in " ".join(notification.route)


def test_r2_a_host_has_kinds_of_its_own(host: Host) -> None:
    """Request and notification are not the only words."""
    assert send(host, kind="digest").kind == "digest"
    with pytest.raises(ContentError, match="kind"):
        send(host, kind="no such, kind")


# -- who sends -------------------------------------------------------------------------


def test_r38_from_is_the_current_user_at_the_time_of_the_call(host: Host) -> None:
    """A queued message keeps it, whoever is logged in later."""
    send(host)
    host.people.user = None
    message = content(host)
    assert message["From"] == "Ada Byron <ada@firm.example>"
    assert message["Sender"] == "crm@firm.example"
    assert host.rows()[0].envelope_sender == "crm@firm.example"


def test_r41_the_policy_default_from_covers_every_message(host: Host) -> None:
    """Even one whose caller names a sender; the person stays reachable."""
    host.configure(from_policy="default_from")
    send(host, sender=Party("Bob", "bob"))
    message = content(host)
    assert message["From"] == "crm@firm.example"
    assert message["Reply-To"] == "Bob <bob@firm.example>"
    assert message["Sender"] is None


def test_r42_no_user_at_all_sends_from_the_default(host: Host) -> None:
    """A job, or a command, or a user without an address."""
    for user in (None, Party("No Mail", None)):
        host.people.user = user
        send(host)
        assert content(host)["From"] == "crm@firm.example"
        assert content(host)["Reply-To"] is None


def test_a_broken_directory_is_no_answer(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    """Raising, or rubbish, is logged by its name, and the message goes out."""
    host.people.current_user = lambda: 1 / 0  # type: ignore[method-assign]
    send(host)
    host.people.current_user = lambda: "Ada"  # type: ignore[method-assign]
    send(host)
    assert content(host)["From"] == "crm@firm.example"
    assert "Directory.current_user raised" in caplog.text
    assert "Directory.current_user answered str" in caplog.text


# -- bad input -------------------------------------------------------------------------


def test_r3_r4_before_configuration_nothing_is_sent(tmp_path: Path) -> None:
    """No fall-back to localhost: a typed error that says what is missing."""
    with opened(f"sqlite:///{tmp_path}/empty.sqlite") as host:
        with pytest.raises(MessagingNotConfigured, match="an SMTP server and a default From"):
            send(host)
        assert host.rows() == []


def test_r35_no_default_to_is_an_error(tmp_path: Path) -> None:
    """Possible only where the panel's rules do not apply."""
    overrides = {"smtp_server": "mail", "default_from": "crm@firm.example"}
    url = f"sqlite:///{tmp_path}/host.sqlite"
    with (
        opened(url, INTERACTION_MAIL_OVERRIDES=overrides) as host,
        pytest.raises(NoRecipient, match="default To"),
    ):
        send(host, None)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"subject": "a\r\nBcc: x@y.example"}, HeaderError),
        ({"subject": "a\x00b"}, HeaderError),
        ({"headers": {"X-A": "b\nBcc: x"}}, HeaderError),
        ({"headers": {"Bcc": "x@y.example"}}, HeaderError),
        ({"headers": {"X A": "b"}}, HeaderError),
        ({"to": Party("Bob\r\nBcc: x", "bob")}, HeaderError),
        ({"cc": "x y@z"}, AddressError),
        ({"reply_to": "@"}, AddressError),
        ({"sender": "@"}, AddressError),
        ({"text": None}, ContentError),
        ({"template": "merge_request"}, ContentError),
        ({"text": None, "template": "no_such"}, TemplateMissing),
        ({"attachments": ["/etc/passwd"]}, TypeError),
        ({"attachments": [("a.txt", "text/plain", "/etc/passwd")]}, TypeError),
        ({"key": ""}, ContentError),
        ({"key": "k" * 256}, ContentError),
        ({"to": [7]}, TypeError),
    ],
)
def test_every_argument_is_checked_at_the_call(
    host: Host, arguments: dict[str, Any], error: type[Exception]
) -> None:
    """The error names the culprit; the host's transaction goes on, and nothing is queued."""
    with host.app.app_context():
        host.db.session.add(host.Thing(name="t"))
        with pytest.raises(error):
            send_notification(**({"to": "bob", "subject": "s", "text": "t"} | arguments))
        host.db.session.commit()
        assert host.db.session.query(host.Thing).count() == 1
    assert host.rows() == []


def test_missing_tables_are_an_error_at_the_call(tmp_path: Path) -> None:
    """On PostgreSQL a statement would have broken the host's transaction."""
    with opened(f"sqlite:///{tmp_path}/host.sqlite") as host, host.app.app_context():
        host.db.drop_all()
        with pytest.raises(TablesMissing, match="flask db upgrade"):
            send_notification("bob", "s", text="t")


def test_without_the_extension_the_call_says_what_to_do() -> None:
    """No bare KeyError."""
    from flask import Flask

    with Flask("x").app_context(), pytest.raises(RuntimeError, match="init_app"):
        send_notification("bob", "s", text="t")


# -- templates and suppression ---------------------------------------------------------


def test_a_template_of_the_host_wins(tmp_path: Path) -> None:
    """Text and HTML by name, HTML escaped, the subject in one line."""
    folder = tmp_path / "templates" / "interaction_mail" / "mail"
    folder.mkdir(parents=True)
    (folder / "hello.subject.txt").write_text("Hello\n{{ name }}\n")
    (folder / "hello.txt").write_text("Dear {{ name }}\n")
    (folder / "hello.html").write_text("<p>Dear {{ name }}</p>")
    with opened(f"sqlite:///{tmp_path}/host.sqlite") as host:
        host.configure()
        host.app.template_folder = str(tmp_path / "templates")
        with host.app.app_context():
            name = "<b>Bob</b>"
            notification = send_notification("bob", template="hello", context={"name": name})
            host.db.session.commit()
        assert notification.subject == "Hello <b>Bob</b>"
        plain, html = content(host).iter_parts()
        assert isinstance(plain, EmailMessage)
        assert isinstance(html, EmailMessage)
        assert plain.get_content().strip() == "Dear <b>Bob</b>"
        assert "&lt;b&gt;" in html.get_content()


def test_suppressed_sending_is_never_called_sent(tmp_path: Path) -> None:
    """MAIL_SUPPRESS_SEND, by default TESTING: queued and marked, with its content."""
    with opened(f"sqlite:///{tmp_path}/host.sqlite", TESTING=True) as host:
        host.configure()
        notification = send(host)
        assert (notification.status, notification.reason) == ("suppressed", "testing")
        assert notification.recipients[0].status == "suppressed"
        host.app.config["MAIL_SUPPRESS_SEND"] = False
        assert send(host).status == "queued"


def test_r22_settings_saved_elsewhere_are_in_force_at_the_next_message(tmp_path: Path) -> None:
    """Two applications on one database stand for two processes."""
    url = f"sqlite:///{tmp_path}/host.sqlite"
    with opened(url) as web, opened(url) as job:
        web.configure()
        send(job)
        web.configure(default_from="other")
        send(job)
        assert [row.envelope_sender for row in job.rows()] == [
            "crm@firm.example",
            "other@firm.example",
        ]


def test_each_message_of_a_transaction_has_its_own_recipients(any_host: Host) -> None:
    """Alone, several at once, and several with keys: none gets those of another, none is lost."""
    host, expected = any_host, []
    for count, keyed in ((1, 0), (3, 0), (1, 1), (0, 2), (2, 2)):
        with host.app.app_context():
            for number in range(count + keyed):
                names = [f"{one}{len(expected)}" for one in "ab"]
                key = f"k{len(expected)}" if number < keyed else None
                send_notification(names, "s", text="t", cc="boss", key=key)
                expected.append([f"{one}@firm.example" for one in (*names, "boss")])
            host.db.session.commit()
    with host.app.app_context():
        stored = [get_notification(row.id) for row in host.rows()]
    assert [[one.address for one in each.recipients] for each in stored if each] == expected


def test_the_settings_are_read_once_in_a_transaction(any_host: Host) -> None:
    """A savepoint is part of it; the next transaction looks again."""
    host, looks = any_host, []
    with host.app.app_context():

        @sa.event.listens_for(host.db.engine, "before_cursor_execute")
        def look(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
            if "FROM interaction_mail_settings" in statement:
                looks.append(statement)

        for _ in range(2):
            looks.clear()
            send_notification("bob", "a", text="t")
            with host.db.session.begin_nested():
                send_notification("bob", "b", text="t")
            send_notification("bob", "c", text="t")
            host.db.session.commit()
            assert looks  # at first the newest revision is read as well as looked for
        assert len(looks) == 1
    assert host.subjects() == ["a", "a", "b", "b", "c", "c"]


def test_what_this_process_saves_counts_within_a_transaction(host: Host) -> None:
    """The settings are read once in a transaction, unless they are changed right here."""
    with host.app.app_context():
        send_notification("bob", "before", text="t")
        host.configure(default_from="other")
        send_notification("bob", "after", text="t")
        host.db.session.commit()
    assert {row.subject: row.envelope_sender for row in host.rows()} == {
        "before": "crm@firm.example",
        "after": "other@firm.example",
    }


def test_r36_resending_routes_again(host: Host) -> None:
    """A new message that names the old one, by today's settings."""
    first = send(host, Party("Nobody yet", None))
    host.configure(default_to="elsewhere", from_policy="default_from")
    with host.app.app_context():
        assert cancel_notification(first.id)
        second = operations.resend(host.state, first.id)
    assert [one.address for one in second.recipients] == ["elsewhere@firm.example"]
    row = host.rows()[-1]
    assert (row.resend_of, row.status) == (first.id, "queued")
    assert row.message_id != host.rows()[0].message_id
    with host.app.app_context(), pytest.raises(LookupError):
        operations.resend(host.state, uuid.uuid4())


def test_receivers_that_raise_change_nothing(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    """The commit stands, the others hear, the log has it."""
    heard: list[str] = []

    def broken(_: Any, **__: Any) -> None:
        raise ValueError("receiver")

    def fine(_: Any, notification: Notification) -> None:
        heard.append(notification.subject)

    with (
        caplog.at_level(logging.ERROR),
        notification_queued.connected_to(broken, host.app),
        notification_queued.connected_to(fine, host.app),
    ):
        send(host)
    assert heard == ["Hello"]
    assert "a receiver of notification-queued raised" in caplog.text
    assert host.subjects() == ["Hello"]


@pytest.mark.parametrize("ours_first", [False, True])
def test_an_error_handler_reports_a_statement_that_failed(tmp_path: Path, ours_first: bool):
    """Set up in either order, and with PostgreSQL's transaction unusable: the report leaves."""
    with fresh_database("postgresql", tmp_path) as url, opened(url) as host:
        host.configure()
        app = host.app if not ours_first else _ours_first(host)
        app.errorhandler(500)(
            lambda _error: (send_notification("ops", "Report", text="x").kind, 500)
        )

        @app.get("/")
        def view() -> str:
            send_notification("bob", "Never", text="It was not done.")
            host.db.session.execute(sa.text("SELECT nothing FROM nowhere"))
            return "done"

        assert app.test_client().get("/").data == b"notification"
        assert host.subjects() == ["Report"]
        with app.app_context():
            host.db.engine.dispose()


def _ours_first(host: Host) -> Flask:
    app = Flask("other")
    app.config.update(host.app.config)
    InteractionMail(db=host.db, directory=host.people).init_app(app)
    host.db.init_app(app)
    return app


def test_signals_tell_of_suppressed_messages_too(tmp_path: Path) -> None:
    """Of one that the application suppresses, and of its resend."""
    told: list[Notification] = []

    def hear(_: object, notification: Notification) -> None:
        told.append(notification)

    with opened(f"sqlite:///{tmp_path}/host.sqlite", TESTING=True) as host:
        host.configure()
        with notification_queued.connected_to(hear, host.app), host.app.app_context():
            first = send_notification("bob", "Hello", text="Hello")
            assert told == []  # nothing is told before the commit
            host.db.session.commit()
            operations.resend(host.state, first.id)
    assert [(one.status, one.reason) for one in told] == [("suppressed", "testing")] * 2
    assert told[0].id == first.id
