"""One message after the other over a kept connection, and what the answers come to."""

from __future__ import annotations

import socket
import threading
import time
from dataclasses import replace

import pytest

from flask_interaction_mail.errors import TransportError
from flask_interaction_mail.outcome import Fault, Result, Stage
from flask_interaction_mail.settings.model import relay_of
from flask_interaction_mail.transport.base import Envelope
from flask_interaction_mail.transport.pool import KeptTransports
from flask_interaction_mail.transport.smtp import conclusions
from flask_interaction_mail.transport.smtp.transport import SmtpTransport
from tests.servers.clients import PATIENT, QUICK, envelope, settings, transport
from tests.servers.scripted import (
    LOCK_STEP,
    PIPELINING,
    TOO_MANY,
    after,
    close,
    drip,
    flood,
    reset,
    room_for,
    scripted,
    silence,
    then,
    until,
)
from tests.servers.sink import sink

BOTH = pytest.mark.parametrize("ehlo", [LOCK_STEP, PIPELINING], ids=["lock-step", "pipelined"])


def codes(delivery):
    return {address: reply.code for address, reply in delivery.verdicts.items()}


@BOTH
def test_messages_share_a_connection_and_arrive_as_they_are(ehlo):
    """Dots at the start of a line come through, and QUIT is said once at the end."""
    content = b"Subject: x\r\n\r\n.one\r\n..two\r\n.\r\nend\r\n"
    with scripted({"EHLO": ehlo}) as server:
        carrier = transport(server.port)
        for _ in range(3):
            delivery = carrier.deliver(envelope("a@x.test", "b@x.test", content=content))
            assert delivery.result is Result.ACCEPTED
            assert codes(delivery) == {"a@x.test": 250, "b@x.test": 250}
        carrier.close()
        assert server.connections == 1
        assert [message.content for message in server.messages] == [content] * 3
        assert server.messages[0].recipients == ["a@x.test", "b@x.test"]
        assert until(lambda: server.count("QUIT") == 1)


@BOTH
def test_each_recipient_has_a_verdict_of_its_own(ehlo):
    """250, 450 and 550 in one message: one copy, three verdicts."""
    answers = {
        "EHLO": ehlo,
        "RCPT b@x.test": b"450 4.2.1 busy\r\n",
        "RCPT c@x.test": b"550 5.1.1 unknown\r\n",
    }
    with scripted(answers) as server:
        carrier = transport(server.port)
        delivery = carrier.deliver(envelope("a@x.test", "b@x.test", "c@x.test"))
        assert delivery.result is Result.ACCEPTED
        assert codes(delivery) == {"a@x.test": 250, "b@x.test": 450, "c@x.test": 550}
        assert len(server.messages) == 1
        carrier.close()


@BOTH
@pytest.mark.parametrize(
    ("answers", "result", "stage", "fault"),
    [
        ({"MAIL": b"451 x\r\n"}, Result.TRANSIENT, Stage.SENDER, Fault.SENDER_TRANSIENT),
        ({"MAIL": b"550 x\r\n"}, Result.PERMANENT, Stage.SENDER, Fault.SENDER_REFUSED),
        ({"MAIL": b"530 x\r\n"}, Result.PERMANENT, Stage.SENDER, Fault.AUTH_REQUIRED),
        ({"RCPT": b"450 x\r\n"}, Result.TRANSIENT, Stage.RECIPIENT, Fault.RECIPIENT_TRANSIENT),
        ({"RCPT": b"550 x\r\n"}, Result.PERMANENT, Stage.RECIPIENT, Fault.RECIPIENT_REFUSED),
        ({"DATA": b"451 x\r\n"}, Result.TRANSIENT, Stage.CONTENT, Fault.CONTENT_TRANSIENT),
        ({"DATA": b"554 x\r\n"}, Result.PERMANENT, Stage.CONTENT, Fault.CONTENT_REFUSED),
        ({"DOT": b"450 x\r\n"}, Result.TRANSIENT, Stage.CONTENT, Fault.CONTENT_TRANSIENT),
        ({"DOT": b"500 x\r\n"}, Result.PERMANENT, Stage.CONTENT, Fault.CONTENT_REFUSED),
    ],
)
def test_a_refusal_leaves_the_connection_good_for_the_next(ehlo, answers, result, stage, fault):
    """Refused at any command, the next message goes out over the same connection."""
    (key, action), *_ = answers.items()
    with scripted({"EHLO": ehlo, key: [action]}) as server:
        carrier = transport(server.port)
        delivery = carrier.deliver(envelope())
        assert (delivery.result, delivery.stage, delivery.fault) == (result, stage, fault)
        assert codes(delivery) == {"a@x.test": int(action[:3])}
        assert carrier.deliver(envelope()).result is Result.ACCEPTED
        carrier.close()
        assert server.connections == 1


