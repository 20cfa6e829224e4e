"""Whose fault a refusal is: ours, and then everything waits, or the message's own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from flask_interaction_mail import clock
from flask_interaction_mail.delivery.dispatcher import Dispatcher
from flask_interaction_mail.messages.message import NewMessage
from flask_interaction_mail.outbox import breaker
from flask_interaction_mail.outcome import Fault
from flask_interaction_mail.settings.model import MessagingSettings, relay_of
from flask_interaction_mail.storage.tables import CHECK, MESSAGE
from flask_interaction_mail.transport.smtp.transport import SmtpTransport
from tests.outbox_rows import Store, a_message
from tests.servers.clients import PATIENT, diagnosis_of, login_settings, settings
from tests.servers.postfix import Postfix
from tests.servers.scripted import PIPELINING, Action, scripted

SENDER = "crm@firm.example"
INSIDE, OUTSIDE = "ada@firm.example", "eve@elsewhere.example"


class Desk:
    """A queue of messages from ``SENDER``, and delivery over one connection."""

    def __init__(self, store: Store, chosen: MessagingSettings) -> None:
        self.store = store
        self.settings = replace(chosen, default_from=SENDER)
        self.messages: list[NewMessage] = []

    def put(self, *addresses: str) -> None:
        for address in addresses:
            self.messages.append(a_message(*address.split()))
            self.store.put(self.messages[-1])

    def drain(self) -> Any:
        ports = self.store.ports(
            settings=lambda: self.settings,
            transport=lambda one: SmtpTransport(one, timeouts=PATIENT),
            connections=1,
        )
        return Dispatcher(ports).drain()

    def states(self) -> list[tuple[str, int]]:
        """Status and counted attempts of each message."""
        rows = [self.store.message(one.id) for one in self.messages]
        return [(str(row.status), int(str(row.attempts))) for row in rows]

    def why(self) -> str | None:
        with self.store.reading() as connection:
            broken = breaker.read(connection, relay_of(self.settings))
        return broken.why if broken else None


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(f"sqlite:///{tmp_path}/outbox.sqlite")
    yield store
    store.engine.dispose()


OURS = [
    # Postfix, at RCPT by its default
    ("RCPT", "554 5.7.1 <app.firm.example[192.0.2.1]>: Client host rejected: Access denied"),
    ("RCPT", "450 4.7.25 Client host rejected: cannot find your hostname, [192.0.2.1]"),
    ("RCPT", "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using bl.example"),
    ("RCPT", "504 5.5.2 <corp>: Helo command rejected: need fully-qualified hostname"),
    ("RCPT", "450 4.7.1 <app.firm.example>: Helo command rejected: Host not found"),
    ("RCPT", f"553 5.7.1 <{SENDER}>: Sender address rejected: not owned by user ada"),
    ("RCPT", f"553 5.7.1 <{SENDER}>: Sender address rejected: not logged in"),
    ("RCPT", f"450 4.1.8 <{SENDER}>: Sender address rejected: Domain not found"),
    ("RCPT", f"550 5.1.0 <{SENDER}>: Sender address rejected: User unknown in local table"),
    ("MAIL", "530 5.7.0 Must issue a STARTTLS command first"),
    ("MAIL", "450 4.7.1 Error: too much mail from 192.0.2.1"),
    # Sendmail
    ("MAIL", f"553 5.1.8 <{SENDER}>... Domain of sender address {SENDER} does not exist"),
    ("MAIL", "530 5.7.0 Authentication required"),
    ("RCPT", "450 4.7.1 Access denied. IP name lookup failed [192.0.2.1]"),
    # Exim
    ("RCPT", "550 Sender verify failed"),
    ("RCPT", "550 5.7.1 Connections not accepted from servers without a valid sender domain."),
    # Exchange
    ("MAIL", "550 5.7.60 SMTP; Client does not have permissions to send as this sender"),
    ("MAIL", "530 5.7.57 SMTP; Client was not authenticated to send anonymous mail"),
    ("RCPT", "550 5.7.606 Access denied, banned sending IP [192.0.2.1]."),
    # Google
    ("MAIL", "530-5.7.0 Authentication Required. For more information, go to\r\n530 5.7.0 x"),
    ("MAIL", "550-5.7.1 Invalid credentials for relay [192.0.2.1]. The IP address\r\n550 5.7.1 x"),
    ("RCPT", "550 5.7.25 [192.0.2.1] The IP address sending this message does not have a PTR"),
    # QQ
    ("MAIL", "503 5.5.4 Error: send AUTH command first"),
    # Zoho, SendGrid, SES
    ("MAIL", f"553 Relaying disallowed as {SENDER}"),
    ("MAIL", "553 Sender is not allowed to relay emails"),
    ("MAIL", "550 Unauthenticated senders not allowed"),
    ("MAIL", "501 Invalid MAIL FROM address provided"),
    # whoever quotes nothing but the address
    ("MAIL", f"550 <{SENDER}> is not welcome"),
    ("RCPT", f"550 5.7.1 {SENDER.upper()} may not send"),
]


@pytest.mark.parametrize(("at", "said"), OURS, ids=[said[:60] for _, said in OURS])
def test_what_the_next_message_would_meet_too_burns_nothing(store, at, said):
    """Sender, HELO, client and login: all of the queue waits, and the breaker says why."""
    answers: dict[str, Action | list[Action]] = {at: f"{said}\r\n".encode()}
    answers["DATA"] = b"554 5.5.1 no valid recipients\r\n"
    answers["EHLO"] = PIPELINING if len(said) % 2 else b"250 scripted.test\r\n"  # of each some
    with scripted(answers) as server:
        desk = Desk(store, settings(server.port))
        desk.put(INSIDE, f"{OUTSIDE} bob@firm.example", INSIDE)
        desk.drain()
        assert desk.states() == [("queued", 0)] * 3
        assert said[4:30] in str(desk.why())
        assert server.count("MAIL") == 1


ITS_OWN = [
    # relay access denied: R24 explains it, and it concerns the recipient's domain
    ("RCPT", f"454 4.7.1 <{OUTSIDE}>: Relay access denied", "deferred"),
    ("RCPT", f"554 5.7.1 <{OUTSIDE}>: Relay access denied", "failed"),
    (
        "RCPT",
        f"550 5.7.1 <{OUTSIDE}>... Relaying denied. Proper authentication required.",
        "failed",
    ),
    ("RCPT", "550 5.7.54 SMTP; Unable to relay recipient in non-accepted domain", "failed"),
    ("RCPT", "550 5.7.64 TenantAttribution; Relay Access Denied", "failed"),
    (
        "RCPT",
        "550-Please turn on SMTP Authentication in your mail client.\r\n"
        "550 app.firm.example is not permitted to relay through this server",
        "failed",
    ),
    # the recipient
    ("RCPT", f"550 5.1.1 <{OUTSIDE}>: Recipient address rejected: User unknown", "failed"),
    (
        "RCPT",
        f"450 4.1.1 <{OUTSIDE}>: Recipient address rejected: unverified address: host "
        "mx.elsewhere.example said: 450 Client host rejected: cannot find your hostname",
        "deferred",
    ),
    ("RCPT", "550 5.7.133 RESOLVER.RST.SenderNotAuthenticatedForGroup; log in", "failed"),
    ("RCPT", "450 4.7.1 <app[192.0.2.1]>: Client host rejected: Greylisted", "deferred"),
    ("RCPT", "452 4.2.2 The email account that you tried to reach is over quota", "deferred"),
    # what somebody's address says is not what the server says
    ("RCPT", "550 No such user: sender.address@helo.example", "failed"),
    # at MAIL, and naming nothing
    ("MAIL", "550 5.7.1 no", "failed"),
    ("MAIL", "451 4.3.0 Temporary system problem. Try again later", "deferred"),
    ("MAIL", "552 5.3.4 Message size exceeds fixed limit", "failed"),
    # after the dot, whatever it says of From
    ("DATA", f"550 5.7.1 <{SENDER}>: Sender address rejected: not owned by user ada", "failed"),
    ("DOT", "550 The from address does not match a verified Sender Identity.", "failed"),
    ("DOT", "554 Message rejected: Email address is not verified.", "failed"),
    ("DOT", "554 5.2.252 SendAsDenied; crm@firm.example not allowed to send as eve", "failed"),
    ("DOT", "530 5.7.0 Authentication required", "failed"),
    ("DOT", "554 5.7.1 Your IP 192.0.2.1 is on a blocklist", "failed"),
]


@pytest.mark.parametrize(
    ("at", "said", "status"), ITS_OWN, ids=[said[:60] for _, said, _ in ITS_OWN]
)
def test_what_concerns_one_message_stops_no_other(store, at, said, status):
    """It fails or waits alone, after one counted attempt; the next one leaves."""
    refused = f"{said}\r\n".encode()
    outside = next((word for word in said.split() if word.endswith("@helo.example")), OUTSIDE)
    key = f"RCPT {outside}" if at == "RCPT" else at
    answers: dict[str, Action | list[Action]] = {key: refused if at == "RCPT" else [refused]}
    answers["EHLO"] = PIPELINING if len(said) % 2 else b"250 scripted.test\r\n"  # of each some
    with scripted(answers) as server:
        desk = Desk(store, settings(server.port))
        desk.put(outside, INSIDE)
        desk.drain()
        assert desk.states() == [(status, 1), ("sent", 1)]
        assert desk.why() is None


def test_a_login_that_may_not_send_burns_nothing(store):
    """The server names it at MAIL, and neither the sender nor anything else."""
    answers = {
        "EHLO": b"250-scripted.test\r\n250 AUTH PLAIN\r\n",
        "AUTH": b"235 welcome\r\n",
        "MAIL": b"550 5.7.1 user mailer7 is suspended\r\n",
    }
    with scripted(answers) as server:
        chosen = login_settings(server.port, login="mailer7", allow_unencrypted_auth=True)
        desk = Desk(store, chosen)
        desk.put(INSIDE, OUTSIDE)
        desk.drain()
        assert desk.states() == [("queued", 0)] * 2
        assert "mailer7" in str(desk.why())
        assert diagnosis_of(chosen).failure.code == Fault.AUTH_REQUIRED


REFUSED = f"553 5.7.1 <{SENDER}>: Sender address rejected: not owned by user ada\r\n".encode()


@pytest.mark.parametrize("pipelining", [False, True])
def test_a_refusal_beside_an_accepted_recipient_is_that_recipients(store, pipelining):
    """Whatever it names: in the same transaction, or earlier on the same connection."""
    answers: dict[str, Action | list[Action]] = {f"RCPT {OUTSIDE}": REFUSED}
    answers["EHLO"] = PIPELINING if pipelining else b"250 scripted.test\r\n"
    with scripted(answers) as server:
        desk = Desk(store, settings(server.port))
        desk.put(f"{INSIDE} {OUTSIDE}", OUTSIDE, INSIDE)
        desk.drain()
        assert desk.states() == [("failed", 1), ("failed", 1), ("sent", 1)]
        assert desk.why() is None
        assert server.connections == 1


def test_the_probe_is_another_message_each_time(store):
    """One that is refused for its recipient, though the reply blames us, keeps nobody waiting."""
    with scripted({f"RCPT {OUTSIDE}": REFUSED}) as server:
        desk = Desk(store, settings(server.port))
        desk.put(OUTSIDE, INSIDE)
        desk.drain()
        assert desk.states() == [("queued", 0), ("queued", 0)]
        with store.writing() as connection:
            past = clock.now() - timedelta(seconds=1)
            connection.execute(sa.update(CHECK).values(until=past))
        desk.drain()
        assert desk.states() == [("failed", 1), ("sent", 1)]


def test_a_message_of_a_former_default_from_is_refused_alone(store):
    """Its sender is refused for good; the settings have been put right, and the rest flows."""
    with scripted({f"MAIL {SENDER}": REFUSED}) as server:
        desk = Desk(store, settings(server.port))
        desk.put(INSIDE)
        desk.settings = replace(desk.settings, default_from="new@firm.example")
        desk.drain()
        assert desk.states() == [("failed", 1)]
        assert desk.why() is None


STRICT = [
    ("client", {}, "Client host rejected", Fault.CLIENT_REFUSED),
    ("helo", {"helo_name": "corp"}, "Helo command rejected", Fault.HELO_REFUSED),
    ("sender", {}, "Sender address rejected", Fault.SENDER_REFUSED),
    ("domain", {}, "Domain not found", Fault.SENDER_TRANSIENT),
    ("owner", {}, "not logged in", Fault.AUTH_REQUIRED),
    ("owner", {"use_authentication": True}, "not owned by user", Fault.SENDER_REFUSED),
]


def at_postfix(postfix: Postfix, name: str, **changes: Any) -> MessagingSettings:
    chosen = login_settings(
        postfix.strict[name],
        encryption="starttls",
        ca_certificate=postfix.ca,
        company_domain=postfix.domain,
        login=postfix.login,
        password=postfix.password,
    )
    return replace(chosen, **{"use_authentication": False, **changes})


@pytest.mark.parametrize(
    ("refuses", "changes", "said", "fault"), STRICT, ids=[one[2] for one in STRICT]
)
def test_a_real_postfix_that_refuses_us_at_rcpt(store, postfix, refuses, changes, said, fault):
    """Test Settings says what is refused, and the queue waits, unburnt."""
    chosen = at_postfix(postfix, refuses, **changes)
    if refuses == "domain":
        chosen = replace(chosen, default_from="crm@nowhere.invalid")
    told = diagnosis_of(chosen)
    assert told.failure.code == fault
    assert said in str(told.failure.reply)
    desk = Desk(store, replace(chosen, default_from=SENDER))
    desk.put(*["ada@interaction.test"] * 2)
    if refuses == "domain":
        desk.settings = chosen
        with store.writing() as connection:
            sender = {"envelope_sender": "crm@nowhere.invalid"}
            connection.execute(sa.update(MESSAGE).values(**sender))
    desk.drain()
    assert desk.states() == [("queued", 0)] * 2
    assert said in str(desk.why())


def test_r24_a_real_postfix_that_denies_to_relay_for_now(store, postfix):
    """Outside is denied and explained, inside flows."""
    chosen = at_postfix(postfix, "relay")
    told = diagnosis_of(replace(chosen, default_to="eve@elsewhere.test"))
    assert told.failure.code == Fault.RELAY_DENIED
    assert str(told.failure.reply).startswith("454 4.7.1")
    assert "SMTP authentication" in told.failure.texts.advice
    assert "elsewhere.test" in told.failure.texts.explanation
    desk = Desk(store, chosen)
    desk.put("eve@elsewhere.test", "ada@interaction.test")
    desk.drain()
    assert desk.states() == [("deferred", 1), ("sent", 1)]
    assert desk.why() is None
