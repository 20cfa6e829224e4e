"""What a server says of the connection, the exchange or other recipients is no verdict on mail."""

from __future__ import annotations

import statistics
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from flask_interaction_mail.delivery.dispatcher import Dispatcher
from flask_interaction_mail.errors import TransportError
from flask_interaction_mail.outcome import Result, Stage
from flask_interaction_mail.settings.model import relay_of
from flask_interaction_mail.transport.base import Envelope, TransportResult
from flask_interaction_mail.transport.smtp import conclusions
from flask_interaction_mail.transport.smtp.transport import ConnectionLimits, SmtpTransport
from tests.outbox_rows import Store, a_message
from tests.servers.clients import PATIENT, settings, transport
from tests.servers.scripted import (
    LOCK_STEP,
    OK,
    PIPELINING,
    Action,
    Peer,
    after,
    close,
    refusing,
    scripted,
    then,
    until,
)

BOTH = pytest.mark.parametrize("ehlo", [LOCK_STEP, PIPELINING], ids=["lock-step", "group"])
ENOUGH = b"452 4.5.3 too many messages\r\n"
GONE = then(b"421 4.3.2 going down\r\n", close)
UNKNOWN = b"550 5.1.1 unknown\r\n"

Answers = dict[str, Action | list[Action]]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(f"sqlite:///{tmp_path}/outbox.sqlite")
    yield store
    store.engine.dispose()


def numbered(number: int, *recipients: str) -> Envelope:
    return Envelope(
        sender=f"s{number}@x.test",
        recipients=recipients or (f"a{number}@x.test",),
        content=b"Subject: %d\r\n\r\nHello\r\n" % number,
    )


def counting(most: int, otherwise: Action, usual: bytes = OK) -> Callable[[Peer], None]:
    """The usual answer ``most`` times a connection."""
    seen: Counter[Peer] = Counter()

    def act(peer: Peer) -> None:
        seen[peer] += 1
        peer.act(usual if seen[peer] <= most else otherwise)

    return act


# -- a limit of the connection ------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(
    "enough", [ENOUGH, GONE, b"421 4.7.0 enough\r\n"], ids=["452", "421, gone", "421"]
)
def test_a_limit_of_messages_a_connection_is_learned_and_kept(ehlo: bytes, enough: Action) -> None:
    """One message meets it, is taken by a new connection, and the next ones end before it."""
    mail = counting(10, enough)
    with scripted({"EHLO": ehlo, "MAIL": mail}) as server:
        limits = ConnectionLimits()
        for _ in range(2):
            carrier = SmtpTransport(
                relay_of(settings(server.port)), timeouts=PATIENT, limits=limits
            )
            for number in range(25):
                assert carrier.deliver(numbered(number)).result is Result.ACCEPTED
            carrier.close()
        assert len(server.messages) == 50
        assert server.connections == 6
        assert server.count("MAIL") == 51


@BOTH
def test_what_a_new_connection_refuses_as_well_is_its_verdict(ehlo: bytes) -> None:
    """And no limit of connections: the next message does not open another one."""
    with scripted({"EHLO": ehlo, "MAIL": [OK, ENOUGH, ENOUGH]}) as server:
        carrier = transport(server.port)
        assert carrier.deliver(numbered(1)).result is Result.ACCEPTED
        refused = carrier.deliver(numbered(2))
        assert (refused.result, refused.stage) == (Result.TRANSIENT, Stage.SENDER)
        for number in range(3):
            assert carrier.deliver(numbered(number)).result is Result.ACCEPTED
        assert server.connections == 2
        carrier.close()


@BOTH
def test_a_new_connection_is_not_asked_twice(ehlo: bytes) -> None:
    """4yz at the first MAIL of a connection is a verdict."""
    with scripted({"EHLO": ehlo, "MAIL": [ENOUGH]}) as server:
        carrier = transport(server.port)
        assert carrier.deliver(numbered(1)).result is Result.TRANSIENT
        assert (server.connections, server.count("MAIL")) == (1, 1)
        carrier.close()