@BOTH
def test_one_transient_refusal_among_permanent_ones_is_tried_again(ehlo):
    """The message as a whole is transient then."""
    answers = {"EHLO": ehlo, "RCPT": b"550 no\r\n", "RCPT b@x.test": b"450 later\r\n"}
    with scripted(answers) as server:
        carrier = transport(server.port)
        delivery = carrier.deliver(envelope("a@x.test", "b@x.test"))
        carrier.close()
    assert delivery.result is Result.TRANSIENT
    assert delivery.reply.code == 450


@BOTH
@pytest.mark.parametrize(
    "reply",
    [
        TOO_MANY,
        b"452 Too many recipients\r\n",
        b"552 too many recipients\r\n",
        b"552 5.5.3 no more\r\n",
        b"552 4.5.3 no more\r\n",
    ],
)
@pytest.mark.parametrize(("room", "count"), [(1, 2), (3, 5), (100, 250), (130, 250)])
def test_who_finds_no_room_is_left_for_another_transaction(ehlo, reply, room, count):
    """The first ones have the message, nobody is refused for the lack of room, nobody asked on."""
    everybody = [f"p{number}@x.test" for number in range(count)]
    with scripted({"EHLO": ehlo, "RCPT": room_for(room, reply)}) as server:
        carrier = transport(server.port)
        delivery = carrier.deliver(envelope(*everybody))
        assert (delivery.result, delivery.room) == (Result.ACCEPTED, room)
        assert [*delivery.left] == everybody[room:]
        assert set(codes(delivery).values()) == {250, int(reply[:3])}
        assert [one.recipients for one in server.messages] == [everybody[:room]]
        together = ehlo is PIPELINING
        most = min(count, -(-(room + 1) // 100) * 100 if together else room + 1)
        assert server.count("RCPT") == most
        assert carrier.deliver(envelope()).result is Result.ACCEPTED
        carrier.close()
        assert server.connections == 1


@BOTH
@pytest.mark.parametrize(
    ("first", "second", "left"),
    [
        (TOO_MANY, b"250 ok\r\n", []),
        (b"250 ok\r\n", b"552 5.2.2 mailbox full\r\n", []),
        (b"250 ok\r\n", b"552 5.3.4 too big for him\r\n", []),
        (b"250 ok\r\n", b"552 4.2.2 mailbox full\r\n", []),
        (b"250 ok\r\n", b"452 4.3.1 insufficient storage\r\n", []),
        (b"250 ok\r\n", b"452 insufficient system storage\r\n", []),
        (b"250 ok\r\n", b"450 4.5.3 later\r\n", []),
        (b"250 ok\r\n", b"552 his mailbox is full\r\n", ["b@x.test"]),
    ],
)
def test_what_else_may_be_meant_is_a_verdict(ehlo, first, second, left):
    """Before anybody is accepted, or of a mailbox or the system, it says nothing of room."""
    answers = {"EHLO": ehlo, "RCPT a@x.test": first, "RCPT b@x.test": second}
    with scripted(answers) as server:
        carrier = transport(server.port)
        delivery = carrier.deliver(envelope("a@x.test", "b@x.test", "c@x.test"))
        carrier.close()
    assert (delivery.result, delivery.room) == (Result.ACCEPTED, None)
    assert [*delivery.left] == left
    assert codes(delivery)["c@x.test"] == 250


@BOTH
@pytest.mark.parametrize("action", [close, reset, silence])
@pytest.mark.parametrize("at", ["MAIL", "RCPT", "DATA"])
def test_a_link_that_dies_before_the_dot_means_nobody_got_it(ehlo, action, at):
    """An error, so that the message is tried again."""
    with scripted({"EHLO": ehlo, at: action}) as server:
        carrier = transport(server.port, QUICK)
        with pytest.raises(TransportError) as caught:
            carrier.deliver(envelope())
        assert caught.value.transient
        assert caught.value.stage in (Stage.SENDER, Stage.RECIPIENT, Stage.CONTENT)
        assert server.messages == []
        carrier.close()


@BOTH
@pytest.mark.parametrize("action", [close, reset, silence, b"rubbish\r\n", b"399 what\r\n"])
def test_a_link_that_dies_after_the_dot_is_ambiguous(ehlo, action):
    """RFC 1047: whether the server took it, nobody knows. A verdict at RCPT stays known."""
    answers = {"EHLO": ehlo, "DOT": [action], "RCPT b@x.test": [b"550 no\r\n"]}
    with scripted(answers) as server:
        carrier = transport(server.port, QUICK)
        delivery = carrier.deliver(envelope("a@x.test", "b@x.test"))
        assert delivery.reply is None
        assert delivery.result is Result.AMBIGUOUS
        assert delivery.fault is Fault.UNKNOWN_OUTCOME
        assert delivery.note
        assert codes(delivery) == {"b@x.test": 550}
        assert carrier.deliver(envelope()).result is Result.ACCEPTED
        carrier.close()
        assert server.connections == 2


@BOTH
def test_accepted_then_reset_is_sent_once(ehlo):
    """What comes after the 250 changes nothing; the next message takes another connection."""
    with scripted({"EHLO": ehlo, "DOT": [then(b"250 ok\r\n", reset)]}) as server:
        carrier = transport(server.port)
        assert carrier.deliver(envelope()).result is Result.ACCEPTED
        assert carrier.deliver(envelope()).result is Result.ACCEPTED
        carrier.close()
        assert len(server.messages) == 2


def test_quit_without_an_answer_ends_in_time():
    """Its result is ignored."""
    with scripted({"QUIT": silence}) as server:
        carrier = transport(server.port, QUICK)
        assert carrier.deliver(envelope()).result is Result.ACCEPTED
        begun = time.monotonic()
        carrier.close()
        assert time.monotonic() - begun < 1


@pytest.mark.parametrize("answer", [after(0.4, b"221 bye\r\n"), silence], ids=["late", "never"])
def test_farewells_are_waited_for_together(answer):
    """Eight kept connections to a slow server are left in the time of one."""
    with scripted({"QUIT": answer}) as server:
        timeouts = replace(PATIENT, quit=0.8)
        kept = KeptTransports(lambda relay: SmtpTransport(relay, timeouts=timeouts))
        there = relay_of(settings(server.port))
        carriers = [kept.take(there) for _ in range(8)]
        for carrier in carriers:
            assert carrier.deliver(envelope()).result is Result.ACCEPTED
            kept.give_back(there, carrier)
        begun = time.monotonic()
        kept.close()
        assert time.monotonic() - begun < 1.5
        assert server.connections == 8
        assert until(lambda: server.count("QUIT") == 8)


@BOTH
@pytest.mark.parametrize(("at", "times"), [("MAIL", 2), ("RCPT", 2), ("DATA", 2), ("DOT", 1)])
def test_a_farewell_within_a_message_is_transient(ehlo, at, times):
    """421 may come at any time, and the connection ends then (RFC 5321 section 3.8)."""
    going = then(b"421 4.3.2 going down\r\n", close)
    with scripted({"EHLO": ehlo, at: [going] * times}) as server:
        carrier = transport(server.port)
        delivery = carrier.deliver(envelope())
        assert delivery.result is Result.TRANSIENT
        assert codes(delivery) == {"a@x.test": 421}
        assert carrier.deliver(envelope()).result is Result.ACCEPTED
        assert server.connections == times + 1
        carrier.close()


@BOTH
@pytest.mark.parametrize(
    "farewell", [close, reset, then(b"421 idle too long\r\n", close), b"421 idle too long\r\n"]
)
def test_a_kept_connection_that_died_is_replaced_unnoticed(ehlo, farewell):
    """Whether the end shows before the next message or only at its MAIL."""
    answers = {"EHLO": ehlo, "MAIL": [b"250 ok\r\n", farewell]}
    with scripted(answers) as server:
        carrier = transport(server.port)
        assert carrier.deliver(envelope()).result is Result.ACCEPTED
        assert carrier.deliver(envelope()).result is Result.ACCEPTED
        carrier.close()
        assert server.connections == 2
        assert len(server.messages) == 2


@pytest.mark.parametrize(("refusing", "connections"), [("MAIL", 1), ("RCPT", 2)])
def test_slow_refusals_of_recipients_end_a_connection(refusing, connections, monkeypatch):
    """The next ones would be as slow there; a slow refusal of the sender says nothing of them."""
    monkeypatch.setattr(conclusions, "_SLOW", 0.1)
    answers = {"EHLO": LOCK_STEP, refusing: [after(0.2, b"550 no\r\n"), b"250 ok\r\n"]}
    with scripted(answers) as server:
        carrier = transport(server.port)
        assert carrier.deliver(envelope()).result is Result.PERMANENT
        assert carrier.deliver(envelope()).result is Result.ACCEPTED
        carrier.close()
        assert server.connections == connections


def test_a_kept_connection_that_was_closed_meanwhile_is_not_even_tried():
    """The end is seen before the next message."""
    with scripted({"DOT": [then(b"250 ok\r\n", b"421 bye\r\n", close)]}) as server:
        carrier = transport(server.port)
        carrier.deliver(envelope())
        time.sleep(0.05)
        assert carrier.deliver(envelope()).result is Result.ACCEPTED
        carrier.close()
        assert server.count("MAIL") == 2


def test_a_lone_dot_ends_what_nobody_is_to_get():
    """Pipelined, the server may ask for content although it refused every recipient."""
    with scripted({"EHLO": PIPELINING, "RCPT": [b"550 no\r\n"]}) as server:
        carrier = transport(server.port)
        assert carrier.deliver(envelope()).result is Result.PERMANENT
        assert server.messages[0].content == b""
        assert carrier.deliver(envelope()).result is Result.ACCEPTED
        carrier.close()
        assert server.connections == 1


def test_a_refused_reset_takes_another_connection():
    """The server does not forget the envelope, so it gets no other one."""
    answers = {"EHLO": LOCK_STEP, "RCPT": [b"550 no\r\n"], "RSET": b"500 what\r\n"}
    with scripted(answers) as server:
        carrier = transport(server.port)
        carrier.deliver(envelope())
        assert carrier.deliver(envelope()).result is Result.ACCEPTED
        assert server.connections == 2
        carrier.close()


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        (envelope(content=b"a\n.\r\n"), Fault.CONTENT_UNSAFE),
        (envelope("a@x.test>\r\nDATA"), Fault.ADDRESS_UNUSABLE),
        (envelope("ü@x.test"), Fault.SMTPUTF8_MISSING),
        (envelope(content="ü\r\n".encode()), Fault.CONTENT_UNSAFE),
        (envelope(content=b"x\r\n" * 400_000), Fault.TOO_BIG),
    ],
)
def test_what_cannot_be_carried_fails_without_a_byte(message, fault):
    """One message fails for good with a note, and the connection is as before."""
    with scripted() as server:
        carrier = transport(server.port)
        delivery = carrier.deliver(message)
        assert (delivery.result, delivery.fault) == (Result.PERMANENT, fault)
        assert delivery.note
        assert "MAIL" not in server.commands()
        assert carrier.deliver(envelope()).result is Result.ACCEPTED
        carrier.close()


