"""The whole way to a real Postfix, and into its mailboxes."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from flask_interaction_mail.diagnosis.results import Outcome
from flask_interaction_mail.outcome import Fault, Result
from flask_interaction_mail.returned.reading import read
from flask_interaction_mail.settings.model import relay_of
from flask_interaction_mail.transport.base import Envelope
from flask_interaction_mail.transport.smtp.transport import SmtpTransport
from flask_interaction_mail.values import Status
from tests.servers.clients import PATIENT, diagnosis_of, login_settings, settings
from tests.servers.postfix import GONE

CHOICES = pytest.mark.parametrize("encryption", ["starttls", "tls"])


def chosen(postfix, encryption="starttls", **changes):
    values = {
        "encryption": encryption,
        "ca_certificate": postfix.ca,
        "company_domain": postfix.domain,
        "login": postfix.login,
        "password": postfix.password,
    }
    port = postfix.tls_port if encryption == "tls" else postfix.port
    return login_settings(port, **{**values, **changes})


@CHOICES
def test_r48_r49_r50_a_test_arrives_in_both_mailboxes(postfix, encryption):
    """Default To and default From, with login and encryption."""
    diagnosis = diagnosis_of(chosen(postfix, encryption))
    assert diagnosis.outcome is Outcome.PASSED
    for name in ("admin", "crm"):
        (message,) = postfix.mailbox(name)
        assert message["To"] == "admin@interaction.test"
        assert message["Cc"] == "crm@interaction.test"
        assert message["From"] == "crm@interaction.test"
        text = message.get_body(("plain",)).get_content()
        assert "You do not have to do anything" in text


@CHOICES
def test_many_messages_over_one_connection(postfix, encryption):
    """Pipelined, with dots, and one connection in the log."""
    before = postfix.log().count("sasl_method=PLAIN")
    carrier = SmtpTransport(relay_of(chosen(postfix, encryption)), timeouts=PATIENT)
    for number in range(20):
        message = Envelope(
            sender="crm@interaction.test",
            recipients=("ada@interaction.test",),
            content=f"Subject: {number}\r\n\r\n.{number}\r\n.\r\n".encode(),
        )
        assert carrier.deliver(message).result is Result.ACCEPTED
    carrier.close()
    messages = postfix.mailbox("ada", least=20)
    assert {message["Subject"] for message in messages} == {str(n) for n in range(20)}
    assert all(f".{message['Subject']}\n.\n" in message.get_content() for message in messages)
    assert postfix.log().count("sasl_method=PLAIN") == before + 20


def test_more_recipients_than_it_takes_at_once_are_several_transactions(postfix):
    """Its "too many" is understood, and the connection is good for the next one."""
    boxes = [f"{name}@interaction.test" for name in ("admin", "crm", "ada")]
    others = [f"p{number}@elsewhere.test" for number in range(5)]
    settings = replace(chosen(postfix), smtp_port=postfix.strict["room"])
    carrier = SmtpTransport(relay_of(settings), timeouts=PATIENT)
    left, content = (*others, *boxes), b"Subject: x\r\n\r\nx\r\n"
    sizes = []
    while left:
        message = Envelope(sender="crm@interaction.test", recipients=left, content=content)
        delivery = carrier.deliver(message)
        assert delivery.result is Result.ACCEPTED
        assert delivery.room == (3 if delivery.left else None)
        sizes.append(len(left) - len(delivery.left))
        left = delivery.left
    carrier.close()
    assert sizes == [3, 3, 2]
    assert [len(postfix.mailbox(name)) for name in ("admin", "crm", "ada")] == [1, 1, 1]


@pytest.mark.parametrize(
    ("recipient", "state"),
    [
        (f"a+b=c@{GONE}", Status.BOUNCED),
        (f"grün@{GONE}", Status.BOUNCED),
        ("ada@interaction.test", Status.DELIVERED),
    ],
)
def test_what_is_asked_for_comes_back_with_our_names(postfix, recipient, state):
    """ENVID and ORCPT stand in the report as they were given, and no text returns (RFC 3461)."""
    asking = chosen(postfix, ask_for_success=state is Status.DELIVERED)
    carrier = SmtpTransport(relay_of(asking), timeouts=PATIENT)
    message = Envelope(
        sender="crm@interaction.test",
        recipients=(recipient,),
        content=b"Message-ID: <1@x.test>\r\nSubject: x\r\n\r\nThe canary sings.\r\n",
        envid="1+2=3@x.test",
    )
    assert carrier.deliver(message).result is Result.ACCEPTED
    carrier.close()
    (came_back,) = postfix.mailbox("crm")
    found = read(came_back.as_bytes())
    assert "1+2=3@x.test" in found.envelope_ids
    assert [note.state for note in found.notes] == [state]
    assert recipient in found.notes[0].original
    assert "canary" not in str(came_back)


def test_r24_relaying_needs_the_login(postfix):
    """Without it an address elsewhere is refused, and the advice is the check box."""
    elsewhere = {"default_to": "somebody@elsewhere.test"}
    refused = diagnosis_of(chosen(postfix, use_authentication=False, **elsewhere))
    assert refused.outcome is Outcome.PARTIAL
    assert refused.failure.code == Fault.RELAY_DENIED
    assert "SMTP authentication" in refused.failure.texts.advice
    assert diagnosis_of(chosen(postfix, **elsewhere)).outcome is Outcome.PASSED


def test_r55_a_wrong_password_is_told(postfix):
    """535, at the login."""
    diagnosis = diagnosis_of(chosen(postfix, password="wrong"))
    assert diagnosis.failure.code == Fault.AUTH_REJECTED
    assert "535" in str(diagnosis.failure.reply)


def test_a_wrong_password_is_shown_to_postfix_once(postfix):
    """It offers LOGIN too, and says 5.7.8: another mechanism would only count as another try."""
    before = len(re.findall("SASL [A-Z]+ authentication failed", postfix.log()))
    diagnosis_of(chosen(postfix, password="wrong"))
    failures = re.findall("SASL ([A-Z]+) authentication failed", postfix.log())[before:]
    assert failures == ["PLAIN"]


def test_r55_an_unknown_mailbox_is_told(postfix):
    """550 5.1.1 for the default To, while the copy is accepted."""
    diagnosis = diagnosis_of(chosen(postfix, default_to="nobody-here"))
    assert diagnosis.outcome is Outcome.PARTIAL
    assert diagnosis.failure.code == Fault.RECIPIENT_UNKNOWN


def test_r19_no_login_is_offered_before_the_encryption(postfix):
    """Postfix hides AUTH there; nothing is sent without it."""
    plain = chosen(postfix, "none", allow_unencrypted_auth=True)
    diagnosis = diagnosis_of(plain)
    assert diagnosis.failure.code == Fault.AUTH_NOT_OFFERED


def test_t10_an_untrusted_certificate_is_told(postfix):
    """Without the private CA."""
    diagnosis = diagnosis_of(chosen(postfix, ca_certificate=None))
    assert diagnosis.failure.code == Fault.CERTIFICATE_UNKNOWN_CA
    assert "localhost" in diagnosis.failure.facts["certificate"]


def test_r55_starttls_at_the_port_for_tls_is_told(postfix):
    """Postfix stays silent there until the encryption begins.

    It may have to start a process for the second look: a few tenths of a second for that, as a
    short deadline leaves, are not enough on a busy machine.
    """
    wrong = settings(postfix.tls_port, encryption="starttls", ca_certificate=postfix.ca)
    diagnosis = diagnosis_of(wrong, deadline=6.0)
    assert diagnosis.failure.code == Fault.TLS_EXPECTED


def test_a_postfix_without_smtputf8_gets_the_message_for_the_others(postfix):
    """It takes MAIL without the parameter, and is not asked for an address that it cannot take."""
    settings = replace(chosen(postfix), smtp_port=postfix.strict["utf8"])
    carrier = SmtpTransport(relay_of(settings), timeouts=PATIENT)
    message = Envelope(
        sender="crm@interaction.test",
        recipients=("grüße@interaction.test", "ada@interaction.test"),
        content=b"Subject: x\r\n\r\nHello\r\n",
    )
    delivery = carrier.deliver(message)
    carrier.close()
    assert {who: said.code for who, said in delivery.verdicts.items()} == {
        "grüße@interaction.test": 553,
        "ada@interaction.test": 250,
    }
    assert len(postfix.mailbox("ada")) == 1


def test_international_addresses_are_carried(postfix):
    """Postfix offers SMTPUTF8; the mailbox does not exist, which it says."""
    carrier = SmtpTransport(relay_of(chosen(postfix)), timeouts=PATIENT)
    message = Envelope(
        sender="crm@interaction.test",
        recipients=("grüße@interaction.test", "ada@interaction.test"),
        content=b"Subject: x\r\n\r\nHello\r\n",
    )
    delivery = carrier.deliver(message)
    carrier.close()
    assert delivery.result is Result.ACCEPTED
    assert delivery.verdicts["grüße@interaction.test"].code == 550