@BOTH
@pytest.mark.parametrize("at", ["MAIL", "RCPT", "DATA"])
@pytest.mark.parametrize("kept", [False, True])
def test_a_farewell_before_the_content_is_asked_about_once(
    ehlo: bytes, at: str, kept: bool
) -> None:
    """Taken by a new connection; said there as well, it counts."""
    usual = b"354 go on\r\n" if at == "DATA" else OK
    before: list[Action] = [usual] if kept else []
    for farewells, result in ((1, Result.ACCEPTED), (2, Result.TRANSIENT)):
        with scripted({"EHLO": ehlo, at: [*before, *[GONE] * farewells]}) as server:
            carrier = transport(server.port)
            if kept:
                carrier.deliver(numbered(1))
            assert carrier.deliver(numbered(2)).result is result
            carrier.close()
            assert server.connections == 2


@BOTH
def test_a_server_that_is_gone_altogether_is_trouble_of_the_server(ehlo: bytes) -> None:
    """The new connection is not greeted: nobody's attempt."""
    greetings: list[Action] = [b"220 x\r\n", b"421 4.3.2 going down\r\n"]
    answers: Answers = {"EHLO": ehlo, "RCPT": [GONE], "GREETING": greetings}
    with scripted(answers) as server:
        carrier = transport(server.port)
        with pytest.raises(TransportError) as caught:
            carrier.deliver(numbered(1))
        assert caught.value.stage is Stage.GREETING
        carrier.close()


def test_a_farewell_to_the_dot_is_a_deferral() -> None:
    """The content was out: asking again at once could double it."""
    with scripted({"DOT": [GONE]}) as server:
        carrier = transport(server.port)
        assert carrier.deliver(numbered(1)).result is Result.TRANSIENT
        carrier.close()
        assert server.connections == 1


# -- the exchange -------------------------------------------------------------------------


def not_together(refusal: bytes) -> Action:
    """Refuse a command that others came with."""

    def act(peer: Peer) -> None:
        peer.say(refusal if peer.buffer else OK)

    return act


@pytest.mark.parametrize("at", ["MAIL", "RCPT"])
@pytest.mark.parametrize(
    "refusal", [b"500 what\r\n", b"502 5.5.2 no\r\n", b"503 5.5.1 bad sequence\r\n", b"504 no\r\n"]
)
def test_a_refusal_of_the_exchange_is_asked_about_in_turn(at: str, refusal: bytes) -> None:
    """The server offers PIPELINING and cannot do it."""
    with scripted({"EHLO": PIPELINING, at: not_together(refusal)}) as server:
        carrier = transport(server.port)
        for number in range(3):
            assert carrier.deliver(numbered(number)).result is Result.ACCEPTED
        carrier.close()
        assert server.connections == 2
        assert len(server.messages) == 3


@pytest.mark.parametrize("at", ["MAIL", "RCPT"])
def test_said_in_turn_as_well_it_is_final(at: str) -> None:
    """Once a message."""
    with scripted({"EHLO": PIPELINING, at: b"501 5.5.4 bad argument\r\n"}) as server:
        carrier = transport(server.port)
        assert carrier.deliver(numbered(1)).result is Result.PERMANENT
        carrier.close()
        assert (server.connections, server.count("MAIL")) == (2, 2)


@pytest.mark.parametrize(
    ("ehlo", "refusal"),
    [
        (PIPELINING, b"501 5.1.3 bad address\r\n"),
        (PIPELINING, b"550 no\r\n"),
        (LOCK_STEP, b"501 bad address\r\n"),
    ],
)
def test_a_refusal_of_an_address_is_not_asked_about_again(ehlo: bytes, refusal: bytes) -> None:
    """Nor one that was said in turn."""
    with scripted({"EHLO": ehlo, "RCPT": refusal}) as server:
        carrier = transport(server.port)
        assert carrier.deliver(numbered(1)).result is Result.PERMANENT
        carrier.close()
        assert (server.connections, server.count("RCPT")) == (1, 1)


# -- refusals because of others -----------------------------------------------------------


def strict(most: int, otherwise: Action) -> Action:
    """Refuse "bad" recipients; from the ``most``-th of a connection on, answer ``otherwise``."""
    bad: Counter[Peer] = Counter()

    def act(peer: Peer) -> None:
        if bad[peer] >= most:
            peer.act(otherwise)
        elif peer.recipients[-1].startswith("bad"):
            bad[peer] += 1
            peer.act(refusing(UNKNOWN))
        else:
            peer.say(OK)

    return act


