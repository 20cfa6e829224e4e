"""The content of a message: what comes out of the parser is what was given, and nothing else."""

from __future__ import annotations

import email
import json
import re
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from email.header import decode_header, make_header
from email.policy import compat32, default
from pathlib import Path

import flask_mail
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flask_interaction_mail.addresses import Mailbox, has_forbidden
from flask_interaction_mail.errors import ContentError, HeaderError
from flask_interaction_mail.messages.attachments import attachment
from flask_interaction_mail.messages.headers import check_header, check_subject, is_reserved
from flask_interaction_mail.messages.intent import Attachment, Intent
from flask_interaction_mail.messages.mime import build, make_message_id
from flask_interaction_mail.messages.route import SenderHeaders
from flask_interaction_mail.text import display_name
from tests.proofs import proved

CORPORA = Path(__file__).parents[1] / "corpora"
SMUGGLERS = json.loads((CORPORA / "attack/smuggling_bodies.json").read_text())
NAUGHTY = json.loads((CORPORA / "blns/blns.json").read_text())
CRM = Mailbox("crm@firm.example")
ADA = Mailbox("ada@firm.example", "Ada Lovelace")
SENDER = SenderHeaders(envelope_sender=CRM.address, from_=ADA, sender=CRM)
ID = uuid.UUID("01936f2e-0000-7000-8000-000000000001")
MESSAGE_ID = make_message_id(ID, "firm.example")
DATE = datetime(2026, 11, 23, 19, 10, 5, tzinfo=UTC)
CONTROLS = ["\r", "\n", "\r\n", "\r\nBcc: x@y.org", "\x00", "\t", "\x0b", "\x0c", "\x1b", "\x1c",
            "\x1f", "\x7f", "\x80", "\x85", "\x9f", "\u2028", "\u2029", "\ud800"]  # fmt: skip


def intent(subject="Please merge", **others):
    if not {"text", "html"} & others.keys():
        others["text"] = "Hello\n"
    return Intent(kind="request", source="call", subject=subject, **others)


def content(given=None, *, sender=SENDER, to=(CRM,), cc=()):
    return build(given or intent(), sender=sender, to=to, cc=cc, message_id=MESSAGE_ID, date=DATE)


def parsed(*args, **kwargs):
    return email.message_from_bytes(content(*args, **kwargs), policy=default)


def text_of(part):
    return part.get_content().replace("\r\n", "\n")


def check_wire(data, *, ascii_only=True):
    """Assert what every server may rely on (RFC 5321 §2.3.8, RFC 5322 §2.1.1)."""
    assert data.endswith(b"\r\n")
    lines = data.replace(b"\r\n", b"\n")
    assert not re.search(rb"[\r\x00]", lines)
    assert data.count(b"\n") == data.count(b"\r\n")
    assert max(map(len, lines.split(b"\n"))) <= 998
    assert data.isascii() or not ascii_only


lines = st.text(st.characters(exclude_categories=("Cs",)))
plain_lines = lines.filter(lambda text: not has_forbidden(text))
naughty_lines = plain_lines | st.sampled_from([one for one in NAUGHTY if not has_forbidden(one)])
long_lines = naughty_lines | st.text("ab =?.ä世", min_size=60, max_size=400)
names = (naughty_lines | st.text('ab .,"\\<ä世(', max_size=120)).map(display_name)
# The parser puts a blank between two encoded words of a name, so here each name needs one.
short_names = names.filter(lambda name: name.isascii() or len(name.encode()) <= 42)
bodies = lines | st.text("a=_.\r\n\té\x00", max_size=300) | st.sampled_from(NAUGHTY)


