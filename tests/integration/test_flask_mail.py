"""Flask-Mail's callers go through the extension, and none of them opens a connection."""

from __future__ import annotations

import email
import email.policy
import gc
import pickle
import smtplib
import weakref
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import flask_mail
import pytest
from flask import Flask, current_app
from flask_mail import Mail, Message

from flask_interaction_mail import operations
from flask_interaction_mail.errors import AddressError, HeaderError, MessagingNotConfigured
from flask_interaction_mail.flask_mail import takeover
from flask_interaction_mail.flask_mail.bridge import intent_of
from flask_interaction_mail.messages.intent import Attachment, Intent
from flask_interaction_mail.messages.mime import tree
from flask_interaction_mail.values import Party
from tests.catcher import catching
from tests.host import Host, opened


@pytest.fixture(autouse=True)
def _no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever opens a connection of Flask-Mail fails the test."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("Flask-Mail opened a connection")

    monkeypatch.setattr(smtplib.SMTP, "__init__", refuse)


@pytest.fixture
def taken() -> list[Message]:
    """The messages that the extension was handed."""
    return []


@pytest.fixture
def app(taken: list[Message]) -> Iterator[Flask]:
    app = Flask("host")
    takeover.install(app, taken.append)
    with app.app_context():
        yield app


def _message(**values: object) -> Message:
    return Message(
        **{"subject": "Hello", "recipients": ["ada@firm.example"], "body": "x", **values}
    )


def _send_with_own_object(message: Message) -> None:
    Mail().send(message)


def _send_with_initialised_object(message: Message) -> None:
    before = current_app.extensions["mail"]
    mail = Mail(current_app._get_current_object())
    current_app.extensions["mail"] = before
    mail.send(message)


def _send_with_the_state(message: Message) -> None:
    current_app.extensions["mail"].send(message)


def _send_in_bulk(message: Message) -> None:
    with Mail().connect() as connection:
        connection.send(message)


def _send_by_itself(message: Message) -> None:
    with current_app.extensions["mail"].connect() as connection:
        message.send(connection)


@pytest.mark.parametrize(
    "send",
    [
        _send_with_own_object,
        _send_with_initialised_object,
        _send_with_the_state,
        _send_in_bulk,
        _send_by_itself,
    ],
)
def test_every_way_of_sending_is_caught_once(app, taken, send):
    """Whichever of Flask-Mail's ways a host uses, the message arrives here once."""
    message = _message()

    send(message)

    assert taken == [message]


def test_send_message_makes_the_message_itself(app, taken):
    """mail.send_message, with the arguments of a message, is caught as well."""
    Mail().send_message("Hello", recipients=["ada@firm.example"], body="x")

    assert [one.subject for one in taken] == ["Hello"]


def test_several_messages_over_one_connection(app, taken):
    """connect() takes any number of messages, whatever MAIL_MAX_EMAILS says."""
    app.config["MAIL_MAX_EMAILS"] = 1

    with Mail().connect() as connection:
        for number in range(3):
            connection.send(_message(subject=str(number)))

    assert [one.subject for one in taken] == ["0", "1", "2"]


def test_record_messages_works_and_nothing_is_taken_twice(app, taken):
    """The recorder of a host's tests sees the message, and the outbox gets it once."""
    mail = Mail()

    with mail.record_messages() as outer, app.extensions["mail"].record_messages() as inner:
        mail.send(_message())

    assert len(outer) == len(inner) == len(taken) == 1


def test_installing_twice_takes_a_message_once(app, taken):
    """A second call of install replaces the first."""
    takeover.install(app, taken.append)

    Mail().send(_message())

    assert len(taken) == 1


def test_each_app_gets_its_own_messages(app, taken):
    """Two apps in one process do not see each other's messages; one without us sees none."""
    other, others = Flask("other"), []
    takeover.install(other, others.append)

    with other.app_context():
        Mail().send(_message(subject="other"))
    Mail().send(_message(subject="ours"))

    assert [one.subject for one in taken] == ["ours"]
    assert [one.subject for one in others] == ["other"]