EXIM = strict(10, refusing(b"550 5.7.1 too many bad recipients\r\n"))
POSTFIX = strict(20, then(b"421 4.7.0 too many errors\r\n", close))
DEFERS = strict(5, refusing(b"451 4.7.1 too many bad recipients\r\n"))


def drained(store: Store, answers: Answers, *people: str) -> tuple[dict[str, str], Any]:
    """What became of each recipient of one message, and the server that it was sent to."""
    message = a_message(*people)
    store.put(message)
    with scripted(answers) as server:
        ports = store.ports(
            settings=lambda: settings(server.port),
            transport=lambda one: SmtpTransport(one, timeouts=PATIENT),
        )
        Dispatcher(ports).drain()
    assert store.message(message.id).attempts == 1
    verdicts = store.verdicts(message.id)
    return {address: status for address, (status, _) in verdicts.items()}, server


def people(bad: int, good: int) -> list[str]:
    """Bad ones first."""
    return [f"bad{number}@x.test" for number in range(bad)] + [
        f"good{number}@x.test" for number in range(good)
    ]


@BOTH
@pytest.mark.parametrize("rcpt", [EXIM, POSTFIX, DEFERS], ids=["all", "421", "for now"])
@pytest.mark.parametrize(("bad", "good"), [(12, 5), (40, 5), (21, 0), (4, 20)])
def test_refusals_because_of_others_are_asked_about_without_them(
    store: Store, ehlo: bytes, rcpt: Action, bad: int, good: int
) -> None:
    """Each good one gets it once, each bad one fails, in one attempt."""
    came_to, server = drained(store, {"EHLO": ehlo, "RCPT": rcpt}, *people(bad, good))
    assert came_to == {
        address: "failed" if address.startswith("bad") else "sent" for address in people(bad, good)
    }
    got = Counter(address for one in server.messages for address in one.recipients if one.content)
    assert got == dict.fromkeys(people(0, good), 1)


def test_refused_for_now_without_bad_ones_is_a_deferral(store: Store) -> None:
    """Greylisting takes one transaction, however many there are."""
    grey = refusing(b"451 4.7.1 greylisted\r\n")
    came_to, server = drained(store, {"EHLO": PIPELINING, "RCPT": grey}, *people(0, 30))
    assert set(came_to.values()) == {"deferred"}
    assert (server.connections, server.count("MAIL")) == (1, 1)


def test_it_ends_after_twenty_rounds(store: Store) -> None:
    """Five are judged in each; the rest waits for the next attempt."""
    answers: Answers = {"EHLO": PIPELINING, "RCPT": refusing(UNKNOWN)}
    came_to, server = drained(store, answers, *people(130, 0))
    assert Counter(came_to.values()) == {"failed": 100, "deferred": 30}
    assert server.count("MAIL") == server.connections == 20


def test_what_is_because_of_others_is_no_trouble_of_the_server(store: Store) -> None:
    """Though the same words would be, said to the first one."""
    blocked = strict(5, refusing(b"550 5.7.1 client host blocked\r\n"))
    came_to, _ = drained(store, {"EHLO": PIPELINING, "RCPT": blocked}, *people(7, 1))
    assert Counter(came_to.values()) == {"failed": 7, "sent": 1}


# -- RSET -----------------------------------------------------------------------------------


@BOTH
def test_nothing_is_reset_where_nothing_is_open(ehlo: bytes) -> None:
    """MAIL was refused: there is no envelope."""
    with scripted({"EHLO": ehlo, "MAIL": [b"550 5.7.1 no\r\n"] * 3}) as server:
        carrier = transport(server.port)
        results = [carrier.deliver(numbered(number)).result for number in range(5)]
        carrier.close()
        assert results == [Result.PERMANENT] * 3 + [Result.ACCEPTED] * 2
        assert (server.connections, server.count("RSET")) == (1, 0)


@BOTH
def test_a_connection_is_renewed_before_its_tenth_reset(ehlo: bytes) -> None:
    """Some servers count what is no mail, and end the connection or refuse."""
    resets: defaultdict[Peer, int] = defaultdict(int)

    def count(peer: Peer) -> None:
        resets[peer] += 1
        peer.say(OK)

    with scripted({"EHLO": ehlo, "RSET": count, "RCPT": UNKNOWN}) as server:
        carrier = transport(server.port)
        for number in range(25):
            assert carrier.deliver(numbered(number)).result is Result.PERMANENT
        carrier.close()
        assert server.connections == 3
        assert max(resets.values()) == 9
        assert until(lambda: server.count("QUIT") == 3)