def test_headers_of_a_request():
    """Every field is there once, in the shape that the RFCs want; Bcc is not."""
    mail = parsed(intent(in_reply_to="<first@firm.example>", bcc=()), cc=(ADA,))
    assert mail["Date"] == "Mon, 23 Nov 2026 19:10:05 +0000"
    assert mail["From"] == "Ada Lovelace <ada@firm.example>"
    assert mail["Sender"] == mail["To"] == "crm@firm.example"
    assert mail["Cc"] == "Ada Lovelace <ada@firm.example>"
    assert mail["Subject"] == "Please merge"
    assert mail["Message-ID"] == "<01936f2e-0000-7000-8000-000000000001@firm.example>"
    assert mail["In-Reply-To"] == mail["References"] == "<first@firm.example>"
    assert mail["MIME-Version"] == "1.0"
    assert mail["Bcc"] is mail["Reply-To"] is None
    assert len(set(mail.keys())) == len(mail.keys())


def test_answering_machines_are_asked_to_be_quiet():
    """Out-of-office replies to a request would reach the person who asked."""
    mail = parsed()
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["X-Auto-Response-Suppress"] == "OOF, AutoReply"


@pytest.mark.parametrize("name", ["X-Auto-Response-Suppress", "x-auto-response-suppress"])
def test_who_says_what_exchange_shall_suppress_is_obeyed(name):
    """Once, as the caller wrote it; "All" would keep reports of a dead mailbox back, too."""
    mail = parsed(intent(headers=((name, "DR, RN"),)))
    assert mail.get_all("X-Auto-Response-Suppress") == ["DR, RN"]
    assert mail["Auto-Submitted"] == "auto-generated"


def test_sender_and_cc_only_where_there_are_any():
    """A field without a mailbox is not written."""
    mail = parsed(sender=SenderHeaders(envelope_sender=CRM.address, from_=CRM, reply_to=(ADA,)))
    assert mail["Sender"] is mail["Cc"] is None
    assert mail["Reply-To"] == "Ada Lovelace <ada@firm.example>"


def test_t15_blind_copies_are_not_mentioned():
    """Neither the field nor the address of a blind copy is in the content."""
    from flask_interaction_mail.values import Party

    assert b"secret" not in content(intent(bcc=(Party("Secret", "secret@firm.example"),)))


def test_same_arguments_give_the_same_bytes():
    """No clock and no chance inside: a retry is the same message."""
    given = intent(text="a", html="<p>a", attachments=(attachment(("a", "x/y", b"a")),))
    assert content(given) == content(given)


@pytest.mark.parametrize("texts", [{"text": "a\n\n"}, {"html": "<p>ä"}, {"text": "b", "html": "b"}])
@pytest.mark.parametrize("files", [(), (("ä.txt", "text/plain", b"a" * 999), ("b", "x/y", b""))])
def test_bytes_are_those_of_the_standard_library(texts, files):
    """Its generator, which is slower, writes the very same from what it has read."""
    data = content(intent(**texts, attachments=tuple(map(attachment, files))))
    as_read = email.message_from_bytes(data)
    assert as_read.as_bytes(policy=compat32.clone(linesep="\r\n", max_line_length=None)) == data


def test_date_keeps_its_instant_in_any_zone():
    """An aware date of another zone is written with its offset."""
    date = DATE.astimezone(timezone(timedelta(hours=5, minutes=30)))
    data = build(intent(), sender=SENDER, to=(CRM,), message_id=MESSAGE_ID, date=date)
    mail = email.message_from_bytes(data, policy=default)
    assert mail["Date"].datetime == DATE
    assert str(mail["Date"]).endswith(" +0530")
    assert str(parsed()["Date"]).endswith(" +0000")


@given(subject=long_lines.filter(lambda text: len(text) <= 998))
@example(subject="x" * 998)
@example(subject="ä" * 998)
@example(subject=" " * 998)
@example(subject=("word " * 200)[:998])
@example(subject="a  b " * 100)
def test_subject_comes_out_as_it_went_in(subject):
    """Any line, folded and encoded as far as needed; only outer blanks of plain lines may go."""
    data = content(intent(subject))
    check_wire(data)
    assert email.message_from_bytes(data, policy=default)["Subject"] == subject


