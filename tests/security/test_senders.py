"""Nobody can pass for somebody else in From (T13)."""

from __future__ import annotations

import unicodedata
from email.header import decode_header, make_header
from email.message import EmailMessage
from typing import Any

import pytest
from flask import request

from flask_interaction_mail import Party, send_notification
from tests.catcher import Mail
from tests.host import Host
from tests.proofs import proved
from tests.servers.scripted import Scripted
from tests.terminal import done

BOSS = "boss@bank.example"
NAMES = {
    "an address": BOSS,
    "a name with an address": f"The Boss <{BOSS}>",
    "an address in full width": "boss\uff20bank.example",
    "an encoded word": "=?utf-8?q?boss=40bank.example?=",
    "the other direction": "The Boss \u202eelpmaxe.knab\u2066\u200b",
    "a second header": f'The Boss"\r\nFrom: {BOSS}\r\nSender: x\x00\x1b[2J',
}
DEFAULT = "crm@firm.example"
# Case of the matrix: settings, address of the user, From, Sender, Reply-To.
MATRIX: dict[str, tuple[dict[str, Any], str | None, str, str | None, str | None]] = {
    "policy default From": (
        {"from_policy": "default_from"}, "ada", DEFAULT, None, "ada@firm.example"),
    "own domain": ({}, "ada", "ada@firm.example", DEFAULT, None),
    "foreign, via": ({}, "ada@else.example", DEFAULT, None, "ada@else.example"),
    "foreign, as": (
        {"foreign_sender": "as"}, "ada@else.example", "ada@else.example", DEFAULT, None),
    "without address": ({}, None, DEFAULT, None, None),
}  # fmt: skip


def delivered(host: Host, server: Scripted) -> tuple[str, EmailMessage]:
    """Envelope sender and message of the one that arrived."""
    done(host, "worker", "--once")
    (received,) = server.messages
    server.messages.clear()
    return received.sender, Mail(received.sender, [], received.content).message


def mailbox_of(message: EmailMessage, name: str) -> str | None:
    """The only address of a header; its name must be harmless, however often it is decoded."""
    if message[name] is None:
        return None
    (one,) = message[name].addresses
    shown = str(make_header(decode_header(one.display_name)))
    for text in (one.display_name, shown):
        assert not {"@", "\uff20"} & set(text)
        assert not [c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp")]
        assert "=?" not in text
    return str(one.addr_spec)


@pytest.mark.parametrize("case", MATRIX)
def test_t13_the_header_matrix_holds_whatever_somebody_calls_himself(
    host: Host, server: Scripted, case: str
) -> None:
    """Every case of the matrix with every attack in the name of the user."""
    settings, address, from_, sender, reply_to = MATRIX[case]
    host.configure(smtp_port=server.port, **settings)
    for name in NAMES.values():
        host.people.user = Party(name, address, id=7)
        with host.app.app_context():
            send_notification("bob", "Hello", text="Hello")
            host.db.session.commit()
        envelope_sender, message = delivered(host, server)
        assert envelope_sender == DEFAULT
        assert [mailbox_of(message, one) for one in ("From", "Sender", "Reply-To")] == [
            from_,
            sender,
            reply_to,
        ]
        assert len(set(message.keys())) == len(message.keys())
        proved("T13", "5 cases of the matrix × 6 names: nobody else is named in {} of 30")


def test_t13_nothing_of_a_request_gets_into_from(host: Host, server: Scripted) -> None:
    """From is the directory's user, whatever a browser sends along."""

    @host.app.post("/merge")
    def merge() -> str:
        send_notification("bob", "Hello", text="Hello")
        return request.method

    forged = dict.fromkeys(("from", "sender", "From", "reply_to", "user", "email"), BOSS)
    host.app.test_client().post(
        "/merge", data=forged, query_string=forged, headers={"From": BOSS, "X-Sender": BOSS}
    )
    _, message = delivered(host, server)
    assert mailbox_of(message, "From") == "ada@firm.example"
    assert BOSS not in message.as_string()


def test_t13_flask_mail_senders_are_named_only_in_own_domains(host: Host, server: Scripted) -> None:
    """A foreign sender of a Flask-Mail message becomes Reply-To."""
    from flask_mail import Mail as FlaskMail
    from flask_mail import Message

    for sender, from_, reply_to in (
        ("desk@firm.example", "desk@firm.example", None),
        (BOSS, DEFAULT, BOSS),
        (("The Boss", BOSS), DEFAULT, BOSS),
    ):
        with host.app.app_context():
            FlaskMail().send(Message("Hello", ["bob@firm.example"], "Hello", sender=sender))
            host.db.session.commit()
        envelope_sender, message = delivered(host, server)
        assert envelope_sender == DEFAULT
        assert mailbox_of(message, "From") == from_
        assert mailbox_of(message, "Reply-To") == reply_to
