"""Encryption and login: nothing of worth goes where it must not."""

from __future__ import annotations

import base64
import datetime
import logging
import ssl
import traceback
from contextlib import nullcontext

import pytest

from flask_interaction_mail.errors import SettingsError, TransportError
from flask_interaction_mail.outcome import Fault, Result, Stage
from flask_interaction_mail.settings.fields import clean
from flask_interaction_mail.settings.model import relay_of
from flask_interaction_mail.transport.smtp.tls import CertificateUnreadable, context_for
from flask_interaction_mail.transport.smtp.transport import SmtpTransport
from tests.canary import PASSWORD
from tests.length import LONG
from tests.proofs import proved
from tests.servers.catcher import catcher
from tests.servers.certificates import chain, for_clients_only, other_pki, pki, self_signed, too_old
from tests.servers.clients import PATIENT, QUICK, diagnosis_of, envelope, login_settings, settings
from tests.servers.scripted import (
    by_login,
    close,
    encrypt,
    scripted,
    silence,
    start_tls,
    then,
)

OFFERED = b"250-scripted.test\r\n250-STARTTLS\r\n250 AUTH PLAIN LOGIN\r\n"
LONG_AGO = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
FAR_AHEAD = datetime.datetime(2999, 1, 1, tzinfo=datetime.UTC)


def deliver(configured, timeouts=PATIENT):
    carrier = SmtpTransport(relay_of(configured), timeouts=timeouts)
    try:
        return carrier.deliver(envelope())
    finally:
        carrier.close()


def fails(configured, timeouts=PATIENT) -> TransportError:
    with pytest.raises(TransportError) as caught:
        deliver(configured, timeouts)
    return caught.value