@given(to=st.lists(short_names, min_size=1, max_size=5), from_=short_names)
@example(to=["Lovelace, Ada", 'The "Countess"', "back\\slash"], from_="=?utf-8?q?x?=")
@example(to=["x" * 255, "a b" * 60, "\\" * 255], from_="Zoë O'Hara")
def test_names_come_out_as_they_went_in(to, from_):
    """Quoted, encoded and folded names are the names that were given, for every recipient."""
    mailboxes = tuple(Mailbox(f"u{n}@firm.example", name) for n, name in enumerate(to))
    sender = SenderHeaders(envelope_sender=CRM.address, from_=Mailbox("a@b.org", from_))
    data = content(sender=sender, to=mailboxes)
    check_wire(data)
    mail = email.message_from_bytes(data, policy=default)
    assert [one.addr_spec for one in mail["To"].addresses] == [one.address for one in mailboxes]
    assert [one.display_name for one in mail["To"].addresses] == to
    assert mail["From"].addresses[0].display_name == from_


@given(name=names)
@example(name="ä" * 255)
@example(name="世" * 255)
def test_long_names_are_encoded_by_the_book(name):
    """Words of at most 75 characters that tear no character (RFC 2047 §2, §5)."""
    data = content(to=(Mailbox("a@b.org", name),))
    check_wire(data)
    (value,) = re.findall(rb"\r\nTo: (.*?)\r\n(?! )", data, re.DOTALL)
    if b"=?utf-8?b?" in value:
        words = value.decode().split("\r\n ")
        assert max(map(len, words)) <= 75
        coded = value.decode().replace("<a@b.org>", "")
        assert str(make_header(decode_header(coded))).rstrip() == name


@given(value=long_lines)
@example(value="<https://firm.example/" + "x" * 900 + ">")
@example(value="x" * 5000)
def test_own_headers_come_out_as_they_went_in(value):
    """Any line as the value of a header of the caller's own."""
    data = content(intent(headers=(("X-Own", value),)))
    check_wire(data)
    assert email.message_from_bytes(data, policy=default)["X-Own"] == value


@pytest.mark.parametrize("name", ["X", "X-" + "n" * 58])
def test_long_names_of_headers_leave_room_for_the_value(name):
    """Even then the lines are short and the value is whole."""
    value = "ä世" * 50
    mail = parsed(intent(headers=((name, value),)))
    assert mail[name] == value
    assert max(map(len, content(intent(headers=((name, value),))).split(b"\r\n"))) <= 84


def test_plain_ascii_values_are_readable_on_the_wire():
    """What needs no encoding gets none."""
    data = content(intent("A subject of moderate length", headers=(("List-Id", "<a.b>"),)))
    assert b"\r\nSubject: A subject of moderate length\r\n" in data
    assert b"\r\nFrom: Ada Lovelace <ada@firm.example>\r\n" in data
    assert b"\r\nList-Id: <a.b>\r\n" in data


@given(text=bodies | st.none(), html=bodies | st.none())
@example(text="From here\n.\n..\n", html=None)
@example(text="x" * 5000, html="ä" * 5000)
@example(text="--=_a\n--=_m--", html="--=_a--")
@example(text="trailing blanks  \n\t\n", html="")
def test_bodies_come_out_as_they_went_in(text, html):
    """Any text and HTML, but for the form of line ends and one at the end."""
    data = content(intent(text=text, html=html))
    check_wire(data)
    mail = email.message_from_bytes(data, policy=default)
    for kind, given_text in (("plain", text), ("html", html)):
        part = mail.get_body((kind,))
        if given_text is not None:
            expected = re.sub(r"\r\n?", "\n", given_text)
            assert text_of(part) == expected + ("" if expected.endswith("\n") else "\n")
        elif text is not None or html is not None:
            assert part is None


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Hello\n", "7bit"),
        ("Grüße\n", "quoted-printable"),
        ("x" * 1000, "quoted-printable"),
        ("世界" * 100, "base64"),
        ("\x00", "quoted-printable"),
    ],
)
def test_8bitmime_is_never_needed(text, encoding):
    """Each text travels in the most readable of the encodings that every server passes on."""
    assert parsed(intent(text=text))["Content-Transfer-Encoding"] == encoding


