"""Saying things to a server: nothing can be read as more than was meant."""

from __future__ import annotations

import base64
import itertools
import json
from pathlib import Path

import pytest

from flask_interaction_mail.errors import AddressError, ContentError
from flask_interaction_mail.settings.secret import Secret
from flask_interaction_mail.transport.base import Envelope
from flask_interaction_mail.transport.smtp import auth, commands
from flask_interaction_mail.transport.smtp.replies import Capabilities

BODIES = Path(__file__).parents[1] / "corpora" / "attack" / "smuggling_bodies.json"


def envelope(**changes) -> Envelope:
    values = {"sender": "a@x.test", "recipients": ("b@x.test",), "content": b"S: x\r\n\r\nhi\r\n"}
    return Envelope(**{**values, **changes})


@pytest.mark.parametrize(
    "bad",
    [b"a\nb\r\n", b"a\rb\r\n", b"a\0b\r\n", b"a\n.\r\n", b"a\r\n.\rb", b"\r\r\n", b"a\r\n.\n"],
)
def test_content_that_could_be_two_messages_is_refused(bad):
    """SMTP smuggling (CVE-2023-51764): line ends are CR LF or nothing goes out."""
    with pytest.raises(ContentError):
        commands.check(envelope(content=bad))


def test_every_short_content_is_judged_and_stuffed_by_the_letter():
    """What is left without CR LF holds no CR, no LF, no NUL; each line that begins with a dot
    gets a second one."""
    for letters in itertools.chain.from_iterable(
        itertools.product((b"\r", b"\n", b".", b"\0", b"a"), repeat=length) for length in range(7)
    ):
        content = b"".join(letters)
        lines = content.split(b"\r\n")
        if any(one in line for line in lines for one in (b"\r", b"\n", b"\0")):
            with pytest.raises(ContentError):
                commands.check(envelope(content=content))
            continue
        commands.check(envelope(content=content))
        end = b"\r\n" if lines[-1] else b""
        stuffed = [b"." + line if line.startswith(b".") else line for line in lines]
        assert commands.stuffed(content) == b"\r\n".join(stuffed) + end + b".\r\n"


def test_a_line_of_998_bytes_is_the_longest():
    """RFC 5321 section 4.5.3.1.6, the line end not counted."""
    commands.check(envelope(content=b"x" * 998 + b"\r\n"))
    with pytest.raises(ContentError, match="998"):
        commands.check(envelope(content=b"x" * 999 + b"\r\n"))


@pytest.mark.parametrize(
    "address",
    [
        "",
        "a",
        "@x.test",
        "a@",
        "a b@x.test",
        "a@x.test>\r\nDATA",
        "a@x.test> SIZE=1",
        "<a@x.test>",
        "a\0@x.test",
        "a@x.test\x85",
        "a@x.test\u2028",
        "a\t@x.test",
    ],
)
def test_an_address_that_could_be_a_command_is_refused(address):
    """As sender and as recipient."""
    for changes in ({"sender": address}, {"recipients": ("b@x.test", address)}):
        with pytest.raises(AddressError):
            commands.check(envelope(**changes))


def test_a_message_for_nobody_is_refused():
    """There is no MAIL without RCPT."""
    with pytest.raises(AddressError):
        commands.check(envelope(recipients=()))


@pytest.mark.parametrize(
    ("content", "wire"),
    [
        (b"a\r\n", b"a\r\n.\r\n"),
        (b"a", b"a\r\n.\r\n"),
        (b"", b".\r\n"),
        (b".\r\n", b"..\r\n.\r\n"),
        (b".a\r\n..b\r\nc.\r\n", b"..a\r\n...b\r\nc.\r\n.\r\n"),
    ],
)
def test_dots_are_stuffed(content, wire):
    """RFC 5321 section 4.5.2."""
    assert commands.stuffed(content) == wire


def test_mail_names_only_what_the_server_offered():
    """SIZE, BODY and SMTPUTF8 are extensions."""
    plain = Capabilities()
    every = Capabilities(announces_size=True, eight_bit=True, smtputf8=True)
    assert commands.mail(envelope(), plain) == b"MAIL FROM:<a@x.test>\r\n"
    assert commands.mail(envelope(), every) == b"MAIL FROM:<a@x.test> SIZE=12\r\n"
    eight = envelope(content="ü\r\n".encode(), recipients=("ü@x.test",))
    assert commands.mail(eight, every).endswith(b" SIZE=4 BODY=8BITMIME SMTPUTF8\r\n")
    assert commands.rcpt("ü@x.test") == "RCPT TO:<ü@x.test>\r\n".encode()


def test_reports_are_asked_for_where_they_are_offered():
    """Headers alone come back, under our names for message and recipient (RFC 3461, RFC 6533)."""
    named, dsn = envelope(envid="a+b=c@x.test"), Capabilities(dsn=True)
    assert commands.mail(named, Capabilities()) == b"MAIL FROM:<a@x.test>\r\n"
    assert commands.mail(envelope(), dsn) == b"MAIL FROM:<a@x.test>\r\n"
    assert commands.mail(named, dsn).endswith(b"> RET=HDRS ENVID=a+2Bb+3Dc@x.test\r\n")
    assert commands.reported(named, Capabilities(), success=True) == ""
    assert commands.reported(envelope(), dsn, success=True) == ""
    assert commands.reported(named, dsn, success=True) == "SUCCESS,FAILURE,DELAY"
    notify = commands.reported(named, dsn, success=False)
    asked = commands.rcpt("a+b=c@x.test", notify)
    assert asked.endswith(b"> NOTIFY=FAILURE,DELAY ORCPT=rfc822;a+2Bb+3Dc@x.test\r\n")
    asked = commands.rcpt("ü+\\😀@x.test", notify)
    assert asked.endswith(b" ORCPT=utf-8;\\x{FC}\\x{2B}\\x{5C}\\x{1F600}@x.test\r\n")


def test_names_that_are_too_long_for_a_report_are_left_out():
    """ENVID has 100 characters at most, ORCPT 500 (RFC 3461)."""
    dsn = Capabilities(dsn=True)
    for length, fits in ((100, True), (101, False)):
        asked = commands.mail(envelope(envid="x" * length), dsn)
        assert asked.endswith(b"RET=HDRS\r\n") != fits
    for length, fits in ((493, True), (494, False)):
        asked = commands.rcpt("x" * (length - 7) + "@x.test", "FAILURE")
        assert asked.endswith(b" NOTIFY=FAILURE\r\n") != fits


@pytest.mark.parametrize("password", ["p", "pass word", "pässwörd", "\ud800", "x" * 2000])
def test_passwords_of_any_letters_go_out_as_utf_8(password):
    """RFC 4616; where the line would be too long, the token follows on its own."""
    token = b"\0ada\0" + password.encode("utf-8", "surrogatepass")
    secret = Secret(password)
    assert base64.b64decode(auth.plain_token("ada", secret)) == token
    first = auth.plain_command("ada", secret)
    assert first.startswith(b"AUTH PLAIN")
    assert len(first) <= 512


def test_corpus_of_smuggling_bodies_is_refused_or_stuffed():
    """No body of the corpus leaves a lone dot inside of the content."""
    for case in json.loads(BODIES.read_text()):
        body = case["body"] if isinstance(case, dict) else case
        content = body.encode("utf-8", "surrogatepass")
        try:
            commands.check(envelope(content=content))
        except ContentError:
            continue
        assert b"\r\n.\r\n" not in commands.stuffed(content)[:-5]
