"""Reports of mail servers: what they say, whom they mean, and that nothing in them is believed."""

from __future__ import annotations

import base64
import codecs
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from flask_interaction_mail.errors import UnreadableReport
from flask_interaction_mail.returned.matching import Match, Recipients
from flask_interaction_mail.returned.reading import LIMIT, read
from flask_interaction_mail.returned.state import reason_code, state_of
from flask_interaction_mail.values import RETURNED, Status

CORPUS = Path(__file__).parents[1] / "corpora" / "dsn"
FILES = sorted(path.stem for path in CORPUS.glob("*.eml"))
_BY_NAME = {  # how a file is called by its maker, where that is not the state's own word
    "failed": {"bounced"},
    "expired": {"bounced"},
    "relayed": {"passed_on"},
    "expanded": {"passed_on"},
    "noaction": {"told"},
    "fail": {"told"},
    "delivered+failed": {"delivered", "bounced"},
}


class Row(NamedTuple):
    """A line of the table: what has to be found in a file, once for each recipient."""

    file: str
    message_id: str
    recipient: str
    state: str
    reason: str
    behind: str


ROWS = [
    Row(*line.split("\t"))
    for line in (CORPUS / "expected.tsv").read_text().splitlines()
    if not line.startswith("#")
]
# Everybody whom a message of the corpus had as a recipient.
EVERYBODY = sorted({row.recipient for row in ROWS} - {"-"})


QP = b"delivery-status\nContent-Transfer-Encoding: quoted-printable\n\n"


def content_of(file: str) -> bytes:
    return (CORPUS / f"{file}.eml").read_bytes()


def report(
    fields: str, *, of_all: str = "", returned: str = "Message-ID: <1@app.example>"
) -> bytes:
    """A report with these fields of recipients."""
    return (
        "From: MAILER-DAEMON@mx.example\nTo: wrong@app.example\nSubject: Undelivered\n"
        "Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n"
        "--b\n\nada@app.example was not reached: 550 5.1.1 unknown\n"
        "--b\nContent-Type: message/delivery-status\n\n"
        f"Reporting-MTA: dns; mx.example\n{of_all}\n{fields}\n"
        f"--b\nContent-Type: text/rfc822-headers\n\n{returned}\n\n--b--\n"
    ).encode()


def only_note(content: bytes):
    (note,) = read(content).notes
    return note


@pytest.mark.parametrize("file", FILES)
def test_each_report_of_the_corpus_is_read_as_the_table_says(file):
    """The message, the recipient among all others, what became of it, and why."""
    found, expected = read(content_of(file)), [row for row in ROWS if row.file == file]
    assert found.automatic == (expected[0].state == "automatic")
    assert (found.references or ("-",))[0] == expected[0].message_id
    if expected[0].state in ("automatic", "none"):
        assert not found.notes
        return
    assert len(found.notes) == len(expected)
    for note, row in zip(found.notes, expected, strict=True):
        met = Recipients(EVERYBODY).match(note)
        # OpenSMTPD and others name the address as we did; after an alias, one of two fields does.
        assert met is not None
        assert EVERYBODY[met.position] == row.recipient
        assert (str(note.state or "told"), note.code or "-") == (row.state, row.reason)
        assert (met.behind or "-") == row.behind


def test_the_table_says_what_the_files_are_called():
    """The names of the files were given where they were made; the table agrees with each."""
    assert len(FILES) == 134
    assert {row.file for row in ROWS} == set(FILES)
    for file in FILES:
        states = {row.state for row in ROWS if row.file == file}
        if file.startswith("vac-"):
            # vacation(1) marks its replies with nothing.
            assert states == ({"none"} if "vacation1" in file else {"automatic"}), file
            continue
        words = [word for word in file.split("-") if not word.isdigit()]
        assert states == _BY_NAME.get(words[-1], {words[-1]}), file


def test_nobody_else_is_meant():
    """A report means nobody in a message whose recipients it does not name."""
    strangers = ["somebody@example.com", "refuse@elsewhere.example"]
    for row in ROWS:
        for note in read(content_of(row.file)).notes:
            assert Recipients(strangers).match(note) is None, row.file