def test_an_app_without_us_keeps_its_flask_mail(taken):
    """Nothing is caught from an app that the extension was not set up for."""
    app = Flask("stranger")
    app.config["MAIL_SUPPRESS_SEND"] = True
    mail = Mail(app)

    with app.app_context(), mail.record_messages() as recorded:
        mail.send(_message(sender="a@firm.example"))

    assert len(recorded) == 1
    assert taken == []


def test_what_the_outbox_raises_reaches_the_sender(app):
    """The caller of mail.send learns that messaging is not configured."""

    def refuse(message: Message) -> None:
        raise MessagingNotConfigured("not configured")

    takeover.install(app, refuse)

    with pytest.raises(MessagingNotConfigured):
        Mail().send(_message())


def test_flask_mails_own_checks_stay(app, taken):
    """A message without recipients, or with a line break in a recipient, is refused as before."""
    with pytest.raises(AssertionError, match="No recipients"):
        Mail().send(_message(recipients=[]))
    with pytest.raises(flask_mail.BadHeaderError):
        Mail().send(_message(recipients=["ada@firm.example\r\nBcc: eve@evil.example"]))

    assert taken == []


def test_a_mail_object_set_up_before_us_connects_nowhere(taken, caplog):
    """Mail.init_app before ours is the usual order: no warning, and its state is disarmed."""
    app = Flask("host")
    mail = Mail(app)

    takeover.install(app, taken.append)

    with app.app_context():
        mail.send(_message())
        with flask_mail.Connection(mail.state) as connection:
            connection.send(_message())
    assert len(taken) == 2
    assert not caplog.records


def test_a_forgotten_app_is_collected():
    """The receivers keep no application alive."""
    app = Flask("short-lived")
    takeover.install(app, print)
    reference = weakref.ref(app)

    del app
    gc.collect()

    assert reference() is None


def test_without_a_sender_it_comes_from_nobody(app, taken):
    """A message without a sender says so, and is not refused by Flask-Mail for it."""
    app.config["MAIL_DEFAULT_SENDER"] = "old@firm.example"

    Mail().send(_message())

    assert intent_of(taken[0]).host_sender is None
    again = pickle.loads(pickle.dumps(taken[0]))  # noqa: S301 - our own bytes
    assert intent_of(again).host_sender is None


@pytest.mark.parametrize(
    ("sender", "stored"),
    [
        ("ada@firm.example", "ada@firm.example"),
        ("Ada <ada@firm.example>", '"Ada" <ada@firm.example>'),
        (("Ada", "ada@firm.example"), '"Ada" <ada@firm.example>'),
        (('Foo "X", Inc. (UK)', "ada@firm.example"), '"Foo \\"X\\", Inc. (UK)" <ada@firm.example>'),
        ("ada", "ada"),
    ],
)
def test_the_sender_is_kept(app, sender, stored):
    """A sender in any of Flask-Mail's spellings is kept as one unambiguous text."""
    assert intent_of(_message(sender=sender)).host_sender == stored


def test_what_exchange_shall_suppress_is_the_authors_to_say(app):
    """A value of X-Auto-Response-Suppress is kept; ours stands only where there is none."""
    message = _message(extra_headers={"X-Auto-Response-Suppress": "None"})
    assert intent_of(message).headers == (("X-Auto-Response-Suppress", "None"),)


