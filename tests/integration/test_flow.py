"""Many messages over one connection: commands in one write change the speed and no verdict."""

from __future__ import annotations

import contextlib
import threading
import time

import pytest

from flask_interaction_mail.errors import TransportError
from flask_interaction_mail.outcome import Fault, Reply, Result, Stage
from flask_interaction_mail.settings.model import relay_of
from flask_interaction_mail.transport.base import Envelope, Stopped, Transport, TransportResult
from flask_interaction_mail.transport.memory import MemoryTransport
from flask_interaction_mail.transport.smtp.transport import SmtpTransport
from tests.servers.clients import PATIENT, QUICK, login_settings, transport
from tests.servers.scripted import (
    LOCK_STEP,
    OK,
    PIPELINING,
    Action,
    Peer,
    after,
    close,
    reset,
    scripted,
    silence,
    then,
    until,
)
from tests.servers.sink import sink

BOTH = pytest.mark.parametrize("ehlo", [LOCK_STEP, PIPELINING], ids=["lock-step", "group"])
GO_ON = b"354 go on\r\n"


def numbered(number: int, *recipients: str, content: bytes | None = None) -> Envelope:
    """A message whose addresses and content say which one it is."""
    return Envelope(
        sender=f"s{number}@x.test",
        recipients=recipients or (f"a{number}@x.test",),
        content=content or b"Subject: %d\r\n\r\n.dot\r\n" % number,
    )


def flow(carrier: Transport, *envelopes: Envelope) -> list[TransportResult | TransportError]:
    """The outcomes of ``envelopes``, one after the other."""
    outcomes: list[TransportResult | TransportError] = []
    for envelope in envelopes:
        try:
            outcomes.append(carrier.deliver(envelope))
        except TransportError as error:
            outcomes.append(error)
    carrier.close()
    return outcomes


def told(outcome: TransportResult | TransportError) -> object:
    """What matters of an outcome."""
    if isinstance(outcome, TransportError):
        return "error", outcome.stage in (Stage.SENDER, Stage.RECIPIENT, Stage.CONTENT)
    codes = {address: reply.code for address, reply in outcome.verdicts.items()}
    return outcome.result, outcome.stage, outcome.fault, codes


def arrived(server) -> list[int]:
    """The numbers of the messages that the server has got; empty ones went to nobody."""
    contents = [message.content for message in server.messages if message.content]
    return [int(content.split()[1]) for content in contents]