# -- what is believed ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "status", "more", "state"),
    [
        ("failed", "4.4.1", "", Status.BOUNCED),  # final, whatever the class says
        ("failed", "2.0.0", "", Status.BOUNCED),
        ("delivered", "5.1.1", "", Status.DELIVERED),
        ("delivered (to mailbox)", "2.1.5", "", Status.DELIVERED),
        ("DELAYED", "5.0.0", "", Status.DELAYED),
        ("relayed", "5.0.0", "", Status.PASSED_ON),
        ("expanded", "2.0.0", "", Status.PASSED_ON),
        ("delayed", "4.4.7", "", Status.BOUNCED),  # OpenSMTPD has given up
        ("delayed", "4.4.7", "Will-Retry-Until: Fri, 27 Nov 2026 22:53:50 +0000", Status.DELAYED),
        ("delayed", "4.4.7", "Diagnostic-Code: smtp; 452 4.2.2 over quota", Status.DELAYED),
        ("", "5.1.1", "", Status.BOUNCED),
        ("", "4.1.1", "", None),
        ("", "", "Diagnostic-Code: smtp; 550 no such user", Status.BOUNCED),
        ("", "", "", None),
        ("imagined", "2.0.0", "", None),
        ("imagined", "5.1.1", "", None),
    ],
)
def test_the_first_word_of_the_action_decides(action, status, more, state):
    """Neither the class of the status nor the text has a say where there is an action."""
    fields = [f"Final-Recipient: rfc822; ada@app.example\nStatus: {status}"]
    fields += [f"Action: {action}"] if action else []
    fields += [more] if more else []
    assert only_note(report("\n".join(fields) + "\n")).state is state


def test_neither_the_text_nor_the_envelope_makes_a_report():
    """What only looks like a report reports nothing, and means nobody."""
    looks = (
        b"From: MAILER-DAEMON@mx.example\nTo: crm@app.example\n"
        b"Subject: Undelivered Mail Returned to Sender\nAuto-Submitted: auto-replied\n"
        b"X-Failed-Recipients: ada@app.example\nIn-Reply-To: <1@app.example>\n\n"
        b"<ada@app.example>: 550 5.1.1 User unknown\nAction: failed\n"
    )
    found = read(looks)
    assert not found.notes
    assert found.automatic


def test_the_recipient_is_not_taken_from_to_or_from_the_text():
    """To of a report is whoever it was sent to; its text names whom it likes."""
    note = only_note(report("Final-Recipient: rfc822; other@mx.example\nAction: failed\n"))
    assert Recipients(["ada@app.example", "wrong@app.example"]).match(note) is None


def test_what_is_attached_to_a_returned_message_reports_nothing():
    """A report that somebody had sent on, and that came back, is not a report about us."""
    inner = report("Final-Recipient: rfc822; ben@app.example\nAction: failed\n").decode()
    outer = (
        "Content-Type: multipart/report; boundary=o\n\n"
        "--o\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example\n\n"
        "Final-Recipient: rfc822; ada@app.example\nAction: failed\n\n"
        f"--o\nContent-Type: message/rfc822\n\nMessage-ID: <2@app.example>\n{inner}\n--o--\n"
    )
    found = read(outer.encode())
    assert [note.final[0] for note in found.notes] == ["ada@app.example"]
    assert found.references[0] == "<2@app.example>"


def test_a_report_that_was_sent_on_is_still_one():
    """Somebody who forwards a report as an attachment has passed it on as it was."""
    inner = report("Final-Recipient: rfc822; ada@app.example\nAction: failed\n")
    found = read(b"Subject: Fwd\nContent-Type: message/rfc822\n\n" + inner)
    assert [note.state for note in found.notes] == [Status.BOUNCED]
    assert found.references == ("<1@app.example>",)


def test_reports_that_were_sent_on_together_are_not_mixed_up():
    """What one says of its recipient is not said of the other's message: a person reads them."""
    fields = "Final-Recipient: rfc822; {}@app.example\nAction: {}\n"
    told = [
        report(fields.format("ada", "delivered")),
        report(fields.format("ben", "failed"), returned="Message-ID: <2@app.example>"),
    ]
    parts = b"".join(b"--o\nContent-Type: message/rfc822\n\n" + one + b"\n" for one in told)
    with pytest.raises(UnreadableReport):
        read(b"Subject: Fwd\nContent-Type: multipart/digest; boundary=o\n\n" + parts + b"--o--\n")


