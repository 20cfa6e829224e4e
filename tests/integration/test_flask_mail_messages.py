"""What Flask-Mail takes is taken here, and cleaned; docs/flask-mail.md names what is different."""

from __future__ import annotations

import email
import email.policy
import logging
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from flask_mail import Attachment, BadHeaderError, Mail, Message

from flask_interaction_mail import AddressError, HeaderError
from tests.host import Host, opened


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with opened(f"sqlite:///{tmp_path_factory.mktemp('host')}/host.sqlite") as host:
        host.configure()
        yield host


def _message(**values: Any) -> Message:
    return Message(**({"subject": "Hi", "recipients": ["ada@firm.example"], "body": "x"} | values))


def _sent(host: Host, **values: Any) -> EmailMessage:
    """What leaves, of a message of these values."""
    with host.app.app_context():
        Mail().send(_message(**values))
    return _newest(host)


def _newest(host: Host) -> EmailMessage:
    message = email.message_from_bytes(host.rows()[-1].content, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


def _text_of(part: Any) -> str:
    return str(part.get_content()).strip()


# -- a sender that cannot be used ------------------------------------------------------


@pytest.mark.parametrize(
    ("sender", "reply_to"),
    [
        ("no-reply@localhost", "no-reply@localhost"),
        (("Shop", "no-reply@localhost"), "Shop <no-reply@localhost>"),
        ("Shop <no-reply@localhost>", "Shop <no-reply@localhost>"),
        ("Jürgen <jürgen@localhost>", None),
        ("Shop Support", None),
        ("no-reply@127.0.0.1", None),
        ("support@firm.example, info@firm.example", None),
        ("eve@else.example <ada@firm.example>", None),
        ("<>", None),
    ],
)
def test_a_sender_that_cannot_be_used_gives_way_to_the_default_from(
    shared: Host, sender: Any, reply_to: str | None
) -> None:
    """A password reset leaves, whatever an extension thinks that the sender is."""
    message = _sent(shared, sender=sender)

    assert message["From"] == "crm@firm.example"
    assert message["Reply-To"] == reply_to
    assert "from_host_unusable" in shared.rows()[-1].route


def test_a_reply_to_of_the_message_stays_beside_a_sender_that_cannot_be_used(shared: Host) -> None:
    """The author said where answers go."""
    message = _sent(shared, sender="no-reply@localhost", reply_to="desk@firm.example")
    assert message["Reply-To"] == "desk@firm.example"


# -- what is cleaned -------------------------------------------------------------------


def test_tabs_become_blanks(shared: Host) -> None:
    """In a subject, in names, in header values, in the name of a file."""
    message = _sent(
        shared,
        subject="Two\twords",
        recipients=[("Ada\tByron", "ada@firm.example")],
        cc=["Bob\tBell <bob@firm.example>"],
        extra_headers={"X-Tag": "a\tb"},
        attachments=[Attachment("a\tb.txt", "text/plain", b"x")],
    )

    assert (message["Subject"], message["X-Tag"]) == ("Two words", "a b")
    assert (message["To"], message["Cc"]) == (
        "Ada Byron <ada@firm.example>",
        "Bob Bell <bob@firm.example>",
    )
    assert [one.get_filename() for one in message.iter_attachments()] == ["a b.txt"]


@pytest.mark.parametrize("subject", ["word " * 400 + "end", "x" * 1500, "ä" * 1200])
def test_a_long_subject_arrives_whole(shared: Host, subject: str) -> None:
    """It is folded on the wire; the outbox shows its beginning."""
    message = _sent(shared, subject=subject)

    assert message["Subject"].replace(" ", "") == subject.replace(" ", "")
    assert shared.rows()[-1].subject == subject[:998]
    assert all(len(line) <= 998 for line in shared.rows()[-1].content.split(b"\r\n"))


def test_a_blank_recipient_is_left_out(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    """The others get the message, and the log says who has no address."""
    with caplog.at_level(logging.WARNING):
        _sent(
            host,
            recipients=["ada@firm.example", "", " ", ("Bob", "")],
            cc=[""],
            bcc=["eve@firm.example"],
        )

    assert host.recipients() == ["ada@firm.example", "eve@firm.example"]
    assert "'Bob'" in caplog.text
    with host.app.app_context(), pytest.raises(AddressError, match="None of the recipients"):
        Mail().send(_message(recipients=["", " "]))


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("text/html;", "text/html"),
        ("text/html ; ", "text/html"),
        ("text/plain;\tcharset=utf-8;", "text/plain"),
        ("application/pdf; name=a b.pdf", "application/pdf"),
        ("application/pdf; charset", "application/pdf"),
        ("IMAGE/PNG", "image/png"),
    ],
)
def test_an_untidy_content_type_is_tidied(shared: Host, given: str, kept: str) -> None:
    """What cannot be read of it goes."""
    message = _sent(shared, attachments=[Attachment("a", given, b"%PDF")])
    assert [one.get_content_type() for one in message.iter_attachments()] == [kept]