BAD = {
    "unknown-ca": (lambda: other_pki().server(), Fault.CERTIFICATE_UNKNOWN_CA),
    "other-host": (lambda: pki().server("mail.other.test"), Fault.CERTIFICATE_OTHER_HOST),
    "other-address": (lambda: pki().server("127.0.0.2"), Fault.CERTIFICATE_OTHER_HOST),
    "expired": (
        lambda: pki().server(not_after=LONG_AGO, not_before=LONG_AGO.replace(year=2019)),
        Fault.CERTIFICATE_EXPIRED,
    ),
    "not-yet": (lambda: pki().server(not_before=FAR_AHEAD), Fault.CERTIFICATE_NOT_YET),
    "self-signed": (self_signed, Fault.CERTIFICATE_UNKNOWN_CA),
    "for-clients-only": (lambda: for_clients_only(pki()), Fault.CERTIFICATE_OTHER),
    "too-old": (lambda: too_old(pki().server()), Fault.TLS_TOO_OLD),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("encryption", ["starttls", "tls"])
def test_a_bad_certificate_ends_it_before_the_login(name, encryption):
    """T10: each of them ends it before AUTH and MAIL."""
    make, fault = BAD[name]
    answers = {"EHLO": OFFERED}
    if encryption == "tls":
        answers["GREETING"] = then(encrypt, b"220 hello\r\n")
    with scripted(answers, tls=make()) as server:
        chosen = login_settings(server.port, encryption=encryption, ca_certificate=pki().pem)
        error = fails(chosen)
        assert (error.stage, error.fault) == (Stage.ENCRYPTION, fault)
        assert not {"AUTH", "MAIL"} & set(server.commands())
    proved("T10", "8 bad certificates × 2 modes: 0 AUTH in {} of 16")


@pytest.mark.parametrize(
    ("answers", "fault"),
    [
        ({"EHLO": b"250-x\r\n250 AUTH PLAIN\r\n"}, Fault.STARTTLS_NOT_OFFERED),
        ({"EHLO": OFFERED, "STARTTLS": b"454 no\r\n"}, Fault.STARTTLS_REFUSED),
        ({"EHLO": OFFERED, "STARTTLS": b"220 go\r\n250 injected\r\n"}, Fault.TLS_INJECTION),
        ({"EHLO": OFFERED, "STARTTLS": then(b"220 go\r\n", b"rubbish")}, None),
        ({"EHLO": OFFERED, "STARTTLS": then(b"220 go\r\n", close)}, Fault.TLS_FAILED),
        ({"EHLO": OFFERED, "STARTTLS": then(b"220 go\r\n", silence)}, Fault.SILENT),
        ({"EHLO": b"500 x\r\n"}, Fault.STARTTLS_NOT_OFFERED),
    ],
)
def test_starttls_is_required_once_chosen(answers, fault):
    """T10: stripped, refused, injected, broken: nothing after EHLO."""
    with scripted(answers, tls=pki().server()) as server:
        chosen = login_settings(server.port, encryption="starttls", ca_certificate=pki().pem)
        error = fails(chosen, QUICK)
        assert error.stage is Stage.ENCRYPTION
        assert error.fault is fault or fault is None
        # What is no command is the beginning of TLS, to a server that does not speak it.
        spoken = {line for line in server.commands() if line.isalpha()}
        assert spoken <= {"EHLO", "HELO", "STARTTLS"}
    proved("T10", "STARTTLS stripped, refused, injected or broken in {} ways: nothing after it")


def test_what_was_said_before_the_encryption_is_forgotten():
    """RFC 3207 section 4.2: EHLO again, and its answer counts."""
    answers = {"EHLO": [OFFERED, b"250 scripted.test\r\n"], "STARTTLS": start_tls}
    with scripted(answers, tls=pki().server()) as server:
        chosen = login_settings(server.port, encryption="starttls", ca_certificate=pki().pem)
        assert fails(chosen).fault is Fault.AUTH_NOT_OFFERED
        assert server.count("EHLO") == 2


def test_tls_to_a_plain_port_is_told_as_such():
    """The server speaks, though not TLS."""
    with scripted() as server:
        error = fails(settings(server.port, encryption="tls"))
        assert error.fault is Fault.TLS_NOT_SPOKEN


def test_a_ca_certificate_that_is_none_is_an_error_of_the_settings():
    """Nothing is sent, and trying again does not help."""
    with scripted({"GREETING": silence}) as server:
        error = fails(settings(server.port, encryption="tls", ca_certificate="nonsense"))
        assert error.fault is Fault.CA_UNREADABLE
        assert not error.transient


PASTED = {
    "comment": "# Zertifizierungsstelle Müller\n{}",
    "byte order mark": "\ufeff{}",
    "between": "{}\nHersteller: Grün & Söhne\n{}",
    "line ends": "\r\n{}\r\n",
}


@pytest.mark.parametrize("how", PASTED)
def test_what_is_judged_at_save_is_what_is_used_later(how):
    """One character beyond ASCII beside the certificate changes nothing, saved now or formerly."""
    pasted = PASTED[how].replace("{}", pki().pem)
    saved = clean("ca_certificate", pasted)
    assert saved.isascii()
    for used in (saved, pasted):
        with catcher(login=("ada", PASSWORD), tls=pki().server()) as caught:
            chosen = login_settings(caught.port, encryption="starttls", ca_certificate=used)
            assert deliver(chosen).result is Result.ACCEPTED


def test_a_certificate_in_one_line_is_used_as_one_in_many():
    """As environment variables and spreadsheets have it."""
    saved = clean("ca_certificate", " ".join(pki().pem.split("\n")))
    assert saved == pki().pem.strip()


def test_what_cannot_be_used_is_not_saved():
    """Whatever is damaged in a certificate: what judges it is what uses it."""
    sound = ssl.PEM_cert_to_DER_cert(pki().pem)
    outcomes = set()
    for at in range(0, len(sound), 3 if LONG else 12):
        damaged = bytearray(sound)
        damaged[at] ^= 0x55
        pem = ssl.DER_cert_to_PEM_cert(bytes(damaged))
        try:
            saved = clean("ca_certificate", pem) is not None
        except SettingsError:
            saved = False
        with nullcontext() if saved else pytest.raises(CertificateUnreadable):
            context_for.__wrapped__(pem)
        outcomes.add(saved)
    assert outcomes == {True, False}


@pytest.mark.parametrize("trusted", ["root", "intermediate"])
@pytest.mark.parametrize("lax", [False, True])
def test_a_private_ca_is_trusted_as_it_stands_on_every_python(trusted, lax):
    """An intermediate alone, and CAs that leave out what Python 3.13 would ask of them."""
    made = chain(lax=lax)
    with catcher(login=("ada", PASSWORD), tls=made.server) as caught:
        chosen = login_settings(
            caught.port, encryption="starttls", ca_certificate=getattr(made, trusted)
        )
        assert deliver(chosen).result is Result.ACCEPTED


@pytest.mark.parametrize("trusted", ["root", "intermediate"])
@pytest.mark.parametrize("ended", ["root", "intermediate", "server"])
def test_t10_an_end_in_the_chain_is_no_login(trusted, ended):
    """Dates count up to the certificate that is trusted, that one included."""
    made = chain(ended=ended)
    with scripted({"EHLO": OFFERED}, tls=made.server) as server:
        chosen = login_settings(
            server.port, encryption="starttls", ca_certificate=getattr(made, trusted)
        )
        if (trusted, ended) == ("intermediate", "root"):
            assert deliver(chosen).result is Result.ACCEPTED
        else:
            assert fails(chosen).fault is Fault.CERTIFICATE_EXPIRED
            assert not {"AUTH", "MAIL"} & set(server.commands())


def test_a_context_is_built_once():
    """It takes tens of milliseconds."""
    assert context_for(pki().pem) is context_for(pki().pem)
    assert context_for(pki().pem) is not context_for(None)


@pytest.mark.parametrize("mechanisms", [("PLAIN",), ("LOGIN",), ("PLAIN", "LOGIN")])
@pytest.mark.parametrize("implicit", [False, True])
def test_r19_logs_in_before_the_message(mechanisms, implicit):
    """With either mechanism, over either kind of encryption, at a server by others."""
    with catcher(
        login=("ada", PASSWORD), tls=pki().server(), implicit=implicit, mechanisms=mechanisms
    ) as caught:
        chosen = login_settings(
            caught.port,
            encryption="tls" if implicit else "starttls",
            ca_certificate=pki().pem,
            allow_unencrypted_auth=False,
        )
        assert deliver(chosen).result is Result.ACCEPTED
        assert caught.logins == [("ada", PASSWORD)]
        assert len(caught.envelopes) == 1


def test_international_logins_and_passwords_are_utf_8():
    """RFC 4616."""
    with catcher(login=("ädä", "pässwörd"), tls=pki().server()) as caught:
        chosen = login_settings(
            caught.port,
            login="ädä",
            password="pässwörd",
            encryption="starttls",
            ca_certificate=pki().pem,
        )
        assert deliver(chosen).result is Result.ACCEPTED


def test_r18_no_login_although_one_is_stored():
    """Off means no AUTH."""
    with scripted({"EHLO": OFFERED}) as server:
        chosen = login_settings(server.port, use_authentication=False, allow_unencrypted_auth=True)
        assert deliver(chosen).result is Result.ACCEPTED
        assert server.count("AUTH") == 0


def test_r18_login_and_password_are_not_required_without_authentication():
    """Neither is missed."""
    with scripted() as server:
        chosen = settings(server.port, login=None, password=None)
        assert deliver(chosen).result is Result.ACCEPTED


@pytest.mark.parametrize(
    ("changes", "ehlo", "fault"),
    [
        ({"password": None}, OFFERED, Fault.PASSWORD_MISSING),
        ({"password": ""}, OFFERED, Fault.PASSWORD_MISSING),
        ({"login": None}, OFFERED, Fault.LOGIN_MISSING),
        ({"password": "a\0b"}, OFFERED, Fault.AUTH_REJECTED),
        ({}, b"250 scripted.test\r\n", Fault.AUTH_NOT_OFFERED),
        ({}, b"250-x\r\n250 AUTH GSSAPI NTLM\r\n", Fault.AUTH_MECHANISM),
        ({"allow_unencrypted_auth": False}, OFFERED, Fault.AUTH_UNENCRYPTED),
    ],
)
def test_r19_never_sends_without_the_login_that_was_asked_for(changes, ehlo, fault):
    """No password, no offer, no encryption: an error, no AUTH, no message."""
    with scripted({"EHLO": ehlo}) as server:
        chosen = login_settings(server.port, **{"allow_unencrypted_auth": True, **changes})
        error = fails(chosen)
        assert (error.stage, error.fault) == (Stage.AUTHENTICATION, fault)
        assert not error.transient
        assert not {"AUTH", "MAIL"} & set(server.commands())


@pytest.mark.parametrize(
    ("answer", "fault", "transient"),
    [
        (b"535 5.7.8 wrong\r\n", Fault.AUTH_REJECTED, False),
        (b"454 4.7.0 later\r\n", Fault.AUTH_TRANSIENT, True),
        (b"421 bye\r\n", Fault.AUTH_TRANSIENT, True),
        (b"538 5.7.11 encryption required\r\n", Fault.ENCRYPTION_REQUIRED, False),
        (b"504 unknown\r\n", Fault.AUTH_MECHANISM, False),
        (b"334 \r\n", Fault.AUTH_MECHANISM, False),
        (close, Fault.LOST, True),
        (silence, Fault.SILENT, True),
        (b"rubbish\r\n", Fault.NOT_SMTP, True),
    ],
)
def test_a_refused_login_ends_it(answer, fault, transient):
    """535 is for good, 454 for now, and no message goes out in either case."""
    with scripted({"EHLO": OFFERED, "AUTH": answer}) as server:
        error = fails(login_settings(server.port, allow_unencrypted_auth=True), QUICK)
        assert (error.stage, error.fault) == (Stage.AUTHENTICATION, fault)
        assert error.transient is transient
        assert server.count("MAIL") == 0


def test_a_server_that_ignores_the_initial_response_is_told_again():
    """It asks with 334, which RFC 4954 allows."""
    token = base64.b64encode(f"\0ada\0{PASSWORD}".encode())
    answers = {
        "EHLO": b"250-x\r\n250 AUTH PLAIN\r\n",
        "AUTH": b"334 \r\n",
        token.decode().upper(): b"235 welcome\r\n",
    }
    with scripted(answers) as server:
        chosen = login_settings(server.port, allow_unencrypted_auth=True)
        assert deliver(chosen).result is Result.ACCEPTED


def mechanisms(server):
    return [line.split()[1].decode() for line in server.lines if line.startswith(b"AUTH ")]


NO_MECHANISM = [b"500 x", b"501 x", b"502 x", b"503 x", b"504 5.5.4 x", b"534 x", b"534 5.7.1 x"]
MAYBE = [b"535 wrong", b"535 5.7.3 Authentication unsuccessful", b"535 5.7.0 no"]
NEVER = [
    b"535 5.7.8 wrong",
    b"535 5.7.139 SmtpClientAuthentication is disabled for the Tenant",
    b"534 5.7.9 Application-specific password required",
    b"504 5.7.9 x",
    b"525 5.7.13 User Account Disabled",
    b"525 x",
    b"538 5.7.11 Encryption required",
    b"454 4.7.0 later",
]


@pytest.mark.parametrize("refusal", NO_MECHANISM)
def test_login_is_tried_where_plain_is_announced_in_vain(refusal):
    """The mechanism is refused, not who logs in: when sending and in a test."""
    with scripted(by_login("ada", PASSWORD, refusal + b"\r\n")) as server:
        chosen = login_settings(server.port, allow_unencrypted_auth=True)
        assert deliver(chosen).result is Result.ACCEPTED
        assert diagnosis_of(chosen).passed
        assert mechanisms(server) == ["PLAIN", "LOGIN"] * 2


@pytest.mark.parametrize("refusal", MAYBE)
def test_a_test_alone_tries_login_after_535(refusal):
    """A server may mean the mechanism; when sending nobody is locked out for finding out."""
    with scripted(by_login("ada", PASSWORD, refusal + b"\r\n")) as server:
        chosen = login_settings(server.port, allow_unencrypted_auth=True)
        assert fails(chosen).fault is Fault.AUTH_REJECTED
        assert mechanisms(server) == ["PLAIN"]
        told = diagnosis_of(chosen)
        assert told.passed
        assert told.mechanism == "LOGIN"
        assert told.steps[4].facts["refused before"] == refusal.decode()
        assert mechanisms(server) == ["PLAIN"] * 2 + ["LOGIN"]


@pytest.mark.parametrize("second", [b"535 wrong\r\n", b"500 x\r\n", b"454 x\r\n", close, b"?\r\n"])
def test_what_plain_was_told_counts_where_login_is_no_better(second):
    """It is what delivery would be told; and LOGIN is tried once."""

    def act(peer):
        peer.act(b"535 5.7.0 first\r\n" if b"PLAIN" in peer.server.lines[-1] else second)

    with scripted({"EHLO": OFFERED, "AUTH": act}) as server:
        told = diagnosis_of(login_settings(server.port, allow_unencrypted_auth=True))
        assert mechanisms(server) == ["PLAIN", "LOGIN"]
    assert str(told.failure.reply) == "535 5.7.0 first"
    assert told.failure.code == Fault.AUTH_REJECTED
    assert told.mechanism is None


@pytest.mark.parametrize("refusal", NEVER)
def test_the_account_is_not_tried_twice(refusal):
    """These mean who logs in, or the way there: no other mechanism helps."""
    with scripted(by_login("ada", PASSWORD, refusal + b"\r\n")) as server:
        chosen = login_settings(server.port, allow_unencrypted_auth=True)
        fails(chosen)
        assert not diagnosis_of(chosen).passed
        assert mechanisms(server) == ["PLAIN"] * 2


def test_the_mechanism_that_passed_its_test_comes_first():
    """The others follow, where it is not offered any more or no mechanism after all."""
    with scripted(by_login("ada", PASSWORD, b"535 no\r\n")) as server:
        chosen = login_settings(server.port, allow_unencrypted_auth=True)
        carrier = SmtpTransport(relay_of(chosen), timeouts=PATIENT, mechanism="LOGIN")
        assert carrier.deliver(envelope()).result is Result.ACCEPTED
        carrier.close()
        assert mechanisms(server) == ["LOGIN"]
    with scripted({"EHLO": b"250-x\r\n250 AUTH PLAIN\r\n"}) as server:
        chosen = login_settings(server.port, allow_unencrypted_auth=True)
        carrier = SmtpTransport(relay_of(chosen), timeouts=PATIENT, mechanism="LOGIN")
        assert carrier.deliver(envelope()).result is Result.ACCEPTED
        carrier.close()


@pytest.mark.parametrize(
    ("refusal", "fault", "title"),
    [
        ("535 5.7.8 wrong", Fault.AUTH_REJECTED, "Login or password is wrong"),
        (
            "535 5.7.139 Authentication unsuccessful, the user credentials were incorrect.",
            Fault.AUTH_REJECTED,
            "Login or password is wrong",
        ),
        (
            "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for "
            "the Mailbox.",
            Fault.AUTH_SWITCHED_OFF,
            "does not allow this kind of login",
        ),
        ("525 5.7.13 User Account Disabled", Fault.AUTH_ACCOUNT_DISABLED, "account is disabled"),
        ("534-5.7.9 Application-specific\r\n534 5.7.9 x", Fault.AUTH_TOO_WEAK, "another password"),
        ("534-5.7.14 Please log in\r\n534 5.7.14 x", Fault.AUTH_TOO_WEAK, "another way to log in"),
        ("534 5.7.0 x", Fault.AUTH_MECHANISM, "No common way"),
        ("504 5.5.4 x", Fault.AUTH_MECHANISM, "No common way"),
        ("502 5.5.1 x", Fault.AUTH_MECHANISM, "No common way"),
    ],
)
def test_what_stands_in_the_way_of_a_login_is_told_apart(refusal, fault, title):
    """A wrong password is one of six things, and only one of them is cured by typing it again."""
    with scripted({"EHLO": OFFERED, "AUTH": f"{refusal}\r\n".encode()}) as server:
        told = diagnosis_of(login_settings(server.port, allow_unencrypted_auth=True))
    assert told.failure.code == fault
    assert title in told.texts.title


@pytest.mark.parametrize(
    "answer", [b"535 no\r\n", close, silence, b"334 \r\n", b"rubbish\r\n", b"504 no\r\n"]
)
@pytest.mark.parametrize("mechanism", [b"PLAIN", b"LOGIN"])
def test_the_password_is_in_no_error_and_no_traceback(answer, mechanism, caplog):
    """T11: raw or in base64, locals included."""
    caplog.set_level(logging.DEBUG)
    with scripted({"EHLO": b"250-x\r\n250 AUTH " + mechanism + b"\r\n", "AUTH": answer}) as server:
        error = fails(login_settings(server.port, allow_unencrypted_auth=True), QUICK)
    shown = "".join(
        traceback.TracebackException.from_exception(error, capture_locals=True).format()
    )
    # Of the base64 of "\0ada\0" and the password: every alignment of its inner part.
    canaries = [PASSWORD]
    for lead in range(3):
        encoded = base64.b64encode(b"x" * lead + PASSWORD.encode()).decode()
        canaries.append(encoded[4:-4])
    for canary in canaries:
        assert canary not in shown
        assert canary not in caplog.text
