"""Reading replies: pure, and harmless whatever a server sends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flask_interaction_mail.outcome import Fault, Stage
from flask_interaction_mail.transport.faults import fault_of
from flask_interaction_mail.transport.replies import (
    MAX_TEXT,
    ReplyLine,
    assemble,
    capabilities,
    parse_line,
    safe_text,
)

CORPUS = Path(__file__).parents[1] / "corpora" / "smtp_replies" / "replies.jsonl"
CASES = [json.loads(line) for line in CORPUS.read_text().splitlines()]


def reply(text: str):
    line = parse_line(text.encode())
    assert line is not None
    return assemble([line])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["source"])
def test_real_replies_are_read_by_their_code(case):
    """Whatever the text says, the first digit decides between transient and permanent."""
    read = reply(case["reply"])
    expected = {"2": None, "4": "temporary", "5": "permanent"}[case["reply"][0]]
    assert (read.transient, read.permanent) == (
        expected == "temporary",
        expected == "permanent",
    )
    if case["unambiguous"]:
        assert expected == case["expected"]


@pytest.mark.parametrize(
    "line",
    [b"", b"25", b"2500 x", b"abc def", b"\xff\xfe", b"199 x", b"600 x", b"250_x", b" 250 x"],
)
def test_what_is_no_reply_is_none(line):
    """A code has three digits of which the first is 2 to 5, and then a blank or a hyphen."""
    assert parse_line(line) is None


@pytest.mark.parametrize("line", [b"250", b"250 ", b"250 ok", b"250-more"])
def test_replies_without_text_are_replies(line):
    """Text is optional (RFC 5321 section 4.2)."""
    parsed = parse_line(line)
    assert parsed is not None
    assert parsed.code == 250
    assert parsed.last == (b"-" not in line)


def test_lines_make_one_reply_and_the_enhanced_code_is_taken_once():
    """Sendmail, Exchange and others repeat the enhanced code on each line."""
    read = assemble([ReplyLine(550, False, b"5.7.1 Not like"), ReplyLine(550, True, b"5.7.1 this")])
    assert str(read) == "550 5.7.1 Not like this"


def test_an_enhanced_code_of_another_class_is_only_text():
    """RFC 2034 section 4: the classes have to agree."""
    assert reply("550 4.4.7 expired").enhanced is None


@pytest.mark.parametrize(
    "raw", [b"\x1b[31mred\x1b[0m", b"a\0b", b"a\rb", b"caf\xe9", "‮abc\u2028x\x85".encode()]
)
def test_text_of_a_server_has_no_effect_anywhere(raw):
    """Control characters, line separators and reordering marks are escaped."""
    text = safe_text(raw)
    assert text.isprintable()
    assert "\\" in text


def test_text_is_cut():
    """A talkative server fills no database."""
    assert len(safe_text(b"x" * 60_000)) == MAX_TEXT
    many = [ReplyLine(250, False, b"y" * 600)] * 99 + [ReplyLine(250, True, b"")]
    assert len(assemble(many).text) == MAX_TEXT


def test_letters_of_all_languages_stay():
    """Only what has an effect is escaped."""
    assert safe_text("Grüße, 你好".encode()) == "Grüße, 你好"


def lines(*texts: str) -> list[ReplyLine]:
    return [ReplyLine(250, False, text.encode()) for text in texts]


def test_capabilities_are_read_in_any_spelling():
    """Keywords have no case, and old servers write AUTH=."""
    offered = capabilities(
        lines("x", "pipelining", "Size 1000", "AUTH=LOGIN", "AUTH PLAIN LOGIN", "8bitmime", "")
    )
    assert offered.pipelining
    assert offered.eight_bit
    assert offered.size == 1000
    assert offered.auth == ("LOGIN", "PLAIN")
    assert not offered.starttls


@pytest.mark.parametrize("size", ["SIZE", "SIZE 0", "SIZE x", "SIZE ²", "SIZE " + "9" * 40])
def test_a_size_that_is_no_limit_is_none(size):
    """Nothing, zero and rubbish (RFC 1870 section 4)."""
    offered = capabilities(lines("x", size))
    assert offered.announces_size
    assert offered.size is None


@pytest.mark.parametrize(
    ("stage", "text", "fault"),
    [
        (Stage.SENDER, "530 5.7.0 Authentication required", Fault.AUTH_REQUIRED),
        (Stage.SENDER, "530 Must issue a STARTTLS command first", "encryption_required"),
        (Stage.SENDER, "550 5.7.1 Client was not authenticated", Fault.AUTH_REQUIRED),
        (Stage.SENDER, "553 5.7.1 <a@b>: Sender address rejected: not logged in", "auth_required"),
        (Stage.RECIPIENT, "554 5.7.1 <a@b>: Relay access denied", Fault.RELAY_DENIED),
        (Stage.RECIPIENT, "550 5.7.1 Unable to relay for a@b", Fault.RELAY_DENIED),
        (Stage.RECIPIENT, "550 5.7.1 <a@b>... Relaying denied", Fault.RELAY_DENIED),
        (Stage.RECIPIENT, "550 relay not permitted", Fault.RELAY_DENIED),
        (Stage.RECIPIENT, "553 sorry, that domain isn't in my list of rcpthosts", "relay_denied"),
        (Stage.RECIPIENT, "550 5.7.54 SMTP; Unable to relay recipient", Fault.RELAY_DENIED),
        (Stage.SENDER, "550 5.7.1 go away", Fault.SENDER_REFUSED),
        (Stage.SENDER, "451 later", Fault.SENDER_TRANSIENT),
        (Stage.RECIPIENT, "550 5.1.1 whatever", Fault.RECIPIENT_UNKNOWN),
        (Stage.RECIPIENT, "550 User unknown", Fault.RECIPIENT_UNKNOWN),
        (Stage.RECIPIENT, "550 No such user here", Fault.RECIPIENT_UNKNOWN),
        (Stage.RECIPIENT, "550 Rejected", Fault.RECIPIENT_REFUSED),
        (Stage.RECIPIENT, "450 4.2.0 Greylisted, see http://x", Fault.RECIPIENT_GREYLISTED),
        (Stage.RECIPIENT, "451 4.7.1 Please try again later", Fault.RECIPIENT_GREYLISTED),
        (Stage.RECIPIENT, "450 4.1.2 Domain not found", Fault.RECIPIENT_TRANSIENT),
        (Stage.RECIPIENT, "552 5.2.2 Mailbox full", Fault.MAILBOX_FULL),
        (Stage.RECIPIENT, "452 4.2.2 over quota", Fault.MAILBOX_FULL),
        (Stage.CONTENT, "552 5.3.4 Message size exceeds fixed limit", Fault.TOO_BIG),
        (Stage.CONTENT, "554 5.7.1 spam", Fault.CONTENT_REFUSED),
        (Stage.CONTENT, "451 4.3.0 queue file write error", Fault.CONTENT_TRANSIENT),
    ],
)
def test_r24_refusals_are_told_apart(stage, text, fault):
    """What is wrong decides the advice; above all the want of authentication is recognised."""
    assert fault_of(stage, reply(text)) == fault