@pytest.mark.parametrize("header", ["Content-Language", "Content-Duration", "Content-Description"])
def test_an_attachment_keeps_its_headers(shared: Host, header: str) -> None:
    """Those that say something of its content."""
    attached = Attachment("a.pdf", "application/pdf", b"%PDF", headers={header: "1"})
    (part,) = _sent(shared, attachments=[attached]).iter_attachments()
    assert part[header] == "1"


@pytest.mark.parametrize(
    ("given", "kept"),
    [("Übersicht", "Übersicht"), ("a\tb", "a b"), ("a\r\n b", "a b"), ("日" * 100, "日" * 100)],
)
def test_the_words_in_headers_of_an_attachment_are_any(shared: Host, given: str, kept: str) -> None:
    """Encoded where they have to be, and in one line."""
    headers = {"Content-Description": given, "X-Note": given}
    attached = Attachment("a.pdf", "application/pdf", b"%PDF", headers=headers)
    message = _sent(shared, attachments=[attached])
    assert shared.rows()[-1].content.isascii()
    (part,) = message.iter_attachments()
    assert (part["Content-Description"], part["X-Note"]) == (kept, kept)


@pytest.mark.parametrize("header", ["Content-ID", "Content-Location", "Content-Language"])
def test_an_attachment_has_no_header_that_no_program_can_read(shared: Host, header: str) -> None:
    """An identifier is no text that could be encoded."""
    attached = Attachment("a.pdf", "application/pdf", b"%PDF", headers={header: "<ü@x>"})
    with pytest.raises(HeaderError, match=header):
        _sent(shared, attachments=[attached])


def test_a_long_file_name_keeps_its_end(shared: Host) -> None:
    """Which programs open by."""
    attached = Attachment("a" * 400 + ".pdf", "application/pdf", b"%PDF")
    (part,) = _sent(shared, attachments=[attached]).iter_attachments()
    name = part.get_filename()
    assert name is not None
    assert (len(name), name[-5:]) == (255, "a.pdf")


def test_file_names_in_ascii(tmp_path: Path) -> None:
    """MAIL_ASCII_ATTACHMENTS takes the marks off letters and leaves out what has no other form."""
    url = f"sqlite:///{tmp_path}/host.sqlite"
    with opened(url, MAIL_ASCII_ATTACHMENTS=True) as host:
        host.configure()
        attached = Attachment("Übersicht → März.txt", "text/plain", b"x")
        (part,) = _sent(host, attachments=[attached]).iter_attachments()
        assert part.get_filename() == "Ubersicht Marz.txt"


# -- who a message is ------------------------------------------------------------------


def test_the_authors_message_id_is_the_message_id(shared: Host) -> None:
    """So that the next message can name it in In-Reply-To."""
    with shared.app.app_context():
        first = _message()
        Mail().send(first)
        shared.db.session.commit()
        first_id = _newest(shared)["Message-ID"]
        Mail().send(_message(extra_headers={"In-Reply-To": first.msgId}))

    assert first_id == first.msgId
    assert _newest(shared)["In-Reply-To"] == first.msgId