@BOTH
@pytest.mark.parametrize("place", [0, 1, 2])
def test_who_is_out_of_reach_fails_alone_before_mail(ehlo, place):
    """A server without SMTPUTF8 is not asked for him, and MAIL goes without the parameter."""
    people = ["a@x.test", "b@x.test"]
    people.insert(place, "grüße@x.test")
    with scripted({"EHLO": ehlo, "RCPT b@x.test": b"450 later\r\n"}) as server:
        carrier = transport(server.port)
        delivery = carrier.deliver(envelope(*people))
        assert carrier.deliver(envelope()).result is Result.ACCEPTED
        carrier.close()
        assert delivery.result is Result.ACCEPTED
        assert codes(delivery) == {"a@x.test": 250, "b@x.test": 450, "grüße@x.test": 553}
        reply = delivery.verdicts["grüße@x.test"]
        assert (reply.enhanced, reply.permanent) == ("5.6.7", True)
        assert "grüße@x.test" in reply.text
        assert b"MAIL FROM:<crm@x.test>" in server.lines
        assert all(line.isascii() for line in server.lines)
        assert server.messages[0].recipients == ["a@x.test", "b@x.test"]


def test_international_addresses_go_to_a_server_that_knows_them():
    """SMTPUTF8 is asked for (RFC 6531)."""
    with scripted({"EHLO": b"250-x\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n"}) as server:
        carrier = transport(server.port)
        message = Envelope(
            sender="crm@x.test",
            recipients=("grüße@x.test",),
            content="Subject: ü\r\n\r\n".encode(),
            smtputf8=True,
        )
        assert carrier.deliver(message).result is Result.ACCEPTED
        carrier.close()
        assert b"MAIL FROM:<crm@x.test> BODY=8BITMIME SMTPUTF8" in server.lines