def test_text_comes_before_html():
    """Readers show the last alternative that they can (RFC 2046 §5.1.4)."""
    mail = parsed(intent(text="a", html="<b>a</b>"))
    assert mail.get_content_type() == "multipart/alternative"
    kinds = [part.get_content_type() for part in mail.iter_parts()]
    assert kinds == ["text/plain", "text/html"]


@pytest.mark.parametrize("body", [one["body"] for one in SMUGGLERS])
@pytest.mark.parametrize("field", ["text", "html", "attachment"])
def test_t9_no_body_ends_the_message_early(body, field):
    """Bare CR, LF and NUL never reach the wire, so a line with a dot is ours to stuff."""
    if field == "attachment":
        given = intent(attachments=(attachment(("x.eml", "text/plain", body.encode())),))
    else:
        given = intent(**{field: body})
    data = content(given)
    check_wire(data)
    mail = email.message_from_bytes(data, policy=default)
    part = next(mail.iter_attachments()) if field == "attachment" else mail
    raw = part.get_payload(decode=True)
    if field == "attachment":
        assert raw == body.encode()
    else:
        assert b"MAIL FROM:<evil@example.net>" in raw


def test_half_a_surrogate_pair_in_a_body_is_an_error():
    """No encoding carries it; the text names the argument."""
    with pytest.raises(ContentError, match="text has half a surrogate pair at character 2"):
        content(intent(text="ab\ud800"))
    with pytest.raises(ContentError, match="html has"):
        content(intent(html="\udfff"))


file_names = long_lines.filter(lambda name: 0 < len(name) <= 255)


@given(name=file_names, data=st.binary(max_size=500))
@example(name="ä" * 255, data=b"")
@example(name="x" * 255, data=b"\r\n.\r\n")
@example(name='a"b\\c;d=e%20.pdf', data=b"\x00")
@example(name="Übersicht 100 %.pdf", data=b"x" * 200)
def test_attachments_come_out_as_they_went_in(name, data):
    """Any bytes under any file name."""
    given = intent(attachments=(attachment((name, "application/pdf", data)),))
    wire = content(given)
    check_wire(wire)
    mail = email.message_from_bytes(wire, policy=default)
    (part,) = mail.iter_attachments()
    assert part.get_content() == data
    assert part.get_content_type() == "application/pdf"
    assert part["Content-Disposition"].params["filename"] == name
    assert text_of(mail.get_body()) == "Hello\n"


def test_text_html_and_attachments_nest():
    """The alternatives are one part, the attachments follow it."""
    files = (attachment(("a.txt", "text/plain; charset=utf-8", b"a")), attachment(("b", "", b"b")))
    mail = parsed(intent(text="t", html="h", attachments=files))
    assert mail.get_content_type() == "multipart/mixed"
    assert [part.get_content_type() for part in mail.walk()] == [
        "multipart/mixed",
        "multipart/alternative",
        "text/plain",
        "text/html",
        "text/plain",
        "application/octet-stream",
    ]


def test_flask_mail_attachments_are_taken():
    """What a host already makes for Flask-Mail needs no change."""
    given = flask_mail.Attachment("a.png", "image/png", b"\x89PNG", "inline")
    assert attachment(given) == Attachment(
        filename="a.png", content_type="image/png", data=b"\x89PNG", disposition="inline"
    )
    nameless = attachment(flask_mail.Attachment(None, "image/png", b"x"))
    mail = parsed(intent(attachments=(nameless,)))
    assert next(mail.iter_attachments()).get_filename() is None


@pytest.mark.parametrize(
    "raw",
    [
        "/etc/passwd",
        Path("/etc/passwd"),
        b"data",
        ("a", "text/plain", "/etc/passwd"),
        ("a", "text/plain", Path("/etc/passwd")),
        ("a", "text/plain", None),
        ("a", "text/plain"),
        ("a", 1, b""),
        (1, "text/plain", b""),
        flask_mail.Attachment("a", "text/plain", "text"),
        None,
    ],
)
def test_t19_attachments_are_bytes_only(raw):
    """A path, or anything else that would have to be read or guessed, is a TypeError."""
    with pytest.raises(TypeError):
        attachment(raw)
    proved("T19", "{} attachments by path and the like: TypeError")


