"""An IMAP server that is hostile, slow or somebody else's, and what it gets and cannot do (T30)."""

from __future__ import annotations

import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from typing import Any

import pytest

from flask_interaction_mail.errors import TransportError
from flask_interaction_mail.outcome import Fault
from flask_interaction_mail.settings.mailbox import Mailbox
from flask_interaction_mail.settings.relay import Encryption, Relay, SignIn
from flask_interaction_mail.settings.secret import Secret
from flask_interaction_mail.transport.imap import answers, session
from flask_interaction_mail.transport.imap.session import ImapSession
from flask_interaction_mail.transport.policy import ConnectPolicy
from flask_interaction_mail.transport.smtp.timeouts import Until
from tests.canary import PASSWORD
from tests.servers.certificates import other_pki, pki
from tests.servers.tokens import TOKEN, Given

GREETING = b"* OK ready\r\n"
CAPABLE = b"* CAPABILITY IMAP4rev1 AUTH=PLAIN MOVE\r\n"


@dataclass
class Scripted:
    """Says what ``answers`` has for the beginning of a command, and hears all."""

    port: int = 0
    heard: list[bytes] = field(default_factory=list)
    answers: dict[bytes, bytes | Callable[[socket.socket, bytes], None]] = field(
        default_factory=lambda: {b"": b"", b"CAPABILITY": CAPABLE}
    )
    greeting: bytes = GREETING

    def serve(self, connected: socket.socket) -> None:
        with connected, connected.makefile("rb") as lines:
            connected.sendall(self.greeting)
            for line in lines:
                self.heard.append(line)
                tag, _, command = line.strip().partition(b" ")
                best = max((name for name in self.answers if command.startswith(name)), key=len)
                answer = self.answers[best]
                if callable(answer):
                    answer(connected, tag)
                    continue
                connected.sendall(answer + tag + b" OK done\r\n")
                if command.startswith(b"AUTHENTICATE"):
                    self.heard.append(lines.readline())


@contextmanager
def scripted(**more: Any) -> Iterator[Scripted]:
    server = Scripted(**more)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server.port = listening.getsockname()[1]

        def accept() -> None:
            while True:
                try:
                    connected, _ = listening.accept()
                    server.serve(connected)
                except OSError:
                    if listening.fileno() < 0:
                        return

        threading.Thread(target=accept, daemon=True).start()
        yield server
        listening.shutdown(socket.SHUT_RDWR)


def ask(connected: socket.socket, tag: bytes) -> None:
    """Ask for what a mechanism says, and be content with it."""
    connected.sendall(b"+ \r\n")
    connected.recv(4096)
    connected.sendall(tag + b" OK in\r\n")


@pytest.fixture
def server() -> Iterator[Scripted]:
    with scripted() as server:
        server.answers[b"AUTHENTICATE"] = ask
        yield server


def mailbox(port: int, **changes: Any) -> Mailbox:
    plain = Mailbox(
        server="127.0.0.1",
        port=port,
        encryption=Encryption.NONE,
        login="crm",
        secret=Secret(PASSWORD),
        allow_unencrypted_auth=True,
    )
    return replace(plain, **changes)


def opened(server: Scripted, **more: Any) -> ImapSession:
    changes = more.pop("changes", {})
    given = {"policy": ConnectPolicy(), "until": Until.within(10)} | more
    return ImapSession(mailbox=mailbox(server.port, **changes), limit=1000, **given)


def fault_of(session: ImapSession, use: Callable[[ImapSession], object] = lambda _: None) -> Fault:
    with pytest.raises(TransportError) as caught, session:
        use(session)
    assert PASSWORD not in str(caught.value)
    assert caught.value.fault is not None
    return caught.value.fault


@pytest.mark.parametrize(
    "answer",
    [
        b"* SEARCH " + b"1 " * 5_000_000,
        b"* 1 FETCH (UID 1 BODY[] {99999999999}\r\n",
        b"* 1 FETCH (UID 1 BODY[] {99999999}\r\n" + b"x" * 1000,
        b"no answer of IMAP\r\n",
        b"+ more?\r\n",
    ],
    ids=["line", "number", "literal", "rubbish", "question"],
)
def test_an_answer_without_an_end_is_left(server: Scripted, answer: bytes) -> None:
    """Neither memory nor time is filled: the connection is given up."""

    def flood(connected: socket.socket, tag: bytes) -> None:
        connected.sendall(answer)

    server.answers[b"UID SEARCH"] = flood
    tracemalloc.start()
    session = opened(server)
    found = fault_of(session, lambda one: one.uids_from(1))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found is Fault.NOT_IMAP
    assert peak < 80_000_000