@pytest.mark.parametrize("commit", [True, False])
def test_one_object_sent_twice_is_two_messages(host: Host, commit: bool) -> None:
    """The second has a Message-ID of its own, within a transaction and after it."""
    with host.app.app_context():
        message = _message()
        for _ in range(2):
            Mail().send(message)
            if commit:
                host.db.session.commit()

    ids = [row.message_id for row in host.rows()]
    assert ids[0] == message.msgId
    assert len(set(ids)) == 2


def test_a_rolled_back_message_leaves_its_id_free(host: Host) -> None:
    """It was no message."""
    with host.app.app_context():
        message = _message()
        Mail().send(message)
        host.db.session.rollback()
        Mail().send(message)

    assert [row.message_id for row in host.rows()] == [message.msgId]


@pytest.mark.parametrize(
    "given",
    ["no id", "<a b@c>", "<@x>", "<a@b>\r\nX: y", "<ä@b>", "<" + "a" * 300 + "@b>", None, 7],
)
def test_an_id_that_is_none_is_replaced(shared: Host, given: Any) -> None:
    """Nothing odd reaches the header."""
    with shared.app.app_context():
        message = _message()
        message.msgId = given
        Mail().send(message)
    assert str(_newest(shared)["Message-ID"]).endswith("@firm.example>")


def test_headers_that_the_author_writes_himself_are_used(shared: Host) -> None:
    """Date, Message-ID, Auto-Submitted and X-Auto-Response-Suppress, once each."""
    given = {
        "Date": "Fri, 01 Mar 2024 10:00:00 +0100",
        "Message-ID": f"<{time.time_ns()}@shop.firm.example>",
        "Auto-Submitted": "no",
        "X-Auto-Response-Suppress": "OOF",
    }
    message = _sent(shared, extra_headers=given)

    assert {name: message.get_all(name) for name in given if name != "Date"} == {
        name: [value] for name, value in given.items() if name != "Date"
    }
    assert message["Date"].datetime == datetime(2024, 3, 1, 9, tzinfo=UTC)


def test_a_date_that_the_author_set_is_used(shared: Host) -> None:
    """In seconds since 1970, as Flask-Mail has it."""
    assert _sent(shared, date=1_700_000_000.0)["Date"].datetime.timestamp() == 1_700_000_000


@pytest.mark.parametrize("date", [float("nan"), 1e30, -1e30])
def test_a_date_that_is_none_is_that_of_the_sending(shared: Host, date: float) -> None:
    """Better than no message."""
    sent = _sent(shared, date=date)["Date"].datetime
    assert abs(sent.timestamp() - time.time()) < 60