def test_file_names_have_a_limit():
    """255 characters are the most, as in most file systems."""
    with pytest.raises(HeaderError, match="longer than 255"):
        attachment(("x" * 256, "x/y", b""))


@pytest.mark.parametrize("bytes_like", [bytearray(b"ab"), memoryview(b"ab")])
def test_other_bytes_are_copied(bytes_like):
    """What is stored cannot change afterwards."""
    assert attachment(("a", "x/y", bytes_like)).data == b"ab"


@pytest.mark.parametrize(
    "content_type",
    ["pdf", "a/b/c", "text/", "/x", "text/plain\r\nX: y", "text/plain; x", "multipart/mixed",
     "message/rfc822", "a/b;\tx=y", "té/xt", "a/" + "b" * 300]
)  # fmt: skip
def test_content_type_of_an_attachment_is_checked(content_type):
    """Only a type that can stand in the header and be carried as base64."""
    with pytest.raises(HeaderError, match="attachment 'a'"):
        attachment(("a", content_type, b""))


@pytest.mark.parametrize("bad", CONTROLS)
def test_t7_no_control_character_in_any_header_value(bad):
    """Every value that ends in a header is refused at the call and again when it is built."""
    value = f"a{bad}b"
    with pytest.raises(HeaderError):
        check_subject(value)
    with pytest.raises(HeaderError):
        check_header("X-Own", value)
    with pytest.raises(HeaderError):
        check_header(f"X-{bad}", "value")
    for raw in ((value, "x/y", b""), ("a", f"x/y{bad}", b"")):
        with pytest.raises(HeaderError):
            attachment(raw)
    named = Mailbox("a@b.org", value)
    addressed = Mailbox(f"a{bad}@b.org")
    for odd in (named, addressed):
        for kwargs in (
            {"to": (odd,)},
            {"cc": (odd,)},
            {"sender": SenderHeaders(envelope_sender="a", from_=odd)},
            {"sender": SenderHeaders(envelope_sender="a", from_=CRM, sender=odd)},
            {"sender": SenderHeaders(envelope_sender="a", from_=CRM, reply_to=(odd,))},
        ):
            with pytest.raises(HeaderError):
                content(**kwargs)
    for odd_intent in (
        intent(value),
        intent(headers=(("X-Own", value),)),
        intent(in_reply_to=value),
        intent(attachments=(Attachment(filename=value, content_type="x/y", data=b""),)),
        intent(attachments=(Attachment(filename="a", content_type="x/y", data=b"",
                                       disposition=value),)),
    ):  # fmt: skip
        with pytest.raises(HeaderError):
            content(odd_intent)


def test_a_fold_cannot_be_smuggled_in():
    """A line break that looks like our own folding is refused as well."""
    with pytest.raises(HeaderError):
        content(to=(Mailbox("a@b.org", "x\r\n y"),))
    with pytest.raises(HeaderError):
        content(intent("a\r\n b"))


@pytest.mark.parametrize(
    "name",
    ["From", "TO", "cc", "Bcc", "Sender", "Reply-To", "subject", "Date", "Message-ID",
     "MIME-Version", "Content-Type", "content-transfer-encoding", "Content-Anything",
     "Return-Path", "Received", "DKIM-Signature", "Auto-Submitted", "Resent-From"]
)  # fmt: skip
def test_reserved_headers_are_refused(name):
    """What this package writes itself cannot be written twice or forged."""
    with pytest.raises(HeaderError, match=f"The header {name} is written for you"):
        check_header(name, "value")
    with pytest.raises(HeaderError):
        content(intent(headers=((name, "value"),)))


@pytest.mark.parametrize("name", ["", "a b", "a:b", "ä", ":", "X-Own ", " X", "x" * 61, 1, None])
def test_header_names_obey_the_grammar(name):
    """Printable ASCII without colon and blank (RFC 5322 §2.2)."""
    with pytest.raises(HeaderError):
        check_header(name, "value")