def test_an_answer_that_is_too_large_is_left_out(server: Scripted) -> None:
    """What is behind it is read all the same, and the next command works."""
    large = b"* 1 FETCH (UID 1 BODYSTRUCTURE {3000000}\r\n" + b"x" * 3_000_000 + b")\r\n"
    small = b'* 2 FETCH (UID 2 BODYSTRUCTURE ("message" {15}\r\ndelivery-status))\r\n'
    server.answers[b"UID FETCH"] = large + small
    with opened(server) as one:
        assert one.look([1, 2]) == [answers.Found(2, is_report=True, answers_to=())]
        server.answers[b"UID FETCH"] = large.replace(b"BODYSTRUCTURE", b"BODY[]<0>")
        assert one.content(1) is None
        assert one.look([3]) == []


def test_what_was_not_asked_for_does_not_count(server: Scripted) -> None:
    """Answers about other messages, without a UID, or with numbers that are none."""
    server.answers[b"UID FETCH"] = (
        b'* 1 FETCH (UID 7 BODYSTRUCTURE ("message" "delivery-status"))\r\n'
        b'* 2 FETCH (BODYSTRUCTURE ("text" "plain"))\r\n'
        b"* 3 FETCH (UID x)\r\n* 4 FETCH (((\r\n* 5 FETCH UID\r\n* 6 EXPUNGE\r\n"
        b'* 9 FETCH (UID 1 BODYSTRUCTURE ("text" '
        b'"UID 7 (\\"message\\" \\"delivery-status\\")"))\r\n'
    )
    server.answers[b"UID SEARCH"] = b"* SEARCH 4 -1 x 99999999999 5 3\r\n"
    with opened(server) as one:
        assert one.look([1]) == [answers.Found(1, is_report=False, answers_to=())]
        assert one.uids_from(4) == [4, 5]


REFERENCES = b"BODY[HEADER.FIELDS (REFERENCES)]"
NO_ENVELOPE = b"ENVELOPE (NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)"
ENVELOPE = b'ENVELOPE (NIL "Away" NIL NIL NIL NIL NIL NIL "<parent@a>" "<own@b>")'


@pytest.mark.parametrize(
    ("items", "answers_to"),
    [
        (NO_ENVELOPE + b" %s {30}\r\nReferences: <first@a> <last@a> FLAGS ()", ["last", "first"]),
        (b'%s "References: <first@a>\\" <last@a>" ' + NO_ENVELOPE, ["last", "first"]),
        (b'BODYSTRUCTURE ("text" "plain") ' + ENVELOPE, ["parent"]),
        (b"%s NIL " + ENVELOPE, ["parent"]),
        (b'%s "" ' + ENVELOPE, ["parent"]),
        (b"%s {0}\r\n " + ENVELOPE, ["parent"]),
        (b"%s (<first@a>) " + ENVELOPE, ["parent"]),
        (b"%s {9}\r\n<first@a> " + ENVELOPE, ["parent", "first"]),
        (b'BODY[header.fields ("References")]<0> "<first@a>" ' + ENVELOPE, ["parent", "first"]),
        (b"BODY[HEADER.FIELDS ({10}\r\nREFERENCES)] {9}\r\n<first@a> " + ENVELOPE, ["parent"]),
        (b"BODY[TEXT] {9}\r\n<first@a> " + ENVELOPE, ["parent"]),
        (b'%s "%s" ' % (b"%s", b" ".join(b"<%d@a>" % n for n in range(50))) + ENVELOPE,
         ["parent", *map(str, range(49, 40, -1))]),
    ],
    ids=["literal", "quoted", "missing", "nil", "empty", "nothing", "list", "both", "other name",
         "literal name", "another part", "many"],
)  # fmt: skip
def test_what_a_message_refers_to_is_read_in_every_form(
    server: Scripted, items: bytes, answers_to: list[str]
) -> None:
    """Or else left out, and the rest of the answer counts; no text of it is asked for."""
    items = items.replace(b"%s", REFERENCES)
    for told in (b"UID 1 " + items, items + b" UID 1"):
        server.answers[b"UID FETCH"] = b"* 1 FETCH (" + told + b")\r\n"
        with opened(server) as one:
            (found,) = one.look([1])
        assert found == answers.Found(1, False, tuple(f"<{name}@a>" for name in answers_to))
    asked = {line.split(b" ", 1)[1] for line in server.heard if b"FETCH" in line}
    wanted = b"(UID BODYSTRUCTURE ENVELOPE BODY.PEEK[HEADER.FIELDS (REFERENCES)])\r\n"
    assert asked == {b"UID FETCH 1 " + wanted}