# -- refusals that are held back -----------------------------------------------------------


@BOTH
@pytest.mark.parametrize(
    ("first", "connections"),
    [(after(2.2, refusing(UNKNOWN)), 2), (refusing(UNKNOWN), 1), (after(2.2, OK), 1)],
    ids=["held back", "at once", "taken late"],
)
def test_a_connection_whose_refusals_are_held_back_is_renewed(
    ehlo: bytes, first: Action, connections: int
) -> None:
    """The next one would be held back for longer."""
    with scripted({"EHLO": ehlo, "RCPT": [first, OK, OK]}) as server:
        carrier = transport(server.port, PATIENT)
        carrier.deliver(numbered(1))
        assert carrier.deliver(numbered(2)).result is Result.ACCEPTED
        assert server.connections == connections
        carrier.close()


@pytest.fixture
def soon_held_back(monkeypatch: pytest.MonkeyPatch) -> float:
    """Seconds for an answer that was held back."""
    monkeypatch.setattr(conclusions, "_TARPIT", 0.2)
    return 0.3


def test_whom_a_server_that_holds_refusals_back_was_not_asked_for_is_asked_for_anew(
    soon_held_back: float,
) -> None:
    """Each refusal would take longer than the one before; nobody has got the message yet."""
    ehlo = PIPELINING
    bad = after(soon_held_back, UNKNOWN)
    recipients = ("a@x.test", "bad-1@x.test", "bad-2@x.test", "b@x.test")
    with scripted({"EHLO": ehlo, "RCPT": [OK, bad, *[OK] * 9]}) as server:
        carrier = transport(server.port, PATIENT)
        delivery = carrier.deliver(numbered(1, *recipients))
        assert delivery.left == ("a@x.test", "bad-2@x.test", "b@x.test")
        assert delivery.crowded
        assert delivery.verdicts["bad-1@x.test"].permanent
        assert "delayed its refusal" in delivery.verdicts["b@x.test"].text
        assert server.messages == []
        rest = carrier.deliver(numbered(1, *delivery.left))
        assert rest.result is Result.ACCEPTED
        assert (server.connections, len(server.messages)) == (2, 1)
        carrier.close()


def test_in_turn_those_who_were_accepted_get_the_message_first(soon_held_back: float) -> None:
    """They do not wait for the bad addresses behind them."""
    bad = after(soon_held_back, refusing(UNKNOWN))
    recipients = ("a@x.test", "bad-1@x.test", "bad-2@x.test", "b@x.test")
    with scripted({"EHLO": LOCK_STEP, "RCPT": [OK, bad, bad, OK]}) as server:
        carrier = transport(server.port, PATIENT)
        deliveries = list(until_none_is_left(carrier, recipients))
        assert [delivery.left for delivery in deliveries] == [
            ("bad-2@x.test", "b@x.test"),
            ("b@x.test",),
            (),
        ]
        assert deliveries[0].verdicts["a@x.test"].positive
        assert deliveries[0].verdicts["bad-1@x.test"].permanent
        assert [message.recipients for message in server.messages] == [["a@x.test"], ["b@x.test"]]
        carrier.close()


def until_none_is_left(
    carrier: SmtpTransport, recipients: Sequence[str]
) -> Iterator[TransportResult]:
    """One transaction after the other, each for those who are left; ten at most."""
    for _ in range(10):
        yield (delivery := carrier.deliver(numbered(1, *recipients)))
        recipients = delivery.left
        if not recipients:
            return
    raise AssertionError(f"{recipients} are left for ever")


@BOTH
def test_refusals_for_now_are_waited_for(ehlo: bytes, soon_held_back: float) -> None:
    """They would be held back at every attempt, and the others never get the message."""
    unknown_now = after(soon_held_back, refusing(b"450 4.1.2 domain not found\r\n"))
    answers = [OK, unknown_now, unknown_now, OK]
    with scripted({"EHLO": ehlo, "RCPT": answers}) as server:
        carrier = transport(server.port, PATIENT)
        recipients = ("a@x.test", "slow-1@x.test", "slow-2@x.test", "b@x.test")
        (delivery,) = until_none_is_left(carrier, recipients)
        assert delivery.result is Result.ACCEPTED
        assert server.messages[0].recipients == ["a@x.test", "b@x.test"]
        carrier.close()