FIRST, THIRD = numbered(1), numbered(3)
SECOND = numbered(2, "a2@x.test", "b2@x.test", "c2@x.test")
GONE = then(b"421 4.3.2 going down\r\n", close)
ONE_GOOD: dict[str, Action | list[Action]] = {
    "RCPT b2@x.test": b"450 4.2.1 busy\r\n",
    "RCPT c2@x.test": b"550 5.1.1 unknown\r\n",
}
FAULTS: dict[str, dict[str, Action | list[Action]]] = {
    "none": {},
    "mail-451": {"MAIL s2@x.test": b"451 x\r\n"},
    "mail-550": {"MAIL s2@x.test": b"550 x\r\n"},
    "mail-530": {"MAIL s2@x.test": b"530 x\r\n"},
    "mail-421": {"MAIL s2@x.test": [GONE]},
    "mail-lost": {"MAIL s2@x.test": [close]},
    "mail-reset": {"MAIL s2@x.test": [reset]},
    "rcpt-250-450-550": ONE_GOOD,
    "rcpt-250-250-550": {"RCPT c2@x.test": b"550 x\r\n"},
    "rcpt-all-550": {f"RCPT {one}": b"550 x\r\n" for one in SECOND.recipients},
    "rcpt-all-450": {f"RCPT {one}": b"450 x\r\n" for one in SECOND.recipients},
    "rcpt-all-450-550": {"RCPT a2@x.test": b"550 x\r\n", **ONE_GOOD},
    "rcpt-421": {"RCPT b2@x.test": [GONE]},
    "rcpt-lost": {"RCPT b2@x.test": [close]},
    "rcpt-silent": {"RCPT b2@x.test": [silence]},
    "data-451": {"DATA": [GO_ON, b"451 x\r\n"]},
    "data-554": {"DATA": [GO_ON, b"554 x\r\n"]},
    "data-250": {"DATA": [GO_ON, b"250 x\r\n"]},
    "data-421": {"DATA": [GO_ON, GONE]},
    "data-lost": {"DATA": [GO_ON, close]},
    "data-554-and-mixed": {"DATA": [GO_ON, b"554 x\r\n"], **ONE_GOOD},
    "dot-450": {"DOT": [OK, b"450 x\r\n"]},
    "dot-550": {"DOT": [OK, b"550 x\r\n"]},
    "dot-552-and-mixed": {"DOT": [OK, b"552 x\r\n"], **ONE_GOOD},
    "dot-421": {"DOT": [OK, GONE]},
    "dot-lost": {"DOT": [OK, close]},
    "dot-reset": {"DOT": [OK, reset]},
    "dot-silent": {"DOT": [OK, silence]},
    "dot-rubbish": {"DOT": [OK, b"rubbish\r\n"]},
    "dot-399": {"DOT": [OK, b"399 what\r\n"]},
    "dot-lost-and-mixed": {"DOT": [OK, close], **ONE_GOOD},
    "dot-250-lost": {"DOT": [OK, then(OK, close)]},
    "dot-250-reset": {"DOT": [OK, then(OK, reset)]},
    "dot-250-421": {"DOT": [OK, then(OK, GONE)]},
    "dot-half-a-line": {"DOT": [OK, then(b"250 2.0", close)]},
    "dot-half-a-reply": {"DOT": [OK, then(b"250-2.0.0 ok\r\n", close)]},
    "dot-nearly": {"DOT": [OK, then(b"250 2.0.0 ok\r", close)]},
    "dot-slow": {"DOT": [OK, after(0.2, OK)], "MAIL s3@x.test": after(0.3, OK)},
    "rset-500": {"DATA": [GO_ON, b"554 x\r\n"], "RSET": b"500 what\r\n"},
    "rset-lost": {"DATA": [GO_ON, b"554 x\r\n"], "RSET": [close]},
    "rset-421": {"DATA": [GO_ON, b"554 x\r\n"], "RSET": [GONE]},
}
# A reply may be lost together with the connection that a careless server resets.
RACY = {"dot-250-reset"}


def copied(answers: dict[str, Action | list[Action]]) -> dict[str, Action | list[Action]]:
    return {key: list(one) if isinstance(one, list) else one for key, one in answers.items()}


def outcomes_of(ehlo: bytes, name: str) -> tuple[list[object], list[int]]:
    with scripted({"EHLO": ehlo, **copied(FAULTS[name])}) as server:
        outcomes = flow(transport(server.port, QUICK), FIRST, SECOND, THIRD)
        return [told(outcome) for outcome in outcomes], arrived(server)


@pytest.mark.parametrize("name", FAULTS)
def test_the_verdicts_are_those_of_lock_step(name: str) -> None:
    """Whatever happens to the second of three, it is judged alike, and its neighbours arrive."""
    expected, there = outcomes_of(LOCK_STEP, name)
    found, here = outcomes_of(PIPELINING, name)
    if name not in RACY:
        assert found == expected
        assert here == there
    for outcomes, numbers in ((expected, there), (found, here)):
        assert outcomes[0][0] is Result.ACCEPTED
        assert outcomes[2][0] is Result.ACCEPTED
        assert numbers.count(1) == numbers.count(3) == 1
        assert numbers.count(2) <= 1


@pytest.mark.parametrize("ehlo", [LOCK_STEP, PIPELINING], ids=["lock-step", "group"])
@pytest.mark.parametrize("count", [1, 2, 3, 20])
def test_one_connection_carries_all_in_order(ehlo: bytes, count: int) -> None:
    """With dots, and QUIT once."""
    with scripted({"EHLO": ehlo}) as server:
        envelopes = [numbered(number) for number in range(count)]
        outcomes = flow(transport(server.port), *envelopes)
        assert [told(one)[0] for one in outcomes] == [Result.ACCEPTED] * count
        assert [one.content for one in server.messages] == [one.content for one in envelopes]
        assert [one.sender for one in server.messages] == [one.sender for one in envelopes]
        assert until(lambda: server.connections == server.count("QUIT") == 1)