def test_the_whole_message_is_kept(app):
    """Each field of a message that has a meaning arrives in the intent."""
    message = _message(
        subject="Grüße",
        recipients=["Ada Lovelace <ada@firm.example>", ("Müller, Jörg", "j@Firm.Example"), "bob"],
        cc=["cc@firm.example"],
        bcc=[("Secret", "bcc@firm.example")],
        reply_to="Desk <desk@firm.example>",
        html="<p>x</p>",
        extra_headers={"X-Tag": "t1", "Message-ID": "<own@x>", "Auto-Submitted": "no"},
        charset="latin-1",
        date=0.0,
        mail_options=["SIZE=1"],
    )
    message.attach("a.txt", "text/plain", "ä")
    message.attach("b.pdf", data=b"%PDF", disposition="inline")

    intent = intent_of(message)

    assert (intent.kind, intent.source, intent.subject) == ("notification", "flask_mail", "Grüße")
    assert (intent.text, intent.html) == ("x", "<p>x</p>")
    assert intent.to == (
        Party("Ada Lovelace", "ada@firm.example"),
        Party("Müller, Jörg", "j@firm.example"),
        Party("", "bob"),
    )
    assert intent.cc == (Party("", "cc@firm.example"),)
    assert intent.bcc == (Party("Secret", "bcc@firm.example"),)
    assert intent.reply_to == (Party("Desk", "desk@firm.example"),)
    assert intent.headers == (("X-Tag", "t1"), ("Auto-Submitted", "no"))
    assert intent.attachments == (
        Attachment(filename="a.txt", content_type="text/plain", data="ä".encode()),
        Attachment(
            filename="b.pdf", content_type="application/pdf", data=b"%PDF", disposition="inline"
        ),
    )


def test_html_alone_and_nothing_at_all(app):
    """A message with HTML only has no text, one with nothing has an empty text."""
    html_only, empty = intent_of(_message(body=None, html="<p>")), intent_of(_message(body=None))

    assert (html_only.text, html_only.html) == (None, "<p>")
    assert (empty.text, empty.html) == ("", None)


def test_an_inline_image_keeps_its_content_id(app):
    """HTML refers to it; a header that would change the part is refused."""
    headers = {"Content-ID": "<logo>", "X-Attachment-Id": "logo"}
    image = flask_mail.Attachment("logo.png", "image/png", b"png", "inline", headers)
    intent = intent_of(_message(html="x", attachments=[image]))
    assert intent.attachments[0].headers == tuple(headers.items())
    assert Intent.from_json(intent.to_json()) == intent
    for name, value in (
        ("Content-Type", "x"),
        ("Content-ID", "a\r\nb"),
        ("Content-ID", "ä"),
        ("To", "x"),
    ):
        broken = flask_mail.Attachment("a", "image/png", b"p", "inline", {name: value})
        with pytest.raises(HeaderError):
            intent_of(_message(html="x", attachments=[broken]))


def test_its_body_goes_when_it_has_left(tmp_path):
    """Password resets sit in such messages: the row stays, the text does not."""
    with catching() as catcher, opened(f"sqlite:///{tmp_path}/host.sqlite") as host:
        host.configure(smtp_port=catcher.port)
        with host.app.app_context():
            Mail().send(_message(body="secret link"))
        assert b"secret link" in host.rows()[0].content
        assert host.dispatcher().drain().sent == 1
        (row,) = host.rows()
        assert (row.status, row.content, row.intent) == ("sent", None, "{}")
        with host.app.app_context(), pytest.raises(ValueError, match="message is gone"):
            operations.resend(host.state, row.id)


@pytest.mark.parametrize("text", ["METHOD:REQUEST", b"METHOD:REQUEST"])
def test_another_alternative_stays_one(app, text):
    """A calendar invitation is shown as one only beside the texts, and with its method."""
    intent = intent_of(_message(html="<p>", alts={"calendar": text}))

    assert intent.alternatives == (("text/calendar; method=REQUEST", "METHOD:REQUEST"),)
    assert (intent.html, intent.attachments) == ("<p>", ())


def test_pictures_and_messages_of_flask_mail_keep_their_places(app):
    """A picture in HTML is related to it, a forwarded message is a message."""
    message = _message(html='<img src="cid:logo">')
    message.attach("logo.png", "image/png", b"\x89PNG", "inline", {"Content-ID": "<logo>"})
    message.attach("old.eml", data=b"Subject: old\n\nHello\n")
    header, body = tree(intent_of(message))

    mail = email.message_from_string(f"{header}\r\n{body}", policy=email.policy.default)
    assert [part.get_content_type() for part in mail.walk()] == [
        "multipart/mixed", "multipart/alternative", "text/plain", "multipart/related", "text/html",
        "image/png", "message/rfc822", "text/plain",
    ]  # fmt: skip


