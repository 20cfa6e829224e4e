"""Asking for an access token, at a token service that answers in every shape."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import json
import logging
import time
import traceback

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from flask_interaction_mail import clock
from flask_interaction_mail.errors import TransportError
from flask_interaction_mail.outcome import Fault, Stage
from flask_interaction_mail.settings import grant, oauth
from flask_interaction_mail.settings.grant import Grant
from flask_interaction_mail.settings.secret import Secret
from flask_interaction_mail.transport.oauth2 import assertions
from flask_interaction_mail.transport.oauth2.client import ask
from flask_interaction_mail.transport.policy import ConnectPolicy
from flask_interaction_mail.transport.smtp.timeouts import Until
from tests.canary import STEM, spellings
from tests.servers import token_server as service
from tests.servers.certificates import other_pki, pki
from tests.servers.keys import ACCOUNT, certificate_pem, key, key_pem, service_account_json
from tests.servers.programs import free_port
from tests.servers.token_server import CLIENT, SECRET, TOKEN, token_server

MAILBOX = "crm@x.test"


def client(url: str, **changes) -> Grant:
    values = {"client_id": CLIENT, "client_secret": Secret(SECRET), "scope": "mail.send"}
    return Grant(token_url=url, **{**values, **changes})


def asked(grant: Grant, policy: ConnectPolicy | None = None, seconds: float = 10):
    return ask(grant, policy=policy or ConnectPolicy(), until=Until.within(seconds))


def refused(grant: Grant, **options) -> TransportError:
    with pytest.raises(TransportError) as caught:
        asked(grant, **options)
    assert caught.value.stage is Stage.TOKEN
    return caught.value


def claims(jwt: str, public) -> tuple[dict, dict]:
    """Header and claims, once the signature is checked."""
    signed, _, signature = jwt.rpartition(".")
    header, body = (json.loads(decoded(part)) for part in signed.split("."))
    how = (
        padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
        if header["alg"] == "PS256"
        else padding.PKCS1v15()
    )
    public.verify(decoded(signature), signed.encode(), how, hashes.SHA256())
    return header, body


def decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def test_a_client_shows_its_secret_in_the_form():
    """RFC 6749 §4.4.2, with client_secret_post."""
    with token_server(service.issue(scope="mail.send other")) as server:
        token = asked(client(server.url))
        (request,) = server.asked
    assert request.fields == {
        "grant_type": "client_credentials",
        "client_id": CLIENT,
        "client_secret": SECRET,
        "scope": "mail.send",
    }
    assert token.secret.reveal() == f"{TOKEN}-1"
    assert token.scope == "mail.send other"
    left = (token.ends - clock.now()).total_seconds()
    assert 3500 < left <= 3600


def test_a_client_signs_with_the_key_of_its_certificate():
    """RFC 7523 §3; the thumbprint says which certificate it is."""
    certificate = oauth.client_certificate(Secret(certificate_pem() + key_pem()))
    with token_server() as server:
        asked(client(server.url, client_secret=None, certificate=certificate))
        fields = server.asked[0].fields
    header, said = claims(fields["client_assertion"], key("client").public_key())
    print_of = grant.certificate_in(certificate).fingerprint(hashes.SHA256())
    assert fields["client_assertion_type"].endswith(":client-assertion-type:jwt-bearer")
    assert fields["client_id"] == CLIENT
    assert (header["alg"], decoded(header["x5t#S256"])) == ("RS256", print_of)
    assert (said["iss"], said["sub"], said["aud"]) == (CLIENT, CLIENT, server.url)
    assert said["exp"] - time.time() <= 300
    assert said["jti"]


def test_microsoft_wants_another_signature():
    """PS256, as its documentation says."""
    certificate = oauth.client_certificate(Secret(certificate_pem() + key_pem()))
    made = client(grant.MICROSOFT.format(tenant="contoso.com"), certificate=certificate)
    header, _ = claims(assertions.for_client(made, certificate), key("client").public_key())
    assert header["alg"] == "PS256"


def test_a_service_account_acts_for_the_mailbox():
    """Google's use of RFC 7523 §2.1."""
    with token_server() as server:
        account = oauth.service_account(Secret(service_account_json(server.url)))
        made = Grant(
            token_url=server.url, account=account, mailbox=MAILBOX, scope=grant.GOOGLE_SCOPE
        )
        asked(made)
        fields = server.asked[0].fields
    header, said = claims(fields["assertion"], key("account").public_key())
    assert fields["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    assert header == {"alg": "RS256", "typ": "JWT", "kid": "abc123"}
    assert (said["iss"], said["sub"], said["scope"], said["aud"]) == (
        ACCOUNT,
        MAILBOX,
        "https://mail.google.com/",
        server.url,
    )


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        (3600, 3600),
        ("3599", 3599),
        (3600.5, 3600.5),
        (None, 300),
        ("soon", 300),
        ([], 300),
        ("nan", 300),
        (-5, 0),
        (10**400, 300),
        (10**15, 30 * 24 * 3600),
    ],
)
def test_how_long_a_token_lasts_is_said_in_many_ways(said, seconds):
    """Or not at all."""
    with token_server(service.issue(expires_in=said)) as server:
        token = asked(client(server.url))
    left = (token.ends - clock.now()).total_seconds()
    assert seconds - 20 < left <= seconds