@BOTH
@pytest.mark.parametrize("reply", [b"552 mailbox full\r\n", b"452 4.5.3 too many\r\n"])
def test_no_room_may_be_said_late(ehlo: bytes, reply: bytes, soon_held_back: float) -> None:
    """It is said of the transaction: the next one has room again."""
    full = after(soon_held_back, refusing(reply))

    def two_of_each(peer: Peer) -> None:
        peer.act(OK if len(peer.recipients) <= 2 else full)

    recipients = tuple(f"{name}@x.test" for name in "abcdef")
    with scripted({"EHLO": ehlo, "RCPT": two_of_each}) as server:
        carrier = transport(server.port, PATIENT)
        list(until_none_is_left(carrier, recipients))
        assert [len(message.recipients) for message in server.messages] == [2, 2, 2]
        carrier.close()


def test_commands_that_came_together_and_were_refused_late_are_asked_in_turn(
    soon_held_back: float,
) -> None:
    """The refusal is of the exchange, however long it took."""
    late = after(soon_held_back, refusing(b"503 5.5.1 bad sequence\r\n"))
    with scripted({"EHLO": PIPELINING, "RCPT": [OK, late]}) as server:
        carrier = transport(server.port, PATIENT)
        delivery = carrier.deliver(numbered(1, "a@x.test", "b@x.test", "c@x.test"))
        assert (delivery.result, delivery.left) == (Result.ACCEPTED, ())
        assert server.messages[0].recipients == ["a@x.test", "b@x.test", "c@x.test"]
        carrier.close()


def test_a_server_that_holds_refusals_back_is_asked_in_turn_from_then_on(
    soon_held_back: float,
) -> None:
    """What it still has to read would keep its end busy, and it lets in only so many."""
    together: dict[Peer, bool] = {}  # whether more came with a connection's first recipient

    def note(peer: Peer) -> None:
        together.setdefault(peer, bool(peer.buffer))
        peer.act(after(soon_held_back, UNKNOWN) if len(together) == 1 else OK)

    limits = ConnectionLimits()
    with scripted({"EHLO": PIPELINING, "RCPT": note}) as server:
        for number in (1, 2):  # another transport of the same process knows it, too
            carrier = SmtpTransport(
                relay_of(settings(server.port)), timeouts=PATIENT, limits=limits
            )
            carrier.deliver(numbered(number, "a@x.test", "b@x.test"))
            carrier.close()
        assert list(together.values()) == [True, False]


@BOTH
def test_the_last_of_all_may_be_held_back(ehlo: bytes, soon_held_back: float) -> None:
    """There is nobody left to ask for, so the others get the message."""
    bad = after(soon_held_back, UNKNOWN)
    with scripted({"EHLO": ehlo, "RCPT": [OK, bad]}) as server:
        carrier = transport(server.port, PATIENT)
        delivery = carrier.deliver(numbered(1, "a@x.test", "bad@x.test"))
        assert (delivery.result, delivery.left) == (Result.ACCEPTED, ())
        assert (server.connections, len(server.messages)) == (1, 1)
        carrier.close()


@BOTH
def test_acceptances_may_take_as_long_as_they_want(ehlo: bytes, soon_held_back: float) -> None:
    """A slow server is asked for all, as long as its refusals come at once."""
    answers = [after(soon_held_back, OK), UNKNOWN, after(soon_held_back, OK)]
    with scripted({"EHLO": ehlo, "RCPT": answers}) as server:
        carrier = transport(server.port, PATIENT)
        delivery = carrier.deliver(numbered(1, "a@x.test", "bad@x.test", "b@x.test"))
        assert (delivery.result, delivery.left) == (Result.ACCEPTED, ())
        carrier.close()


# -- acknowledgements -----------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is no such option")
def test_a_server_that_writes_each_reply_by_itself_is_not_kept_waiting() -> None:
    """It holds each reply until the last one is acknowledged, which by itself takes 40 ms."""
    took = []
    with scripted({"EHLO": PIPELINING}) as server:
        carrier = transport(server.port)
        for number in range(31):
            began = time.monotonic()
            carrier.deliver(numbered(number, "a@x.test", "b@x.test"))
            took.append(time.monotonic() - began)
        carrier.close()
    assert statistics.median(took) < 0.03