def test_names_of_parts_that_do_not_end_take_no_time() -> None:
    """As many as one answer can hold."""
    began = time.process_time()
    assert answers.fetched([b"1 FETCH (" + b"BODY[" * 200_000 + b" x)"])
    assert answers.fetched([b"1 FETCH (" + b"BODY[ " * 200_000 + b")"])
    assert time.process_time() - began < 5


def test_a_structure_may_be_as_deep_as_it_likes() -> None:
    """It is not walked by recursion."""
    deep = b"1 FETCH (UID 5 BODYSTRUCTURE " + b"(" * 200_000 + b")" * 200_000 + b")"
    assert answers.found(answers.fetched([deep])) == answers.Found(5, False, ())


def test_a_server_that_drips_is_left(server: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is for a whole step, however often something comes."""
    monkeypatch.setattr(session, "_STEP", 0.5)
    going = threading.Event()

    def drip(connected: socket.socket, tag: bytes) -> None:
        while not going.wait(0.05):
            connected.sendall(b"* OK still there\r\n")

    server.answers[b"UID SEARCH"] = drip
    one, began = opened(server), time.monotonic()
    one.until = Until.within(60)
    try:
        assert fault_of(one, lambda one: one.uids_from(1)) is Fault.SILENT
        assert time.monotonic() - began < 40
    finally:
        going.set()


def test_the_connect_policy_holds_for_it(server: Scripted) -> None:
    """As for every other connection."""
    policy = ConnectPolicy(deny=(ip_network("127.0.0.0/8"),))
    assert fault_of(opened(server, policy=policy)) is Fault.ADDRESS_FORBIDDEN
    assert server.heard == []


def test_nothing_secret_goes_without_encryption(server: Scripted) -> None:
    """Neither a password nor a token, unless the administrator has allowed it."""
    closed = {"allow_unencrypted_auth": False}
    assert fault_of(opened(server, changes=closed)) is Fault.AUTH_UNENCRYPTED
    relay = Relay(use_authentication=True, sign_in=SignIn.HOST, login="crm")
    by_token = opened(server, changes={**closed, "relay": relay}, tokens=Given(TOKEN))
    assert fault_of(by_token) is Fault.AUTH_UNENCRYPTED
    starttls = {"encryption": Encryption.STARTTLS}
    assert fault_of(opened(server, changes=starttls)) is Fault.STARTTLS_NOT_OFFERED
    assert not any(b"AUTHENTICATE" in line or b"LOGIN" in line for line in server.heard)


@pytest.mark.parametrize("what", ["certificate", "injection"])
def test_a_server_that_is_not_who_it_says_gets_nothing(server: Scripted, what: str) -> None:
    """Another authority's certificate, or answers that were said before the encryption."""
    server.answers[b"CAPABILITY"] = b"* CAPABILITY IMAP4rev1 STARTTLS AUTH=PLAIN\r\n"

    def begin(connected: socket.socket, tag: bytes) -> None:
        injected = b"* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n" if what == "injection" else b""
        connected.sendall(tag + b" OK\r\n" + injected)
        with other_pki().server().wrap_socket(connected, server_side=True):
            pass

    server.answers[b"STARTTLS"] = begin
    changes = {"encryption": Encryption.STARTTLS, "ca_certificate": pki().pem}
    wanted = Fault.TLS_INJECTION if what == "injection" else Fault.CERTIFICATE_UNKNOWN_CA
    assert fault_of(opened(server, changes=changes)) is wanted
    assert not any(b"AUTHENTICATE" in line for line in server.heard)


def test_what_it_says_of_a_login_repeats_no_secret(server: Scripted) -> None:
    """A refusal is told, and its words are legible on one line."""

    def refuse(connected: socket.socket, tag: bytes) -> None:
        connected.sendall(b"+ \r\n")
        connected.recv(4096)
        connected.sendall(tag + b" NO [AUTHENTICATIONFAILED] no\x1b[2J such user\r\n")

    server.answers[b"AUTHENTICATE"] = refuse
    with pytest.raises(TransportError) as caught, opened(server):
        pass
    assert caught.value.fault is Fault.AUTH_REJECTED
    assert "\x1b" not in str(caught.value)
    assert not caught.value.transient


def test_folders_are_words_and_no_commands() -> None:
    """Quotes and backslashes are escaped, other letters are in modified UTF-7."""
    assert answers.quoted('a" b\\') == b'"a\\" b\\\\"'
    assert answers.quoted("Zurück & 日本") == b'"Zur&APw-ck &- &ZeVnLA-"'
    assert answers.uid_set([1, 2, 3, 7, 9, 10]) == "1:3,7,9:10"
