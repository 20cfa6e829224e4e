"""The tree of parts: alternatives, pictures in HTML, attached messages, readable files."""

from __future__ import annotations

import email
import json
import re
from email.policy import default

import flask_mail
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flask_interaction_mail.errors import ContentError, HeaderError
from flask_interaction_mail.messages.arguments import alternatives
from flask_interaction_mail.messages.attachments import attachment, files_of
from flask_interaction_mail.messages.intent import Intent
from tests.unit.test_message import check_wire, content, intent, parsed, text_of

INVITATION = "BEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\nSUMMARY:Grüße\r\nEND:VCALENDAR\r\n"
PNG = b"\x89PNG\r\n\x1a\n"
HTML = '<p>Hello <img src="cid:logo"> <img src="CID:a&amp;b%40x">'


def picture(id, name="logo.png", disposition="inline", header="Content-ID"):
    return attachment(flask_mail.Attachment(name, "image/png", PNG, disposition, {header: id}))


def kinds(mail):
    """The tree as nested types."""
    kind = mail.get_content_type()
    if not mail.is_multipart() or kind == "message/rfc822":
        return kind
    return (kind.partition("/")[2], *map(kinds, mail.iter_parts()))


def test_a_calendar_is_an_alternative_with_method_and_charset():
    """Programs show an invitation only so (RFC 6047 §2.4); the method is that of its text."""
    given = alternatives({"text/calendar": INVITATION})
    mail = parsed(intent(text="a", html="<p>a", alternatives=given))
    assert kinds(mail) == ("alternative", "text/plain", "text/html", "text/calendar")
    calendar = list(mail.iter_parts())[-1]
    assert dict(calendar["Content-Type"].params) == {"method": "REQUEST", "charset": "utf-8"}
    assert calendar.get_content_disposition() is None
    assert text_of(calendar) == INVITATION.replace("\r\n", "\n")


@pytest.mark.parametrize(
    ("kind", "text", "kept"),
    [
        ("text/calendar", INVITATION, "text/calendar; method=REQUEST"),
        ("text/calendar", "BEGIN:VCALENDAR\nmethod:cancel\n", "text/calendar; method=CANCEL"),
        ("text/calendar", "BEGIN:VCALENDAR\n", "text/calendar"),
        ("text/calendar; method=REPLY", INVITATION, "text/calendar; method=REPLY"),
        ("Text/Calendar; charset=latin-1; method=X", INVITATION, "text/calendar; method=X"),
        ('text/calendar; charset="utf-8"', INVITATION, "text/calendar; method=REQUEST"),
        (
            "text/calendar; component=VEVENT",
            INVITATION,
            "text/calendar; component=VEVENT; method=REQUEST",
        ),
        ("text/x-amp-html", "<html ⚡4email>", "text/x-amp-html"),
    ],
)
def test_the_type_of_an_alternative_is_kept_but_for_its_charset(kind, text, kept):
    """Everything is sent in UTF-8."""
    assert alternatives({kind: text}) == ((kept, text),)
    part = list(parsed(intent(text="t", alternatives=((kept, text),))).iter_parts())[-1]
    assert part.get_content_charset() == "utf-8"


def test_alternatives_stand_in_the_order_of_their_worth():
    """After HTML comes only what a calendar takes: others show the last one that they can."""
    given = alternatives({"text/calendar": INVITATION, "text/x-amp-html": "<html ⚡4email>"})
    mail = parsed(intent(text="a", html="b", alternatives=given))
    assert kinds(mail)[1:] == ("text/plain", "text/x-amp-html", "text/html", "text/calendar")
    assert kinds(parsed(Intent(kind="x", source="call", subject="x", alternatives=given[:1]))) == (
        "text/calendar"
    )


@pytest.mark.parametrize("given", [[("a", "b")], {"text/calendar": b"x"}, {1: "x"}, "text", 7])
def test_alternatives_are_texts_by_type(given):
    """Anything else is a TypeError that says what is wanted."""
    with pytest.raises(TypeError, match="mapping of content type to text"):
        alternatives(given)


@pytest.mark.parametrize("kind", ["image/png", "calendar", "text/", "text/x\r\nBcc: y", "téxt/x"])
def test_an_alternative_is_a_text(kind):
    """A picture is no other form of a text, and no type brings a line of its own."""
    with pytest.raises(HeaderError, match="cannot be the type of an alternative"):
        alternatives({kind: "x"})
    with pytest.raises(HeaderError):
        content(intent(alternatives=((kind, "x"),)))