# -- whom it means ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "recipients", "expected"),
    [
        # Postfix and Courier: ours is the original one.
        (
            "Original-Recipient: rfc822;team@a.example\nFinal-Recipient: rfc822; ben@b.example",
            ["ben@a.example", "team@a.example"],
            Match(1, "ben@b.example"),
        ),
        # Exim leaves xtext as it came.
        (
            "Original-Recipient: rfc822;a+2Bb@a.example",
            ["x@a.example", "a+b@a.example"],
            Match(1, ""),
        ),
        # An address that looks like xtext means itself first.
        (
            "Final-Recipient: rfc822;a+2Bb@a.example",
            ["a+b@a.example", "a+2Bb@a.example"],
            Match(1, ""),
        ),
        (
            "Final-Recipient: RFC822; <Team@A.Example>",
            ["x@a.example", "team@a.example"],
            Match(1, ""),
        ),
        (
            "Final-Recipient: rfc822; a@münchen.example",
            ["x@y.example", "a@xn--mnchen-3ya.example"],
            Match(1, ""),
        ),
        (
            "Final-Recipient: utf-8; \\x{E9}ve@a.example",
            ["éve@a.example", "x@a.example"],
            Match(0, ""),
        ),
        ("Final-Recipient: utf-8; éve@a.example", ["éve@a.example", "x@a.example"], Match(0, "")),
        # Two that differ by case alone: only the exact one.
        ("Final-Recipient: rfc822; Ada@a.example", ["ada@a.example", "ADA@a.example"], None),
        (
            "Final-Recipient: rfc822; ADA@a.example",
            ["ada@a.example", "ADA@a.example"],
            Match(1, ""),
        ),
        # A message with one recipient needs no name, and says who is behind it.
        ("Final-Recipient: rfc822; local-name", ["team@a.example"], Match(0, "", named=False)),
        (
            "Final-Recipient: rfc822; b@b.example",
            ["team@a.example"],
            Match(0, "b@b.example", named=False),
        ),
        (
            "Final-Recipient: rfc822; team@a.example\nDiagnostic-Code: smtp; 550 <b@b.example>: no",
            ["team@a.example"],
            Match(0, "b@b.example"),
        ),
        ("Final-Recipient: x400; /C=de/", ["x@a.example", "y@a.example"], None),
        ("Action: failed", [], None),
    ],
)
def test_the_recipient_is_one_of_that_message(fields, recipients, expected):
    """The original spelling first, then the final one, then the only one there is."""
    assert Recipients(recipients).match(only_note(report(fields + "\n"))) == expected


@pytest.mark.parametrize(
    ("said", "behind"),
    [
        ("<CRM@Firm.Example>: Sender address rejected", ""),
        ("from <crm@firm.example>, for <real@b.example>: no such user", "real@b.example"),
        ("from <crm@firm.example>: <team@a.example> is unknown", ""),
        ("for <real@b.example> from <crm@firm.example>", "real@b.example"),
        ("<team@a.example> may not get mail of <other@b.example>", ""),
    ],
)
def test_the_sender_is_nobody_behind_the_address(said, behind):
    """A server that quotes who has sent the message names no other mailbox by that."""
    fields = f"Final-Recipient: rfc822; team@a.example\nDiagnostic-Code: smtp; 550 {said}\n"
    note = only_note(report(fields))
    people = Recipients(["team@a.example"], senders=["crm@firm.example"])
    assert people.match(note) == Match(0, behind)
    # Who writes to their own address is behind it as little as before.
    itself = Recipients(["team@a.example"], senders=["team@a.example"])
    assert itself.match(note) == Recipients(["team@a.example"]).match(note)


def test_the_message_is_named_by_the_best_evidence_first():
    """What was returned, what Exchange keeps, what an answer points to; and our ENVID."""
    content = report(
        "Action: failed\n",
        of_all="Original-Envelope-Id: our-id\n",
        returned="Message-ID:\n <1@app.example>\nIn-Reply-To: <thread@app.example>",
    )
    also = b"References: <3@app.example>\nX-Microsoft-Original-Message-ID: <2@app.example>\n"
    found = read(also + content)
    assert found.references == ("<1@app.example>", "<2@app.example>")
    assert found.envelope_ids == ("our-id",)
    assert found.server == "mx.example"
    without = read(also + content.replace(b"Message-ID:\n <1@app.example>\n", b""))
    assert without.references == ("<2@app.example>",)


def test_a_thread_names_a_message_where_none_is_returned():
    """What somebody answered to mail of ours has it in its References, and is another message."""
    thread = b"In-Reply-To: <answer@ada.example>\nReferences: <ours@app.example>\n"
    fields = "Final-Recipient: rfc822; ben@b.example\nAction: failed\n"
    assert read(thread + report(fields)).references == ("<1@app.example>",)
    nothing = read(thread + report(fields, returned="Subject: Hello"))
    assert nothing.references == ("<answer@ada.example>", "<ours@app.example>")