@pytest.mark.parametrize(
    ("ehlo", "each"), [(LOCK_STEP, 4), (PIPELINING, 2)], ids=["lock-step", "group"]
)
def test_a_message_costs_no_more_round_trips_than_the_server_demands(
    ehlo: bytes, each: int
) -> None:
    """Two with PIPELINING, four without."""
    with scripted({"EHLO": ehlo}) as server:
        flow(transport(server.port), *map(numbered, range(20)))
    assert server.reads == 1 + 20 * each + 1  # EHLO, QUIT


def test_an_answer_too_many_is_not_taken_for_one_about_the_next_message() -> None:
    """What came unasked with the answer to the dot: another connection serves the next one."""
    answers: dict[str, Action | list[Action]] = {
        "EHLO": LOCK_STEP,
        "DOT": [OK + b"550 5.7.1 who knows\r\n"],
    }
    with scripted(answers) as server:
        outcomes = flow(transport(server.port), FIRST, SECOND, THIRD)
        assert [told(one)[0] for one in outcomes] == [Result.ACCEPTED] * 3
        assert arrived(server) == [1, 2, 3]
        assert server.connections == 2


@pytest.mark.parametrize(
    ("ehlo", "verbs"),
    [(LOCK_STEP, ("MAIL", "RCPT", "DOT", "RSET")), (PIPELINING, ("DOT", "RSET"))],
    ids=["lock-step", "group"],
)
def test_nothing_is_said_before_the_answer(ehlo: bytes, verbs: tuple[str, ...]) -> None:
    """One command at a time without PIPELINING, and never anything behind a final dot."""
    early: list[bytes] = []

    def wary(reply: bytes) -> Action:
        def act(peer: Peer) -> None:
            peer.server.stopping.wait(0.02)
            peer.socket.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                early.append(peer.socket.recv(100))
            peer.socket.setblocking(True)
            early.append(peer.buffer)
            peer.say(reply)

        return act

    answers: dict[str, Action | list[Action]] = {"EHLO": ehlo}
    answers |= {verb: wary(OK) for verb in verbs}
    with scripted(answers) as server:
        outcomes = flow(transport(server.port), FIRST, SECOND, THIRD)
    assert len(outcomes) == 3
    assert set(early) == {b""}


@BOTH
@pytest.mark.parametrize("cut", [0, 200_000, 3_000_000])
def test_a_link_lost_inside_a_content_concerns_that_message_alone(ehlo: bytes, cut: int) -> None:
    """Nobody got it, so it is no unknown outcome; the next one arrives."""

    def stop_reading(peer: Peer) -> None:
        peer.say(GO_ON)
        left = cut
        while left > 0:
            left -= len(peer.socket.recv(min(left, 65536)))
        reset(peer)

    big = numbered(1, content=b"Subject: 1\r\n\r\n" + (b"x" * 70 + b"\r\n") * 200_000)
    with scripted({"EHLO": ehlo, "DATA": [stop_reading]}) as server:
        first, second = flow(transport(server.port), big, SECOND)
        assert isinstance(first, TransportError)
        assert first.stage in (Stage.RECIPIENT, Stage.CONTENT)  # a reset overtakes answers
        assert told(second)[0] is Result.ACCEPTED
        assert arrived(server) == [2]


@BOTH
@pytest.mark.parametrize("answer", [b"", b"2", b"250 ok", b"250 ok\r", b"250-ok\r\n"])
def test_a_link_lost_after_the_dot_leaves_the_next_one_untried(ehlo: bytes, answer: bytes) -> None:
    """The first is ambiguous, the second arrives."""
    with scripted({"EHLO": ehlo, "DOT": [then(answer, close)]}) as server:
        first, second = flow(transport(server.port), FIRST, SECOND)
        assert told(first)[0] is Result.AMBIGUOUS
        assert told(second)[0] is Result.ACCEPTED
        assert arrived(server) == [1, 2]
        assert server.connections == 2