def test_half_a_surrogate_pair_in_an_alternative_is_an_error():
    """The text names its type."""
    with pytest.raises(ContentError, match="text/calendar has half a surrogate pair"):
        content(intent(alternatives=(("text/calendar", "\ud800"),)))


def test_pictures_in_html_are_related_to_it():
    """RFC 2387: with the type of its root; the files follow it all."""
    files = (
        picture("<logo>"),
        attachment(("a.pdf", "application/pdf", b"%PDF")),
        picture("<a&b@x>"),
    )
    mail = parsed(intent(text="Hello", html=HTML, attachments=files))
    related = ("related", "text/html", "image/png", "image/png")
    assert kinds(mail) == ("mixed", ("alternative", "text/plain", related), "application/pdf")
    (part,) = [one for one in mail.walk() if one.get_content_subtype() == "related"]
    assert part["Content-Type"].params["type"] == "text/html"
    assert [one["Content-ID"] for one in part.iter_attachments()] == ["<logo>", "<a&b@x>"]
    assert mail.get_body(("related",)) is part
    assert text_of(mail.get_body(("html",))) == HTML + "\n"
    assert text_of(mail.get_body(("plain",))) == "Hello\n"


@pytest.mark.parametrize(
    "file",
    [
        picture("<other>"),
        picture("<LOGO>"),
        attachment(flask_mail.Attachment("logo", "image/png", PNG, "inline")),
        picture("logo.png", header="X-Attachment-Id"),
    ],
)
def test_what_the_html_does_not_show_is_a_file(file):
    """Programs hide what is related to a text that never mentions it."""
    assert kinds(parsed(intent(html=HTML, attachments=(file,)))) == (
        "mixed", "text/html", "image/png"
    )  # fmt: skip
    assert kinds(parsed(intent(text="cid:logo", attachments=(picture("<logo>"),))))[0] == "mixed"


def test_a_picture_may_be_named_by_its_place_and_need_no_brackets():
    """RFC 2557; an id gets the brackets that RFC 2392 wants."""
    place = picture("https://firm.example/logo.png", header="Content-Location")
    html = '<img src="https://firm.example/logo.png">'
    assert kinds(parsed(intent(html=html, attachments=(place,))))[0] == "related"
    bare = picture("logo", disposition="attachment")
    mail = parsed(intent(html=HTML, attachments=(bare,)))
    assert kinds(mail) == ("related", "text/html", "image/png")
    assert list(mail.iter_parts())[1]["Content-ID"] == "<logo>"


@pytest.mark.parametrize(
    ("header", "value"),
    [("Content-ID", "a b"), ("Content-ID", "<a><b>"), ("Content-ID", "<" + "x" * 901 + ">"),
     ("Content-Location", "https://x.org/a b")]
)  # fmt: skip
def test_what_html_refers_to_is_one_word(header, value):
    """An id or a place that no reference could name is refused with a reason."""
    with pytest.raises(HeaderError, match="write <logo>"):
        picture(value, header=header)


def test_long_descriptions_of_a_part_are_folded():
    """No line of a part's header is longer than servers take."""
    text = "a description " * 100
    wire = content(intent(attachments=(picture(text, header="Content-Description"),)))
    check_wire(wire)
    (part,) = email.message_from_bytes(wire, policy=default).iter_attachments()
    assert part["Content-Description"].rstrip() == text.rstrip()


ORIGINAL = (
    b'From: a@x.org\r\nContent-Type: multipart/mixed; boundary="=_mixed"\r\n\r\n'
    b"--=_mixed\r\n\r\n.\r\n\x1b$B\r\n--=_mixed--"
)


@pytest.mark.parametrize("end", [b"", b"\r\n", b"\n\n"])
def test_an_attached_message_travels_as_it_is(end):
    """Not encoded (RFC 2046 §5.2.1), and its boundaries are not taken for ours."""
    data = ORIGINAL + end
    file = attachment(("m.eml", "message/rfc822", data))
    wire = content(intent(html="a", text="b", attachments=(file, file)))
    check_wire(wire)
    canonical = re.sub(rb"\r?\n", b"\r\n", data)
    assert wire.count(b"\r\n\r\n" + canonical + b"\r\n--=_0mixed") == 2
    mail = email.message_from_bytes(wire, policy=default)
    assert kinds(mail) == (
        "mixed", ("alternative", "text/plain", "text/html"), "message/rfc822", "message/rfc822"
    )  # fmt: skip
    (inner,) = list(mail.iter_parts())[1].get_payload()
    assert inner["From"] == "a@x.org"
    again = content(intent(attachments=(attachment(("n.eml", "message/rfc822", wire)),)))
    assert b'boundary="=_1mixed"' in again
    assert kinds(email.message_from_bytes(again, policy=default))[2] == "message/rfc822"