def test_a_token_without_a_type_is_taken():
    """Some services leave it out."""
    with token_server(service.issue(token_type=None)) as server:
        assert asked(client(server.url)).secret


SETTINGS = {
    "wrong secret": (
        service.refuse("invalid_client", "AADSTS7000215: Invalid client secret", 401),
        Fault.TOKEN_CLIENT_REFUSED,
    ),
    "expired secret": (
        service.refuse("invalid_client", "AADSTS7000222: The provided client secret keys", 401),
        Fault.TOKEN_SECRET_EXPIRED,
    ),
    "expired secret elsewhere": (
        service.refuse("invalid_client", "Client secret has expired"),
        Fault.TOKEN_SECRET_EXPIRED,
    ),
    "grant": (service.refuse("invalid_grant", "Invalid JWT Signature."), Fault.TOKEN_GRANT_REFUSED),
    "scope": (
        service.refuse("invalid_scope", "AADSTS1002012: The provided value for scope"),
        Fault.TOKEN_SCOPE_REFUSED,
    ),
    "client": (service.refuse("unauthorized_client"), Fault.TOKEN_CONSENT_MISSING),
    "consent": (
        service.refuse("invalid_grant", "AADSTS65001: The user or administrator has not"),
        Fault.TOKEN_CONSENT_MISSING,
    ),
    "application": (
        service.refuse("unauthorized_client", "AADSTS700016: Application with identifier"),
        Fault.TOKEN_APPLICATION_UNKNOWN,
    ),
    "tenant": (
        service.refuse("invalid_request", "AADSTS90002: Tenant 'x' not found"),
        Fault.TOKEN_TENANT_UNKNOWN,
    ),
    "200 with error": (
        service.answer(200, '{"error": "invalid_client"}'),
        Fault.TOKEN_CLIENT_REFUSED,
    ),
    "400 without": (service.answer(400, "{}"), Fault.TOKEN_REFUSED),
    "other": (service.refuse("unsupported_grant_type"), Fault.TOKEN_REFUSED),
    "a person": (service.refuse("interaction_required"), Fault.TOKEN_CONNECT_AGAIN),
    "kind": (service.issue(token_type="mac"), Fault.TOKEN_REFUSED),
    "301": (service.answer(301, "", Location="https://x.test/"), Fault.TOKEN_REDIRECT),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_what_somebody_has_to_change_is_not_weather(name):
    """Mail waits for better settings."""
    behaviour, fault = SETTINGS[name]
    with token_server(behaviour) as server:
        error = refused(client(server.url))
    assert (error.fault, error.transient) == (fault, False)


def test_a_delegation_that_is_missing_has_its_own_word():
    """Google says unauthorized_client, which elsewhere is about consent."""
    said = "Client is unauthorized to retrieve access tokens using this method"
    with token_server(service.refuse("unauthorized_client", said, 401)) as server:
        account = oauth.service_account(Secret(service_account_json(server.url)))
        error = refused(Grant(token_url=server.url, account=account, mailbox=MAILBOX))
    assert error.fault is Fault.TOKEN_DELEGATION_MISSING
    assert said in str(error)


WEATHER = {
    "429": (service.answer(429, "{}", Retry_After="5"), Fault.TOKEN_UNAVAILABLE),
    "500": (service.answer(500, "<h1>oops</h1>", "text/html"), Fault.TOKEN_UNAVAILABLE),
    "503": (service.refuse("invalid_client", status=503), Fault.TOKEN_UNAVAILABLE),
    "busy": (service.refuse("temporarily_unavailable"), Fault.TOKEN_UNAVAILABLE),
    "HTML": (service.answer(200, "<html>Log in", "text/html"), Fault.TOKEN_NONSENSE),
    "HTML 400": (service.answer(400, "<html>", "text/html"), Fault.TOKEN_NONSENSE),
    "a list": (service.answer(200, "[]"), Fault.TOKEN_NONSENSE),
    "deep": (service.answer(200, "[" * 60_000), Fault.TOKEN_NONSENSE),
    "nothing": (service.answer(200, ""), Fault.TOKEN_NONSENSE),
    "no token": (service.answer(200, "{}"), Fault.TOKEN_NONSENSE),
    "a token of two lines": (service.issue(access_token="a\r\nb"), Fault.TOKEN_NONSENSE),
    "a token that is none": (service.issue(access_token=7), Fault.TOKEN_NONSENSE),
    "flood": (service.flood, Fault.TOKEN_NONSENSE),
}


@pytest.mark.parametrize("name", WEATHER)
def test_weather_is_asked_again(name):
    """A busy or broken service says nothing about the settings."""
    behaviour, fault = WEATHER[name]
    with token_server(behaviour) as server:
        error = refused(client(server.url))
    assert (error.fault, error.transient) == (fault, True)


@pytest.mark.parametrize("behaviour", [service.stall, service.drip])
def test_a_service_that_stalls_is_left(behaviour):
    """All of it takes no longer than it may."""
    with token_server(behaviour) as server:
        begun = time.monotonic()
        assert refused(client(server.url), seconds=0.5).fault is Fault.TOKEN_SILENT
        assert time.monotonic() - begun < 5


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_gets_no_secret(status):
    """The other address is not even connected to."""
    with token_server() as other:
        with token_server(service.answer(status, "", Location=other.url)) as server:
            assert refused(client(server.url)).fault is Fault.TOKEN_REDIRECT
            assert len(server.asked) == 1
        assert other.asked == []


def test_the_connect_policy_holds():
    """As for relays."""
    with token_server() as server:
        policy = ConnectPolicy(deny=(ipaddress.ip_network("127.0.0.0/8"),))
        error = refused(client(server.url), policy=policy)
        assert server.asked == []
    assert (error.fault, error.transient) == (Fault.TOKEN_FORBIDDEN, False)
    error = refused(client("https://169.254.169.254/token"))
    assert error.fault is Fault.TOKEN_FORBIDDEN


def test_http_is_for_this_machine_alone(monkeypatch):
    """Wherever a name leads."""
    from flask_interaction_mail.transport import http
    from flask_interaction_mail.transport.smtp.connect import Endpoint

    elsewhere = Endpoint(2, ("192.0.2.1", 80))
    monkeypatch.setattr(http, "resolve", lambda *_: (elsewhere,))
    assert refused(client("http://localhost/token")).fault is Fault.TOKEN_FORBIDDEN


def test_tls_is_verified_before_the_secret_is_sent():
    """The system's CAs, and the one of the settings beside them."""
    with token_server(tls=pki().server()) as server:
        assert refused(client(server.url)).fault is Fault.TOKEN_CERTIFICATE
        wrong = client(server.url, ca_certificate=other_pki().pem)
        assert refused(wrong).fault is Fault.TOKEN_CERTIFICATE
        assert server.asked == []
        assert asked(client(server.url, ca_certificate=pki().pem)).secret


def test_a_service_that_is_not_there_is_weather():
    """Nobody listens."""
    error = refused(client(f"http://127.0.0.1:{free_port()}/token"))
    assert (error.fault, error.transient) == (Fault.TOKEN_UNREACHABLE, True)


@pytest.mark.parametrize("echo", [SECRET, "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJ4In0.c2lnbmF0dXJl"])
def test_what_was_sent_is_not_repeated(echo):
    """Not even by a service that does."""
    with token_server(service.refuse("invalid_client", f"you sent {echo}\x1b[2J")) as server:
        text = str(refused(client(server.url)))
    assert "you sent ********\\x1b[2J" in text


@pytest.mark.parametrize(
    "behaviour", [service.stall, service.refuse("invalid_client"), service.answer(200, "x")]
)
def test_no_secret_in_errors_and_tracebacks(behaviour, caplog):
    """Of a client, a certificate and an account, locals included."""
    caplog.set_level(logging.DEBUG)
    with token_server(behaviour) as server:
        error = refused(client(server.url), seconds=0.5)
    gone = refused(client(server.url), seconds=0.5)
    for each in (error, gone):
        shown = "".join(
            traceback.TracebackException.from_exception(each, capture_locals=True).format()
        )
        for canary in spellings(STEM):
            assert canary.decode() not in shown + caplog.text


def test_days_are_told_of_a_certificate():
    """When it ends, for the warning."""
    certificate = oauth.client_certificate(Secret(certificate_pem("c", days=20) + key_pem("c")))
    left = grant.ends(certificate) - clock.now()
    assert datetime.timedelta(days=19) < left < datetime.timedelta(days=20, minutes=1)