@pytest.mark.parametrize(
    ("answers", "stage", "fault", "transient"),
    [
        ({"GREETING": silence}, Stage.GREETING, Fault.SILENT, True),
        ({"GREETING": close}, Stage.GREETING, Fault.LOST, True),
        ({"GREETING": b"421 busy\r\n"}, Stage.GREETING, Fault.GREETING_TRANSIENT, True),
        ({"GREETING": b"554 go away\r\n"}, Stage.GREETING, Fault.GREETING_REFUSED, False),
        ({"GREETING": b"HTTP/1.1 400 Bad\r\n"}, Stage.GREETING, Fault.NOT_SMTP, True),
        ({"GREETING": b"250 ok\r\n"}, Stage.GREETING, Fault.GREETING_TRANSIENT, True),
        ({"EHLO": b"450 later\r\n"}, Stage.GREETING, Fault.GREETING_TRANSIENT, True),
        (
            {"EHLO": b"550 no\r\n", "HELO": b"550 no\r\n"},
            Stage.GREETING,
            Fault.GREETING_REFUSED,
            False,
        ),
        ({"GREETING": drip(b"220-wait\r\n", 0.05)}, Stage.GREETING, Fault.SILENT, True),
        ({"GREETING": drip(b"2", 0.05)}, Stage.GREETING, Fault.SILENT, True),
        ({"GREETING": flood(b"220-more\r\n" * 100)}, Stage.GREETING, Fault.NOT_SMTP, True),
        ({"GREETING": flood(b"x" * 65536)}, Stage.GREETING, Fault.NOT_SMTP, True),
        ({"GREETING": flood(b"220-" + b"x" * 7000 + b"\r\n")}, Stage.GREETING, "not_smtp", True),
    ],
)
def test_trouble_with_the_server_is_no_trouble_of_the_message(answers, stage, fault, transient):
    """Every step has a total deadline, and every reply an end."""
    with scripted(answers) as server:
        carrier = transport(server.port, QUICK)
        begun = time.monotonic()
        with pytest.raises(TransportError) as caught:
            carrier.deliver(envelope())
        assert time.monotonic() - begun < QUICK.greeting + 1
        error = caught.value
        assert (error.stage, error.fault, error.transient) == (stage, fault, transient)
        assert str(error).isprintable()
        assert server.messages == []
        carrier.close()