def test_an_answer_names_its_parent_first():
    """In-Reply-To, then References from its end (RFC 5322 §3.6.4), however long that is."""
    thread = " ".join(f"<{number}@app.example>" for number in range(1000))
    found = read(f"References:\n {thread}\nIn-Reply-To: <500@app.example>\n\n".encode())
    named = [500, *range(999, 950, -1)]
    assert found.references == tuple(f"<{number}@app.example>" for number in named)


@pytest.mark.parametrize("encoding", ["7bit", "base64"])
def test_an_international_report_is_read_in_either_encoding(encoding):
    """RFC 6533 allows a content-transfer-encoding, and addresses as they are."""
    fields = (
        "Reporting-MTA: dns; mx.example\n\nFinal-Recipient: utf-8; éve@a.example\nAction: failed\n"
    )
    body = fields.encode()
    if encoding == "base64":
        body = base64.encodebytes(body)
    content = (
        b"Content-Type: multipart/report; boundary=b\n\n--b\n"
        b"Content-Type: message/global-delivery-status\n"
        b"Content-Transfer-Encoding: " + encoding.encode() + b"\n\n" + body + b"\n--b\n"
        b"Content-Type: message/global-headers\n\nMessage-ID: <1@app.example>\n\n--b--\n"
    )
    found = read(content)
    assert [note.final for note in found.notes] == [("éve@a.example",)]
    assert found.references == ("<1@app.example>",)


@pytest.mark.parametrize("kind", ["delivery-status", "global-delivery-status"])
def test_an_encoded_line_may_go_on_in_the_next(kind):
    """In quoted-printable, which the parser of fields knows nothing of (RFC 2045 §6.7)."""
    content = report(
        "Final-Recipient: rfc822; ada=40app.exam=\nple\nAction: failed\nStatus: 5.1=\n.1\n",
        of_all="X-Long: a=\nb\nOriginal-Envelope-Id: our-id\n",
    ).replace(b"delivery-status\n\n", QP)
    found = read(content.replace(b"message/delivery-status", b"message/" + kind.encode()))
    (note,) = found.notes
    assert (note.final, note.state, note.code) == (("ada@app.example",), Status.BOUNCED, "5.1.1")
    assert found.envelope_ids == ("our-id",)


# -- why -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "diagnostic", "code"),
    [
        ("5.1.1", "550 5.7.1 no", "5.1.1"),
        ("5.0.0", "550 5.1.1 no", "5.1.1"),
        ("5.0.0", "550-5.7.1 no 550 5.7.1 more", "5.7.1"),
        ("5.0.0", "550 no such user here", "550"),
        ("5.0.0", "all hosts have been failing", "5.0.0"),
        ("5.1.2 (550 Tried all MXs)", "", "5.1.2"),
        ("", "at 192.0.2.1 in 2026", ""),
        ("", "", ""),
    ],
)
def test_the_reason_is_the_code_that_says_most(status, diagnostic, code):
    """An unclear status gives way to what the other server said."""
    assert reason_code(status, diagnostic) == code


def test_a_reason_that_stands_in_the_text_alone_is_found_there():
    """OpenSMTPD has it nowhere else. It decides nothing."""
    note = only_note(report("Final-Recipient: rfc822; ada@app.example\nStatus: 4.0.0\n"))
    assert (note.state, note.code) == (None, "5.1.1")
    assert note.diagnostic == "was not reached: 550 5.1.1 unknown"


def test_states_have_an_order():
    """Bounced beats delivered beats passed on beats delayed."""
    assert RETURNED == (Status.BOUNCED, Status.DELIVERED, Status.PASSED_ON, Status.DELAYED)
    assert state_of("failed", "", retried=True, explained=True) is Status.BOUNCED


# -- the same report twice -------------------------------------------------------------


def test_a_copy_of_a_report_is_known_by_its_digest():
    """Whatever servers put on top on the way to us; a later report about the same is another."""
    content = content_of("exim-plain-down-noauto2-delayed-2")
    again = b"Received: from elsewhere\nDelivered-To: me\n" + content.replace(b"\n", b"\r\n")
    assert read(content).digest == read(again).digest
    others = {read(content_of(file)).digest for file in FILES}
    assert len(others) == len(FILES)


# -- hostile ---------------------------------------------------------------------------

_HEAD = (
    b"Content-Type: multipart/report; boundary=b\n\n--b\nContent-Type: message/delivery-status\n\n"
)