@pytest.mark.parametrize(
    ("kind", "data", "why"),
    [
        ("message/rfc822", "Subject: Grüße\r\n\r\n".encode(), "bytes beyond ASCII"),
        ("message/rfc822", b"S: x\r\n\r\n" + b"x" * 999, "more than 998"),
        ("message/rfc822", b"S: x\r\n\rMAIL", "bare carriage return"),
        ("message/rfc822", b"S: x\r\n\0", "control character"),
        ("message/rfc822", b"S: x\r\n\x0c.\r\n", "control character"),
        ("Message/RFC822", b"", "does not begin with a header"),
        ("message/rfc822", b"Hello there", "does not begin with a header"),
        ("message/partial; number=1", b"S: x\r\n", "may not be encoded"),
        ("message/external-body", b"S: x\r\n", "may not be encoded"),
        ("multipart/mixed", b"S: x\r\n", "may not be encoded"),
    ],
)
def test_a_message_that_cannot_travel_as_it_is_says_why(kind, data, why):
    """With the way out: as a file of bytes it can."""
    with pytest.raises(HeaderError, match=rf"{why}.*octet-stream"):
        attachment(("m.eml", kind, data))


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("a.pdf", b"", "application/pdf"),
        ("Ä.TXT", b"", "text/plain"),
        ("a.csv", b"", "text/csv"),
        ("a.tar.gz", b"", "application/gzip"),
        ("a.nonsense", b"", "application/octet-stream"),
        ("", b"", "application/octet-stream"),
        ("m.eml", b"S: x\n", "message/rfc822"),
        ("m.eml", b"\xff", "application/octet-stream"),
    ],
)
def test_a_file_without_a_type_gets_that_of_its_name(name, data, kind):
    """As Flask-Mail guesses, and as people name their files."""
    assert attachment((name, None, data)).content_type == kind
    assert attachment((name, "", data)).content_type == kind


texts = st.binary(max_size=300) | st.text("ab =_.\t\r\n~", max_size=300).map(str.encode)
texts |= st.text("ab =_.\t\n~", max_size=300).map(lambda text: text.replace("\n", "\r\n").encode())


@given(data=texts)
@example(data=b"")
@example(data=b"x" * 200 + b" \r\n.\r\n \n" * 30 + b"\t")
@example(data=b"--=_mixed--\r\nFrom x\n")
@example(data=b"x" * 200 + b" \r\n.\r\n\t\r\n" * 30 + b" ")
@example(data=b"a;b\r\n1;2\r\n")
def test_every_byte_of_a_text_file_arrives(data):
    """In quoted-printable where it is ASCII: filters for spam do not like it in base64."""
    given = intent(attachments=(attachment(("a.txt", "text/plain", data)),))
    wire = content(given)
    check_wire(wire)
    (part,) = email.message_from_bytes(wire, policy=default).iter_attachments()
    assert part.get_payload(decode=True) == data
    text = re.fullmatch(rb"(?:[\t\x20-\x7e]|\r\n)*|(?:[\t\x20-\x7e]|\n)*", data)
    assert part["Content-Transfer-Encoding"] == ("quoted-printable" if text else "base64")


def test_alternatives_are_kept_and_are_files_in_a_digest():
    """What is stored is read again; a digest has no place for another form of one text."""
    given = intent(alternatives=alternatives({"text/calendar": INVITATION}))
    assert Intent.from_json(given.to_json()) == given
    (file,) = files_of(given)
    assert (file.filename, file.data) == ("alternative.ics", INVITATION.encode())
    assert file.content_type == 'text/calendar; method=REQUEST; charset="utf-8"'
    attachment((file.filename, file.content_type, file.data))


def test_an_intent_of_version_0_1_is_read_without_its_list_of_messages():
    """A digest named there what was in it; anything else that is unknown is still an error."""
    kept = {"kind": "notification", "source": "digest", "subject": "2 messages"}
    intent = Intent.from_json(json.dumps(kept | {"gathers": ["ab", "cd"]}))
    assert intent == Intent(**kept)
    assert "gathers" not in intent.to_json()
    with pytest.raises(ValueError, match="cannot be read"):
        Intent.from_json(json.dumps(kept | {"gather": []}))
