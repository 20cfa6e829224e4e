"""Reading replies: pure, and harmless whatever a server sends."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from flask_interaction_mail.outcome import Fault, Stage
from flask_interaction_mail.transport.smtp.auth import reason_in
from flask_interaction_mail.transport.smtp.conclusions import provider_id
from flask_interaction_mail.transport.smtp.faults import fault_of, named_by, refuses_us
from flask_interaction_mail.transport.smtp.replies import (
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


# Words of those replies of real servers that refuse the sender or the machine.
OURS = (
    "Client host rejected: blocked using",
    "Connections not accepted from servers without",
    "501 5.1.8 Sender address rejected",
    "mismatches client ip",
    "Domain of sender address user@example.com does not exist",
    "see https://support.proofpoint.com/dnsbl-lookup",
    "very low reputation of the sending IP",
    "Bad DNS PTR resource record",
    "Unauthenticated senders not allowed",
    "IP name lookup failed",
    "Client host rejected: may not be mail exchanger",
    "553 http://www.spamhaus.org/query/bl",
    "The IP address sending this message does not have a",
    "banned sending IP",
    "Host network not allowed",
    "<user@example.com> sender rejected",
    "Connection frequency limited",
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["source"])
def test_whose_fault_real_replies_say_it_is(case):
    """All others are about a recipient, a content or nothing that they name."""
    assert refuses_us(reply(case["reply"])) == any(words in case["reply"] for words in OURS)


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
        (Stage.SENDER, "503 AUTH first (#5.5.1)", Fault.AUTH_REQUIRED),
        (Stage.SENDER, "553 5.7.1 <a@b>: Sender address rejected: not logged in", "auth_required"),
        (Stage.RECIPIENT, "554 5.7.1 <a@b>: Relay access denied", Fault.RELAY_DENIED),
        (Stage.RECIPIENT, "550 5.7.1 Unable to relay for a@b", Fault.RELAY_DENIED),
        (Stage.RECIPIENT, "550 5.7.1 <a@b>... Relaying denied", Fault.RELAY_DENIED),
        (Stage.RECIPIENT, "550 relay not permitted", Fault.RELAY_DENIED),
        (Stage.RECIPIENT, "553 sorry, that domain isn't in my list of rcpthosts", "relay_denied"),
        (Stage.RECIPIENT, "550 5.7.54 SMTP; Unable to relay recipient", Fault.RELAY_DENIED),
        (Stage.RECIPIENT, "454 4.7.1 <a@b>: Relay access denied", Fault.RELAY_DENIED),
        (Stage.RECIPIENT, "550 Relaying denied. Authentication required", Fault.RELAY_DENIED),
        (Stage.SENDER, "553 Relaying disallowed as crm@x.test", Fault.SENDER_REFUSED),
        (Stage.SENDER, "553 Sender is not allowed to relay emails", Fault.SENDER_REFUSED),
        (
            Stage.RECIPIENT,
            "553 <c@b>: Sender address rejected: not owned by user",
            "sender_refused",
        ),
        (Stage.RECIPIENT, "450 4.1.8 <c@b>: Sender address rejected: x", Fault.SENDER_TRANSIENT),
        (Stage.RECIPIENT, "501 5.1.8 no such domain", Fault.SENDER_REFUSED),
        (Stage.CONTENT, "554 Email address is not verified: c@b", Fault.SENDER_REFUSED),
        (Stage.CONTENT, "550 The from address matches no verified identity", "sender_refused"),
        (Stage.CONTENT, "554 5.2.252 SendAsDenied; c@b", Fault.SENDER_REFUSED),
        (Stage.RECIPIENT, "504 5.5.2 <corp>: Helo command rejected: x", Fault.HELO_REFUSED),
        (Stage.SENDER, "503 5.5.1 Error: send HELO/EHLO first", Fault.HELO_REFUSED),
        (Stage.RECIPIENT, "554 <a[1.2.3.4]>: Client host rejected: x", Fault.CLIENT_REFUSED),
        (Stage.SENDER, "550 5.7.25 has no name", Fault.CLIENT_REFUSED),
        (Stage.RECIPIENT, "550 5.7.8 x", Fault.AUTH_REQUIRED),
        (Stage.RECIPIENT, "450 4.2.0 Client host rejected: Greylisted", "recipient_greylisted"),
        (Stage.RECIPIENT, "550 5.7.1 Sender not allowed to mail to this list", "recipient_refused"),
        (Stage.RECIPIENT, "550 5.1.1 Mail from your IP to unknown user", "recipient_unknown"),
        (Stage.CONTENT, "550 5.7.26 the sender is not authenticated", Fault.CONTENT_REFUSED),
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


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("553 sorry, your envelope sender is in my badmailfrom list", "sender_refused"),
        ("550 5.7.1 Sender blocked", "sender_refused"),
        ("550 not local sender over smtp", "sender_refused"),
        ("550 5.7.1 Mail from 192.0.2.1 refused by blackhole site", "client_refused"),
        ("451 4.7.500 Server busy. Please try again later from [192.0.2.1].", "client_refused"),
        ("550 Access restricted from [2001:db8::1]", "client_refused"),
        ("550 5.7.511 Access denied, banned sender[192.0.2.1]", "client_refused"),
        ("550 5.7.501 Access denied, spam abuse detected from IP range", "client_refused"),
        ("550 5.7.750 Client blocked from sending from these domains", "client_refused"),
        ("550 5.4.5 Daily user sending limit exceeded.", "client_refused"),
        ("550 Unauthorized. Please login before sending mail", "auth_required"),
        ("550 No such user: helo@x.test", None),
        ("550 <SPF@X.test>: User unknown", None),
        ("450 4.2.0 <your.ip@x.test>: mailbox busy", None),
        ("556 The recipient's domain has a null MX", None),
        ("550 5.7.1 The recipient does not accept mail from sender <crm@firm.test>", None),
        ("550 Sender blocked by recipient", None),
        ("550 5.7.134 sender not allowed", None),
        ("550 5.2.1 Mailbox disabled, please contact your host", None),
    ],
)
def test_what_is_refused_is_named_by_the_server_alone(text, fault):
    """Of what the server says; not by words in an address that somebody made up."""
    told = reply(text)
    recipient = next((word.strip("<>:") for word in text.split() if "x.test" in word.lower()), "")
    about = {"sender": "crm@firm.test", "recipient": recipient.lower()}
    assert named_by(told, **about) == fault
    assert refuses_us(told, **about) is (fault is not None)


@pytest.mark.parametrize(
    ("text", "ours"),
    [
        ("550 5.7.1 User mailer7 is suspended", True),
        ("550 5.7.1 <MAILER7>: not allowed", True),
        ("550 5.7.1 mailer77 is full", False),
        ("550 5.7.1 mailer7@x.test is full", False),
    ],
)
def test_a_login_is_named_at_mail(text, ours):
    """Whoever logs in with it meets that again; an answer to RCPT may mean a mailbox."""
    assert refuses_us(reply(text), login="mailer7") is ours
    assert (fault_of(Stage.SENDER, reply(text), login="mailer7") == "auth_required") is ours
    assert fault_of(Stage.RECIPIENT, reply(text), login="mailer7") != "auth_required"


def test_who_writes_to_himself_is_refused_as_recipient():
    """His address in the answer to RCPT says nothing about the sender; at MAIL it does."""
    himself = "crm@firm.test"
    told = reply(f"550 <{himself}> is not welcome")
    assert named_by(told, sender=himself, recipient=himself) is None
    assert named_by(told, sender=himself) == "sender_refused"
    assert named_by(told, sender=himself, recipient="eve@x.test") == "sender_refused"


@pytest.mark.parametrize(
    ("said", "named"),
    [
        (  # Amazon SES
            "250 Ok 0102018f3c5e7a11-5b0c9d1e-2f3a-4b5c-8d6e-7f8091a2b3c4-000000",
            "0102018f3c5e7a11-5b0c9d1e-2f3a-4b5c-8d6e-7f8091a2b3c4-000000",
        ),
        ("250 Ok: queued as mHkC4RtKQGm0aXWv2qPz3A", "mHkC4RtKQGm0aXWv2qPz3A"),  # SendGrid
        (  # Mailjet
            "250 OK queued as 5c1f6c1e-9a51-4b0e-9a5d-0f4f3c6a7b80",
            "5c1f6c1e-9a51-4b0e-9a5d-0f4f3c6a7b80",
        ),
        (  # Brevo
            "250 2.0.0 OK: queued as <202611291944.51234567890@smtp-relay.mailin.fr>",
            "202611291944.51234567890@smtp-relay.mailin.fr",
        ),
        ("250 Great success", None),  # Mailgun, which keeps the Message-ID
        ("250 2.0.0 Ok: queued as 4bXyZw1GqDz3Fk", None),  # Postfix
        ("250 OK id=1vPlQx-00000000aBc-1dEf", None),  # Exim
        ("250 2.0.0 OK  1764444444 5b1f17b1804b1-4790adc6f0asi1234.5 - gsmtp", None),
        ("250 2.6.0 <1@firm.example> [InternalId=1, Hostname=x] Queued mail for delivery", None),
        ("250 Ok " + "0" * 256, None),
        ("250 Ok \u0660102018f3c5e7a11-5b0c9d1e", None),
    ],
)
def test_the_name_that_a_provider_gives_is_in_its_reply(said: str, named: str | None):
    """Only one that nobody can guess: a report may name its message by it."""
    assert provider_id(reply(said)) == named


def test_a_deep_challenge_tells_no_reason():
    """One by IMAP may be long enough for it."""
    assert reason_in(base64.b64encode(b"[" * 2000).decode()) == ""