def _nested(count: int) -> bytes:
    part = b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n"
    return b"".join(part % (number, number) for number in range(count))


HOSTILE = {
    "nothing": b"",
    "zeros": b"\0" * LIMIT,
    "eight bits": b"\xff" * LIMIT,
    "carriage returns": b"\r" * LIMIT,
    "nested parts": _nested(20_000),
    "nested parts and lines": _nested(99) + b"x\n" * 120_000,
    "nested messages": b"Content-Type: message/rfc822\n\n" * 20_000,
    "parts": b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\n" * 40_000,
    "blank lines": _HEAD + b"\n" * LIMIT,
    "groups": _HEAD + b"Action: failed\n\n" * 20_000,
    "folded": _HEAD + b"Action: failed\n" + b" x\n" * 80_000,
    "parameters": b"Content-Type: multipart/mixed; " + b"a*0=b;" * 40_000 + b"\n\nx",
    "quotes": b'Content-Type: multipart/report; boundary="' + b'\\"' * 100_000 + b"\n\nx",
    "codes": _HEAD + b"Action: failed\nStatus: " + b"5." * 120_000,
    "spaces": _HEAD + b"Final-Recipient: " + b" " * 200_000 + b"x",
    "angles": _HEAD + b"Action: failed\nDiagnostic-Code: " + b"<a" * 120_000,
    "ids": b"References: " + b"<" * 200_000 + b"\n\nx",
    "such parameters": b"Content-Type: text/plain" + b"; charset" * 20_000 + b" " * 60_000,
    "false encodings": _HEAD[:-1]
    + b"Content-Transfer-Encoding: base64\n\n"
    + b"!!!A=\n--b\nContent-Type: text/plain; charset=nonsense\n\nx\n--b\n"
    b"Content-Type: text/rfc822-headers\nContent-Transfer-Encoding: x-uuencode\n\nbegin 6\n--b--",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_mail_takes_no_more_than_linear_time(name):
    """Half of it takes about half as long, the whole a few seconds, and nothing else is raised."""
    took = []
    for size in (LIMIT // 2, LIMIT):
        began = time.process_time()
        try:
            found = read(HOSTILE[name][:size])
        except UnreadableReport:
            pass
        else:
            assert len(found.notes) <= 1000
            assert all(len(note.diagnostic) <= 1000 for note in found.notes)
        took.append(time.process_time() - began)
    assert took[1] < max(4 * took[0], 1)  # squares would take four times as long
    assert took[1] < 15


@pytest.mark.parametrize("name", ["charset", "CHARSET ", "charset*", "charset*0", "charset*0*"])
def test_mail_does_not_choose_who_decodes_it(name):
    """Python's decoder for punycode takes ten seconds for 256 KiB that are made for it."""
    asked = []

    def search(encoding):
        asked.append(encoding)

    codecs.register(search)
    try:
        found = read(f"Content-Type: text/plain; {name}=x-slow-{name}\n\n".encode() + b"\xff")
    finally:
        codecs.unregister(search)
    assert found.notes == ()
    assert asked == []


def test_a_tower_of_parts_is_refused_before_it_is_parsed():
    """Each line of it would be compared with the boundary of each storey."""
    began = time.process_time()
    with pytest.raises(UnreadableReport):
        read(_nested(300) + b"x\n" * 120_000)
    assert time.process_time() - began < 1


def test_no_cut_of_a_report_raises_anything_else():
    """A report that ends anywhere is read as far as it goes, or is unreadable."""
    for file in ("sendmail-dsn-mixed-delivered+failed", "haraka-dsn-mixed-failed"):
        content = content_of(file)
        for end in range(0, len(content), 7):
            try:
                read(content[:end])
            except UnreadableReport:
                continue


def test_what_lies_behind_the_limit_is_not_read():
    """A report with a large message behind it is read; one with its status behind it is not."""
    fields = "Final-Recipient: rfc822; ada@app.example\nAction: failed\n"
    assert len(read(report(fields) + b"x" * (2 * LIMIT)).notes) == 1
    late = report(fields).replace(b"was not reached", b"x" * LIMIT)
    assert not read(late).notes


def test_control_characters_of_a_report_are_left_out():
    """Nothing in a report can leave its line, or move the cursor of a terminal."""
    fields = "Final-Recipient: rfc822; ada@app.example\nAction: failed\n"
    note = only_note(report(fields + "Diagnostic-Code: smtp; 550 a\x1b[2Jb\x00\n\tc\u202e\n"))
    assert note.diagnostic == "550 a[2Jb c"