@pytest.mark.parametrize("said", [b"2", b"250 ok", b"250 ok\r\n", b"250 ok\r\n25", b"250-ok\r\n"])
def test_a_link_lost_among_answers_to_an_envelope(said: bytes) -> None:
    """The first was accepted and stays so. A lost answer to MAIL is no trouble of the second."""
    answers: dict[str, Action | list[Action]] = {
        "EHLO": PIPELINING,
        "MAIL": [OK, then(said, close)],
    }
    with scripted(answers) as server:
        first, second = flow(transport(server.port), FIRST, SECOND)
        assert told(first)[0] is Result.ACCEPTED
        whole = said.startswith(b"250 ok\r\n")
        assert told(second)[0] == ("error" if whole else Result.ACCEPTED)
        assert arrived(server) == ([1] if whole else [1, 2])


def forgetful(reply: bytes) -> Action:
    """Refuse, and throw away what has come in behind."""

    def act(peer: Peer) -> None:
        peer.server.stopping.wait(0.05)
        peer.socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            peer.socket.recv(65536)
        peer.socket.setblocking(True)
        peer.buffer = b""
        peer.say(reply)

    return act


def test_a_server_that_throws_away_what_follows_a_refusal_is_served_step_by_step() -> None:
    """It advertises PIPELINING in error: the message is tried again at once, in lock-step."""
    answers: dict[str, Action | list[Action]] = {
        "EHLO": PIPELINING,
        "RCPT b2@x.test": forgetful(b"550 5.1.1 unknown\r\n"),
    }
    with scripted(answers) as server:
        outcomes = flow(transport(server.port, QUICK), FIRST, SECOND, THIRD)
        assert [told(one)[0] for one in outcomes] == [Result.ACCEPTED] * 3
        assert told(outcomes[1])[3] == {"a2@x.test": 250, "b2@x.test": 550, "c2@x.test": 250}
        assert arrived(server) == [1, 2, 3]
        assert server.connections == 2


@BOTH
@pytest.mark.parametrize(
    ("bad", "fault"),
    [
        (numbered(2, content=b"a\n.\r\n"), Fault.CONTENT_UNSAFE),
        (numbered(2, content=b"x" * 999 + b"\r\n"), Fault.CONTENT_UNSAFE),
        (numbered(2, content="ü\r\n".encode()), Fault.CONTENT_UNSAFE),
        (numbered(2, "a2@x.test>\r\nDATA"), Fault.ADDRESS_UNUSABLE),
        (numbered(2, "a\ud800@x.test"), Fault.ADDRESS_UNUSABLE),
        (numbered(2, "ü@x.test"), Fault.SMTPUTF8_MISSING),
        (numbered(2, content=b"x\r\n" * 40_000), Fault.TOO_BIG),
    ],
)
def test_what_cannot_be_carried_is_refused_in_its_turn(
    ehlo: bytes, bad: Envelope, fault: Fault
) -> None:
    """Without a byte of it, and nothing happens to its neighbours."""
    offered = ehlo.replace(b"250 ", b"250-") + b"250 SIZE 100000\r\n"
    with scripted({"EHLO": offered}) as server:
        outcomes = flow(transport(server.port), FIRST, bad, THIRD)
        assert [told(one)[0] for one in outcomes] == [
            Result.ACCEPTED,
            Result.PERMANENT,
            Result.ACCEPTED,
        ]
        assert told(outcomes[1])[2] is fault
        assert arrived(server) == [1, 3]
        assert not any(b"s2@" in line for line in server.lines)
        assert server.connections == 1


def test_each_message_has_parameters_of_its_own() -> None:
    """SMTPUTF8, 8BITMIME and SIZE only where they belong (RFC 6531, 6152, 1870)."""
    offered = b"250-x\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 SIZE 0\r\n"
    with scripted({"EHLO": offered}) as server:
        eight = numbered(3, content="Subject: 3 ü\r\n\r\n".encode())
        flow(transport(server.port), FIRST, numbered(2, "ü@x.test"), eight)
    mails = [line.split(b"> ")[1] for line in server.lines if line.startswith(b"MAIL")]
    assert mails == [b"SIZE=20", b"SIZE=20 SMTPUTF8", b"SIZE=17 BODY=8BITMIME"]