def test_reply_to_as_an_extra_header(app):
    """A Reply-To among the extra headers becomes the message's Reply-To."""
    intent = intent_of(_message(extra_headers={"reply-to": "Desk <desk@firm.example>"}))

    assert intent.reply_to == (Party("Desk", "desk@firm.example"),)
    assert intent.headers == ()


def test_a_message_that_may_not_be_encoded_is_attached_as_a_file(app):
    """Flask-Mail guesses the type by the name; that is no reason to refuse the mail."""
    message = _message()
    message.attach("old.eml", data="Subject: Grüße\n\n".encode())
    message.attach("part", "message/partial", b"S: x\n\n")
    kinds = [one.content_type for one in intent_of(message).attachments]
    assert kinds == ["application/octet-stream"] * 2


@pytest.mark.parametrize("end", ["\xa0", "\t", "\n", "\r\n", "\u200b"])
def test_addresses_of_flask_mail_are_cleaned_at_their_ends(app, end):
    """As those of the form and of the directory are."""
    given = [
        f"ada@firm.example{end}",
        ("Bob", f"bob@firm.example{end}"),
        f"Eve <eve@firm.example>{end}",
    ]
    to = intent_of(_message(recipients=given)).to
    assert [(one.name, one.email) for one in to] == [
        ("", "ada@firm.example"), ("Bob", "bob@firm.example"), ("Eve", "eve@firm.example")
    ]  # fmt: skip


def test_folded_fields_of_another_message_are_taken(app):
    """Flask-Mail takes them, too: a host answers with the References that it has read."""
    folded = {"References": "<1@x.org>\r\n <2@x.org>", "X-Own": "a\r\n b"}
    headers = intent_of(_message(extra_headers=folded)).headers
    assert headers == (("References", "<1@x.org> <2@x.org>"), ("X-Own", "a b"))
    with pytest.raises(HeaderError, match="List-Unsubscribe cannot be"):
        intent_of(_message(extra_headers={"List-Unsubscribe": "click here"}))


def test_a_folded_subject_is_unfolded(app):
    """A subject that RFC 5322 allows to be folded stays one line."""
    assert intent_of(_message(subject="Hello\r\n there")).subject == "Hello there"


@pytest.mark.parametrize(
    "values",
    [
        {"extra_headers": {"X-Tag": "a\r\nBcc: eve@evil.example"}},
        {"extra_headers": {"X-Tag": "a\nb"}},
        {"extra_headers": {"X-Tag": "a\u2028b"}},
        {"extra_headers": {"X-Tag\r\nBcc": "eve@evil.example"}},
        {"extra_headers": {"X Tag": "a"}},
        {"extra_headers": {"Message-ID": "a\r\nBcc: eve@evil.example"}},
        {"extra_headers": {"Bcc": "eve@evil.example"}},
        {"extra_headers": {"From": "eve@evil.example"}},
        {"extra_headers": {"Content-Type": "text/html"}},
        {"cc": [("Ada\nBcc: eve@evil.example", "ada@firm.example")]},
        {"bcc": ["ada@firm.example\r\nX: y"]},
        {"reply_to": ("A\rB", "ada@firm.example")},
        {"sender": ("A\u0085B", "ada@firm.example")},
        {"subject": "a\nb"},
        {"subject": "a\x00b"},
        {"attachments": [flask_mail.Attachment("a\r\nb.txt", "text/plain", b"x")]},
        {"attachments": [flask_mail.Attachment("a.txt", "text/plain\r\nX: y", b"x")]},
    ],
)
def test_injected_headers_are_refused(app, values):
    """A line break or another control character, and a header of ours, is a HeaderError (T7)."""
    with pytest.raises(HeaderError):
        intent_of(_message(**values))