@pytest.mark.parametrize("value", [1, None, b"x"])
def test_header_values_are_strings(value):
    """Anything else is named, not converted."""
    with pytest.raises(HeaderError, match="must be a string"):
        check_header("X-Own", value)
    with pytest.raises(HeaderError, match="must be a string"):
        check_subject(value)


def test_too_long_a_subject_is_an_error():
    """998 characters are the most."""
    assert check_subject("x" * 998) == "x" * 998
    with pytest.raises(HeaderError, match="999 characters"):
        check_subject("x" * 999)


def test_own_thread_headers_give_way_to_the_thread():
    """Each of them may be there once."""
    own = (("References", "<own@x.org>"), ("X-Own", "1"))
    assert parsed(intent(headers=own))["References"] == "<own@x.org>"
    mail = parsed(intent(headers=own, in_reply_to="<first@x.org>"))
    assert mail.get_all("References") == ["<first@x.org>"]
    assert mail["X-Own"] == "1"


JOSE = Mailbox("ñoñó@firm.example", "José Ñandú")


@pytest.mark.parametrize("field", ["to", "cc"])
def test_who_has_an_international_local_part_is_a_name_in_the_header(field):
    """An empty group beside whole mailboxes (RFC 6857), so that every server takes the header."""
    nameless = Mailbox("ñ@firm.example")
    data = content(**{field: (JOSE, Mailbox("ada@firm.example", "Ada"), nameless)})
    check_wire(data)
    head = data.decode("ascii").partition("\r\n\r\n")[0]
    assert "<ada@firm.example>" in head
    groups = email.message_from_bytes(data, policy=default)[field].groups
    assert [(group.display_name, len(group.addresses)) for group in groups] == [
        ("José Ñandú", 0),
        (None, 1),
        ("A recipient with an international address", 0),
    ]


@pytest.mark.parametrize("name", ["J", 'A "quoted" one', "Ñ" * 21, "A long name, " * 18])
def test_a_group_is_written_as_any_name(name):
    """Long and strange names stay within the line, and come back."""
    data = content(to=(Mailbox("ñ@firm.example", name.strip()),))
    check_wire(data)
    (group,) = email.message_from_bytes(data, policy=default)["To"].groups
    assert group.display_name == name.strip()


@pytest.mark.parametrize(
    ("texts", "named_in"),
    [
        ({"text": "Hello"}, ["Hello\n\nFrom: José Ñandú <ñoñó@firm.example>\n"]),
        ({"text": None}, ["From: José Ñandú <ñoñó@firm.example>\n"]),
        ({"text": "Ask ñoñó@firm.example"}, ["Ask ñoñó@firm.example\n"]),
        (
            {"text": None, "html": "<p>İ</p></BODY ><!--</body>--></html>"},
            [
                "<p>İ</p></BODY ><!--<p>From: José Ñandú &lt;ñoñó@firm.example&gt;</p>"
                "</body>--></html>\n"
            ],
        ),
        (
            {"text": "Hi", "html": "<p>ñoñó@firm.example</p>"},
            ["Hi\n\nFrom: José Ñandú <ñoñó@firm.example>\n", "<p>ñoñó@firm.example</p>\n"],
        ),
        (
            {"text": "Hi", "html": "<p>Hi</p>"},
            [
                "Hi\n\nFrom: José Ñandú <ñoñó@firm.example>\n",
                "<p>Hi</p><p>From: José Ñandú &lt;ñoñó@firm.example&gt;</p>\n",
            ],
        ),
    ],
)
def test_an_address_that_no_header_holds_stands_in_the_texts(texts, named_in):
    """Once in each of them, and what HTML has is escaped."""
    sender = replace(SENDER, in_text=(("From", JOSE),))
    mail = parsed(intent(**texts), sender=sender)
    parts = [part for part in mail.walk() if not part.is_multipart()]
    assert [text_of(part) for part in parts] == named_in


def test_a_header_that_the_message_makes_itself_is_reserved():
    """Whatever its case, and no other is."""
    assert is_reserved("bcc")
    assert not is_reserved("X-Own")