@BOTH
@pytest.mark.parametrize(
    "refusal",
    [
        ("MAIL", b"555 5.5.4 no such parameter\r\n"),
        ("MAIL", b"501 syntax\r\n"),
        ("RCPT b2@x.test", b"504 5.5.4 ORCPT?\r\n"),
    ],
)
def test_a_server_that_refuses_the_reports_that_it_offers_is_asked_for_none(
    ehlo: bytes, refusal: tuple[str, bytes]
) -> None:
    """Once more without, on a connection that stays so; nobody is lost, nobody gets it twice."""
    offered = ehlo.replace(b"250 ", b"250-") + b"250 DSN\r\n"
    envelopes = [
        Envelope(sender=one.sender, recipients=one.recipients, content=one.content, envid=f"{n}@x")
        for n, one in enumerate((SECOND, THIRD))
    ]
    with scripted({"EHLO": offered, refusal[0]: [refusal[1]]}) as server:
        outcomes = flow(transport(server.port), *envelopes)
        assert [told(one)[0] for one in outcomes] == [Result.ACCEPTED] * 2
        assert set(told(outcomes[0])[3].values()) == {250}
        assert arrived(server) == [2, 3]
        assert server.connections == 2
        mails = [line for line in server.lines if line.startswith(b"MAIL")]
        assert [b"RET=HDRS" in line for line in mails] == [True, False, False]


@BOTH
def test_many_recipients_go_out_in_several_writes(ehlo: bytes) -> None:
    """Each with a verdict of its own."""
    many = [f"r{number}@x.test" for number in range(250)]
    answers: dict[str, Action | list[Action]] = {"EHLO": ehlo, "RCPT r249@x.test": b"550 no\r\n"}
    with scripted(answers) as server:
        outcomes = flow(transport(server.port), FIRST, numbered(2, *many), THIRD)
        assert [told(one)[0] for one in outcomes] == [Result.ACCEPTED] * 3
        assert list(told(outcomes[1])[3].values()) == [250] * 249 + [550]
        assert server.messages[1].recipients == many
        assert server.connections == 1


def test_a_slow_answer_to_the_dot_is_not_charged_to_the_next_message() -> None:
    """Each answer has its own time, from the answer before it."""
    slow: dict[str, Action | list[Action]] = {
        "EHLO": PIPELINING,
        "DOT": after(0.3, OK),
        "MAIL": after(0.3, OK),
        "RCPT": after(0.3, OK),
        "DATA": GO_ON,
    }
    with scripted(slow) as server:
        outcomes = flow(transport(server.port, QUICK), FIRST, numbered(2))
    assert [told(one)[0] for one in outcomes] == [Result.ACCEPTED] * 2


@BOTH
def test_breaking_off_makes_ambiguous_only_what_waits_for_its_dot(ehlo: bytes) -> None:
    """The next ones are not begun."""
    with scripted({"EHLO": ehlo, "DOT": silence}) as server:
        carrier = transport(server.port)
        stopping = threading.Thread(
            target=lambda: (until(lambda: bool(server.messages)), carrier.abort())
        )
        stopping.start()
        begun = time.monotonic()
        outcomes = flow(carrier, FIRST, SECOND, THIRD)
        assert time.monotonic() - begun < PATIENT.final
        stopping.join()
        assert told(outcomes[0])[0] is Result.AMBIGUOUS
        assert all(isinstance(one, Stopped) for one in outcomes[1:])
        assert arrived(server) == [1]


def test_a_message_broken_off_before_its_dot_was_not_begun() -> None:
    """Nobody got it, and it is not its fault."""
    with scripted({"EHLO": PIPELINING, "RCPT": silence}) as server:
        carrier = transport(server.port)
        threading.Timer(0.2, carrier.abort).start()
        (outcome,) = flow(carrier, FIRST)
        assert isinstance(outcome, Stopped)


def test_a_fault_of_the_program_costs_the_connection() -> None:
    """Nobody knows where in the dialogue it was left."""
    broken = numbered(2)
    broken.recipients = None  # type: ignore[assignment]
    with scripted({"EHLO": PIPELINING}) as server:
        carrier = transport(server.port)
        assert carrier.deliver(FIRST).result is Result.ACCEPTED
        with pytest.raises((TypeError, AttributeError)):
            carrier.deliver(broken)
        assert told(flow(carrier, THIRD)[0])[0] is Result.ACCEPTED
        assert arrived(server) == [1, 3]
        assert server.connections == 2