def test_helo_serves_where_ehlo_is_unknown():
    """Very old servers (RFC 5321 section 3.2)."""
    with scripted({"EHLO": b"502 what\r\n"}) as server:
        carrier = transport(server.port)
        assert carrier.deliver(envelope()).result is Result.ACCEPTED
        carrier.close()
        assert b"HELO client.x.test" in server.lines


def test_r14_r15_a_name_that_is_not_known_is_the_servers_trouble():
    """The settings' server is the one that is asked for, and no other."""
    carrier = transport(25, smtp_server="nowhere.invalid")
    with pytest.raises(TransportError) as caught:
        carrier.deliver(envelope())
    assert caught.value.stage is Stage.RESOLVE
    assert caught.value.fault in (Fault.NAME_UNKNOWN, Fault.NAME_SERVICE)
    assert "nowhere.invalid" in str(caught.value)


@pytest.mark.parametrize("server", ["127.0.0.1", "localhost"])
def test_r15_names_and_addresses_are_servers(server):
    """A single label and an IPv4 address."""
    with scripted() as running:
        carrier = transport(running.port, smtp_server=server)
        assert carrier.deliver(envelope()).result is Result.ACCEPTED
        carrier.close()


@pytest.mark.parametrize("address", ["169.254.169.254", "0.0.0.0", "::", "[::ffff:169.254.1.1]"])
def test_forbidden_addresses_are_never_connected_to(address):
    """T2: also when delivering."""
    with pytest.raises(TransportError) as caught:
        transport(25, smtp_server=address).deliver(envelope())
    assert caught.value.fault is Fault.ADDRESS_FORBIDDEN
    assert not caught.value.transient


