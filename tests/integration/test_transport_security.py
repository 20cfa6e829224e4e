"""Encryption and login: nothing of worth goes where it must not."""

from __future__ import annotations

import base64
import datetime
import logging
import traceback

import pytest

from flask_interaction_mail.errors import TransportError
from flask_interaction_mail.outcome import Fault, Result, Stage
from flask_interaction_mail.transport.smtp import SmtpTransport
from flask_interaction_mail.transport.tls import context_for
from tests.canary import PASSWORD
from tests.proofs import proved
from tests.servers.catcher import catcher
from tests.servers.certificates import for_clients_only, other_pki, pki, self_signed, too_old
from tests.servers.clients import PATIENT, QUICK, envelope, login_settings, settings
from tests.servers.scripted import (
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
    carrier = SmtpTransport(configured, timeouts=timeouts)
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
        (b"504 unknown\r\n", Fault.AUTH_REJECTED, False),
        (b"334 \r\n", Fault.AUTH_REJECTED, False),
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


def test_login_is_tried_where_plain_is_announced_in_vain():
    """504: the mechanism is unknown after all."""
    user, word = (base64.b64encode(text.encode()) for text in ("ada", PASSWORD))
    answers = {
        "EHLO": OFFERED,
        "AUTH": [b"504 no PLAIN\r\n", b"334 VXNlcm5hbWU6\r\n"],
        user.decode().upper(): b"334 UGFzc3dvcmQ6\r\n",
        word.decode().upper(): b"235 welcome\r\n",
    }
    with scripted(answers) as server:
        chosen = login_settings(server.port, allow_unencrypted_auth=True)
        assert deliver(chosen).result is Result.ACCEPTED


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