def test_trouble_with_the_server_is_the_outcome_of_each_message() -> None:
    """It is for the caller to stop."""
    with scripted({"GREETING": b"554 go away\r\n"}) as server:
        outcomes = flow(transport(server.port), FIRST, SECOND)
    assert [told(one) for one in outcomes] == [("error", False)] * 2


def test_big_contents_leave_in_blocks() -> None:
    """Whole, in order."""
    big = b"".join(b"%07d" % number + b"y" * 60 + b"\r\n" for number in range(20_000))
    with scripted({"EHLO": PIPELINING}) as server:
        envelopes = [numbered(1, content=b"Subject: 1\r\n\r\n" + big), SECOND, THIRD]
        outcomes = flow(transport(server.port), *envelopes)
        assert [told(one)[0] for one in outcomes] == [Result.ACCEPTED] * 3
        assert [one.content for one in server.messages] == [one.content for one in envelopes]


@pytest.mark.parametrize("options", [(), ("-p",)], ids=["group", "lock-step"])
def test_a_thousand_messages_to_a_server_by_others(options: tuple[str, ...]) -> None:
    """smtp-sink, with and without PIPELINING."""
    with sink(*options) as port:
        outcomes = flow(transport(port), *(numbered(number) for number in range(1000)))
    assert [told(one)[0] for one in outcomes] == [Result.ACCEPTED] * 1000


@pytest.mark.parametrize(
    ("fault", "result"),
    [
        (("-q", "DATA"), "error"),
        (("-Q", "DATA"), Result.TRANSIENT),
        (("-f", "MAIL"), Result.PERMANENT),
        (("-r", "MAIL"), Result.TRANSIENT),
        (("-f", "RCPT"), Result.PERMANENT),
        (("-r", "RCPT"), Result.TRANSIENT),
        (("-f", "DATA"), Result.PERMANENT),
        (("-r", "DATA"), Result.TRANSIENT),
        (("-f", "."), Result.PERMANENT),
        (("-r", "."), Result.TRANSIENT),
        (("-q", "."), Result.AMBIGUOUS),
        (("-Q", "."), Result.TRANSIENT),
    ],
)
@pytest.mark.parametrize("options", [(), ("-p",)], ids=["group", "lock-step"])
def test_faults_of_another_servers_making(
    options: tuple[str, ...], fault: tuple[str, ...], result: object
) -> None:
    """All of several messages fail alike."""
    with sink(*options, *fault) as port:
        outcomes = flow(transport(port), FIRST, numbered(2), THIRD)
    assert [told(one)[0] for one in outcomes] == [result] * 3


@pytest.mark.parametrize("encryption", ["starttls", "tls"])
def test_many_messages_to_a_real_postfix(postfix, encryption: str) -> None:
    """Encrypted, logged in, with a recipient that does not exist in every third message."""
    chosen = login_settings(
        postfix.tls_port if encryption == "tls" else postfix.port,
        encryption=encryption,
        ca_certificate=postfix.ca,
        login=postfix.login,
        password=postfix.password,
    )
    ada, nobody = "ada@interaction.test", "nobody@interaction.test"
    groups = [(ada,), (nobody, ada), (nobody,)]
    envelopes = [numbered(number, *groups[number % 3]) for number in range(30)]
    outcomes = flow(SmtpTransport(relay_of(chosen), timeouts=PATIENT), *envelopes)
    assert [told(one)[0] for one in outcomes] == [
        Result.ACCEPTED,
        Result.ACCEPTED,
        Result.PERMANENT,
    ] * 10
    assert told(outcomes[1])[3] == {nobody: 550, ada: 250}
    subjects = {message["Subject"] for message in postfix.mailbox("ada", least=20)}
    assert subjects == {str(number) for number in range(30) if number % 3 < 2}


def test_the_transport_for_tests_of_applications_carries_many_too() -> None:
    """One after the other, with the errors that were set as outcomes."""
    carrier = MemoryTransport()
    carrier.refuse("a1@x.test", Reply(550, None, "no"))
    carrier.answer_with(None, TransportError("down", stage=Stage.CONNECT))
    first, second, third = flow(carrier, FIRST, SECOND, THIRD)
    assert isinstance(first, TransportResult)
    assert first.result is Result.PERMANENT
    assert isinstance(second, TransportError)
    assert carrier.delivered == [THIRD]
    assert isinstance(third, TransportResult)