def test_nothing_listens():
    """Refused at once."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(TransportError) as caught:
        transport(port).deliver(envelope())
    assert caught.value.fault is Fault.REFUSED
    assert caught.value.stage is Stage.CONNECT


def test_an_unresponsive_address_ends_by_the_deadline():
    """A full backlog swallows connections as a firewall does."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listening:
        port = listening.getsockname()[1]
        fillers = []
        for _ in range(3):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
            fillers.append(filler)
        begun = time.monotonic()
        with pytest.raises(TransportError) as caught:
            transport(port, QUICK).deliver(envelope())
        assert caught.value.fault is Fault.CONNECT_TIMEOUT
        assert time.monotonic() - begun < QUICK.connect + 1
        for filler in fillers:
            filler.close()


def test_no_server_set_is_an_error_and_no_localhost():
    """R3: there is no fall-back."""
    with pytest.raises(TransportError) as caught:
        SmtpTransport(relay_of(settings(25, smtp_server=None))).deliver(envelope())
    assert caught.value.stage is Stage.SETTINGS


def test_delivery_can_be_broken_off_from_another_thread():
    """What waits for the answer to its dot has an unknown outcome at once."""
    with scripted({"DOT": silence}) as server:
        carrier = transport(server.port)
        waiting = lambda: bool(server.messages)  # noqa: E731
        stopping = threading.Thread(target=lambda: (until(waiting), carrier.abort()))
        stopping.start()
        begun = time.monotonic()
        assert carrier.deliver(envelope()).result is Result.AMBIGUOUS
        assert time.monotonic() - begun < PATIENT.final
        stopping.join()
        with pytest.raises(TransportError):
            carrier.deliver(envelope())
        carrier.close()


def test_big_messages_go_out_in_blocks():
    """Several megabytes to a slow reader arrive whole."""
    content = b"Subject: x\r\n\r\n" + b"0123456789abcdef" * 4 + b"\r\n"
    content += b"z" * 70 + b"\r\n"
    content *= 20_000
    with sink() as port:
        carrier = transport(port)
        assert carrier.deliver(envelope(content=content)).result is Result.ACCEPTED
        carrier.close()


@pytest.mark.parametrize(
    ("options", "outcome"),
    [
        (("-q", "DATA"), TransportError),
        (("-Q", "DATA"), Result.TRANSIENT),
        (("-f", "MAIL"), Result.PERMANENT),
        (("-f", "RCPT"), Result.PERMANENT),
        (("-r", "MAIL"), Result.TRANSIENT),
        (("-r", "RCPT"), Result.TRANSIENT),
        (("-r", "DATA"), Result.TRANSIENT),
        (("-r", "."), Result.TRANSIENT),
        (("-f", "."), Result.PERMANENT),
        (("-r", "EHLO", "-r", "HELO"), TransportError),
        (("-r", "CONNECT"), TransportError),
    ],
)
def test_faults_of_another_servers_making(options, outcome):
    """smtp-sink fails on request."""
    with sink(*options) as port:
        carrier = transport(port)
        try:
            assert carrier.deliver(envelope()).result is outcome
        except TransportError:
            assert outcome is TransportError
        carrier.close()