def test_the_stamp_of_a_first_sending_is_no_date_of_the_author(
    shared: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One object sent again an hour later has the date of then."""
    with shared.app.app_context():
        message = _message()
        Mail().send(message)
        assert message.date is not None
        stamped, now = message.date, time.time() + 3600
        monkeypatch.setattr(time, "time", lambda: now)
        Mail().send(message)
        monkeypatch.undo()
    assert message.date == stamped
    assert abs(_newest(shared)["Date"].datetime.timestamp() - time.time()) < 60


def test_what_has_no_effect_is_said_once(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    """A warning for each kind, not for each message."""
    for _ in range(2):
        _sent(
            host,
            mail_options=["SIZE=1"],
            rcpt_options=["NOTIFY=SUCCESS"],
            charset="shift_jis",
            extra_headers={"Return-Path": "<a@b.example>"},
        )

    said = [one.getMessage() for one in caplog.records if "flask_mail.different" in one.message]
    assert len(said) == 4
    for word in ("mail_options", "rcpt_options", "shift_jis", "return-path"):
        assert sum(word in one for one in said) == 1


# -- what else Flask-Mail's users rely on ----------------------------------------------


def test_a_message_is_stamped_and_recorded(shared: Host) -> None:
    """Code that looks at it afterwards finds a date, and its sender."""
    mail = Mail()
    with shared.app.app_context(), mail.record_messages() as recorded:
        mail.send_message(subject="Hi", recipients=["ada@firm.example"], body="x")
        assert recorded[0].sender == shared.app.extensions["mail"].default_sender
    assert recorded[0].date is not None


def test_a_hundred_messages_over_one_connection(host: Host) -> None:
    """All of them are stored."""
    with host.app.app_context(), Mail().connect() as connection:
        for number in range(100):
            connection.send(_message(subject=str(number)))
    assert len({row.message_id for row in host.rows()}) == 100


@pytest.mark.parametrize("subject", ["a\n\r", "a\r\n", "a\r\n b\r\n ", "a\r\n b\r\n\t", "a\r\nb"])
def test_a_broken_subject_is_flask_mails_own_error(shared: Host, subject: str) -> None:
    """Hosts catch it."""
    with shared.app.app_context(), pytest.raises(BadHeaderError):
        Mail().send(_message(subject=subject))


def test_a_folded_subject_is_one_line(shared: Host) -> None:
    """Whatever it was folded with."""
    assert _sent(shared, subject="a\r\n b\r\n c \r\n \td")["Subject"].split() == list("abcd")


def test_a_message_may_have_no_subject(shared: Host) -> None:
    """Nothing stands there, as with Flask-Mail."""
    assert not _sent(shared, subject="")["Subject"]


@pytest.mark.parametrize(
    ("values", "types"),
    [
        ({}, ["text/plain"]),
        ({"html": "<p>h"}, ["multipart/alternative", "text/plain", "text/html"]),
        ({"body": None, "html": "<p>h"}, ["text/html"]),
        (
            {"attachments": [Attachment(None, "text/plain", b"x")]},
            ["multipart/mixed", "text/plain", "text/plain"],
        ),
        (
            {"html": "<p>h", "attachments": [Attachment("a.csv", "text/csv", b"x")]},
            ["multipart/mixed", "multipart/alternative", "text/plain", "text/html", "text/csv"],
        ),
        ({"alts": {"json": "{}"}}, ["multipart/alternative", "text/plain", "text/json"]),
    ],
)
def test_the_parts_are_those_of_flask_mail(shared: Host, values: Any, types: list[str]) -> None:
    """Text, HTML, other alternatives and files; without the empty text beside HTML alone."""
    message = _sent(shared, **values)
    assert [part.get_content_type() for part in message.walk()] == types


@pytest.mark.parametrize("charset", [None, "utf-8", "us-ascii", "shift_jis"])
def test_every_charset_becomes_utf_8(shared: Host, charset: str | None) -> None:
    """Every program reads it; what is said arrives."""
    message = _sent(
        shared,
        subject="表題",
        sender=("送信者", "desk@firm.example"),
        reply_to="返信先 <desk@firm.example>",
        body="内容",
        charset=charset,
    )
    assert (message["Subject"], _text_of(message)) == ("表題", "内容")
    assert str(message["From"]) == "送信者 <desk@firm.example>"
    assert message.get_content_charset() == "utf-8"


def test_names_beyond_ascii_and_files_by_such_names(shared: Host) -> None:
    """They arrive as they were written."""
    message = _sent(
        shared,
        recipients=["Ä <t1@firm.example>", "Ü <t2@firm.example>"],
        cc=["Ö <cc@firm.example>"],
        attachments=[Attachment("ünicöde ←→ ✓.txt", "text/plain", b"x")],
    )
    assert message["To"] == "Ä <t1@firm.example>, Ü <t2@firm.example>"
    assert message["Cc"] == "Ö <cc@firm.example>"
    assert [one.get_filename() for one in message.iter_attachments()] == ["ünicöde ←→ ✓.txt"]