@pytest.mark.parametrize(
    "recipient",
    [
        "not an address",
        "",
        "<>",
        "ada@@firm.example",
        "ada@firm.example, eve@evil.example",
        "ada@firm.example <eve@evil.example> <bob@firm.example>",
        "<ada@firm.example>eve@evil.example",
        ("a<b@c.example>", "ada@firm.example"),
        "=?utf-8?q?x?=@firm.example",
    ],
)
def test_confusing_addresses_are_refused(app, recipient):
    """What could be read as two addresses, or as none, is an AddressError (T8)."""
    with pytest.raises(AddressError):
        intent_of(_message(recipients=[recipient]))


def test_one_recipient_given_as_a_text(app):
    """A text in place of the list of recipients is one recipient, not one a letter."""
    assert intent_of(_message(recipients="bob@firm.example")).to == (Party("", "bob@firm.example"),)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with opened(f"sqlite:///{tmp_path}/host.sqlite") as host:
        yield host


def _mail(host: Host, **values: object) -> None:
    with host.app.app_context():
        Mail().send(_message(**values))


def test_r04_unconfigured_e_mail_is_an_error_for_the_sender(host: Host):
    """mail.send before anything is set up raises a typed error, and keeps nothing."""
    with pytest.raises(MessagingNotConfigured, match="Configuration"):
        _mail(host)

    assert host.rows() == []


def test_a_message_goes_into_the_outbox_with_its_transaction(host: Host):
    """It belongs to the host's transaction, as a notification does."""
    host.configure()
    with host.app.app_context():
        Mail().send(_message(subject="kept"))
        host.db.session.commit()
        Mail().send(_message(subject="dropped"))
        host.db.session.rollback()

    (row,) = host.rows()
    assert (row.subject, row.status, row.source) == ("kept", "queued", "flask_mail")


def test_mail_suppress_send_is_honoured(host: Host):
    """A suppressed message is kept as suppressed, and a host's recorder still sees it."""
    host.configure()
    host.app.config["MAIL_SUPPRESS_SEND"] = True

    with Mail().record_messages() as recorded:
        _mail(host)

    (row,) = host.rows()
    assert (row.status, row.reason, len(recorded)) == ("suppressed", "testing", 1)


@pytest.mark.parametrize(
    ("sender", "from_", "reply_to"),
    [
        (None, "crm@firm.example", None),
        ("Desk <desk@firm.example>", "Desk <desk@firm.example>", None),
        (("Sales, UK", "desk@firm.example"), '"Sales, UK" <desk@firm.example>', None),
        ("x@foreign.example", "crm@firm.example", "x@foreign.example"),
    ],
)
def test_r36_the_sender_of_a_flask_mail_message(host: Host, sender, from_, reply_to):
    """Its own where the domain is ours, else default From; never the current user."""
    host.configure()
    _mail(host, sender=sender)

    (row,) = host.rows()
    sent = email.message_from_bytes(row.content, policy=email.policy.default)
    assert (sent["From"], sent["Reply-To"]) == (from_, reply_to)
    assert row.envelope_sender == "crm@firm.example"


def test_the_default_sender_can_be_read(host: Host):
    """Code that looks at the sender sees the default From, and Message() works unconfigured."""
    with host.app.app_context():
        assert _message().sender == ""
    host.configure()
    with host.app.app_context():
        assert _message().sender == "crm@firm.example"
        assert str(_message())


def test_a_blind_copy_is_in_no_header(host: Host):
    """Bcc recipients are on the envelope alone (T15)."""
    host.configure()
    _mail(host, bcc=["secret@firm.example"])

    assert "secret@firm.example" in host.recipients()
    assert b"secret@" not in host.rows()[0].content


@pytest.mark.parametrize("field", ["cc", "bcc"])
def test_copies_alone_reach_those_whom_they_name(host: Host, field: str):
    """Flask-Mail sends a message that has only Cc or only Bcc; nobody else gets it."""
    host.configure()
    _mail(host, recipients=[], **{field: ["eve@other.example"]})

    assert host.recipients() == ["eve@other.example"]
    assert _sent(host)["To"] == "undisclosed-recipients:;"


def _sent(host: Host) -> EmailMessage:
    """The newest message in the outbox."""
    message = email.message_from_bytes(host.rows()[-1].content, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message
