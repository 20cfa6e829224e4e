"""From the settings to a message that is sent with an access token, and every way to fail."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from bs4 import BeautifulSoup

from flask_interaction_mail import send_notification
from flask_interaction_mail.diagnosis.results import StepState
from flask_interaction_mail.outcome import Fault, Stage
from flask_interaction_mail.settings import grant
from flask_interaction_mail.storage.tables import CHECK, TOKEN
from tests.canary import STEM
from tests.host import ADA, Host
from tests.panel import TEST, Panel, error_at, opened_panel
from tests.servers import token_server as service
from tests.servers.keys import certificate_pem, key_pem, service_account_json
from tests.servers.scripted import Scripted, scripted
from tests.servers.token_server import CLIENT, SECRET, TokenServer, token_server
from tests.servers.token_server import TOKEN as ISSUED

EHLO = b"250-scripted.test\r\n250-PIPELINING\r\n250 AUTH PLAIN XOAUTH2\r\n"
BAD = b"535 5.7.8 bad\r\n"


def shown(line: bytes) -> str:
    """The token of an AUTH command."""
    return base64.b64decode(line.split(b" ")[-1]).decode().split("Bearer ")[1].rstrip("\1")


@pytest.fixture
def server() -> Iterator[Scripted]:
    with scripted({"EHLO": EHLO}) as running:
        yield running


@pytest.fixture
def tokens() -> Iterator[TokenServer]:
    with token_server() as running:
        yield running


def application(server: Scripted, tokens: TokenServer) -> dict[str, Any]:
    return {
        "smtp_port": server.port,
        "helo_name": "here.test",
        "allow_unencrypted_auth": True,
        "sign_in": "oauth_application",
        "oauth_token_url": tokens.url,
        "oauth_client_id": CLIENT,
        "oauth_client_secret": SECRET,
    }


@pytest.fixture
def host(any_host: Host, server: Scripted, tokens: TokenServer) -> Host:
    """A host that logs in with a token, in each kind of database."""
    any_host.configure(**application(server, tokens))
    return any_host


def send(host: Host, count: int = 1) -> None:
    with host.app.app_context():
        for number in range(count):
            send_notification(ADA, f"Subject {number}", text="Text")
        host.db.session.commit()


def test_mail_leaves_with_a_token(host: Host, server: Scripted, tokens: TokenServer) -> None:
    """Asked for once, however many connections and workers there are."""
    for _ in range(2):
        send(host, 5)
        host.dispatcher().drain()
        host.app.extensions.pop("interaction_mail_tokens")  # as another process has none
    logins = [shown(line) for line in server.lines if line.startswith(b"AUTH")]
    assert len(server.messages) == 10
    assert set(logins) == {f"{ISSUED}-1"}
    assert len(logins) == server.connections
    assert len(tokens.asked) == 1


def test_a_revoked_token_is_replaced(host: Host, server: Scripted, tokens: TokenServer) -> None:
    """Before the breaker counts it: the message leaves."""
    send(host)
    host.dispatcher().drain()
    server.answers["AUTH"] = [BAD, b"235 ok\r\n"]
    send(host)
    host.dispatcher().drain()
    assert len(server.messages) == 2
    assert len(tokens.asked) == 2


@pytest.mark.parametrize(
    ("behaviour", "minutes"), [(service.refuse("invalid_client"), 15), (service.answer(503, ""), 1)]
)
def test_mail_waits_while_there_is_no_token(
    host: Host, server: Scripted, tokens: TokenServer, behaviour, minutes
) -> None:
    """For better settings, which close the breaker, or for better weather."""
    tokens.behaviours = [behaviour]
    send(host, 3)
    host.dispatcher().drain()
    assert (server.messages, server.count("AUTH"), server.count("MAIL")) == ([], 0, 0)
    assert len(tokens.asked) == 1
    with host.state.database.reading() as connection:
        row = connection.execute(sa.select(CHECK).where(CHECK.c.kind == "breaker")).one()
    assert json.loads(row.steps)["stage"] == "token"
    assert row.verdict == "open"
    assert round((row.until - row.at).total_seconds() / 60) == minutes
    tokens.behaviours = []
    host.configure(**application(server, tokens))
    host.dispatcher().drain()
    assert len(server.messages) == 3


def test_keys_that_rotate_drop_the_token(host: Host, server: Scripted) -> None:
    """None is left under the old key."""
    from flask_interaction_mail import operations

    send(host)
    host.dispatcher().drain()
    with host.app.app_context():
        operations.rotate_keys(host.state)
    with host.state.database.reading() as connection:
        assert connection.scalars(sa.select(TOKEN.c.token)).all() == [None]


def test_without_authentication_no_token_is_asked_for(
    host: Host, server: Scripted, tokens: TokenServer
) -> None:
    """Although all of it is stored."""
    host.configure(sign_in="none")
    send(host)
    host.dispatcher().drain()
    assert len(server.messages) == 1
    assert (server.count("AUTH"), tokens.asked) == (0, [])


def test_the_host_may_bring_the_token(tmp_path, server: Scripted) -> None:
    """By the function that it gave."""
    host = Host(f"sqlite:///{tmp_path}/crm.sqlite")
    try:
        host.state.access_token = lambda mailbox: f"{STEM}-{mailbox}"
        host.configure(
            smtp_port=server.port, helo_name="x.test", allow_unencrypted_auth=True, sign_in="host"
        )
        send(host)
        host.dispatcher().drain()
        assert shown(server.lines[1]) == f"{STEM}-crm@firm.example"
        assert len(server.messages) == 1
    finally:
        host.close()


# -- in the panel ---------------------------------------------------------------------------


@pytest.fixture
def panel(tmp_path) -> Iterator[Panel]:
    with opened_panel(tmp_path, MAIL_SUPPRESS_SEND=False) as opened:
        yield opened


def typed(server: Scripted, tokens: TokenServer, **changes: str) -> dict[str, str]:
    return {
        "smtp_server": "127.0.0.1",
        "smtp_port": str(server.port),
        "encryption": "none",
        "allow_unencrypted_auth": "y",
        "company_domain": "firm.example",
        "default_to": "desk",
        "default_from": "crm",
        "helo_name": "here.test",
        "use_authentication": "y",
        "sign_in": "oauth_application",
        "oauth_token_url": tokens.url,
        "oauth_client_id": CLIENT,
        "oauth_client_secret": SECRET,
    } | changes


def tries(panel: Panel, **values: str) -> BeautifulSoup:
    answer = panel.post(TEST, **values)
    assert answer.status_code == 200, answer.text
    return BeautifulSoup(answer.text, "lxml")


def test_a_test_shows_the_token_before_the_login(
    panel: Panel, server: Scripted, tokens: TokenServer
) -> None:
    """Saved with the same values, it is in force."""
    page = tries(panel, **typed(server, tokens))
    text = page.get_text(" ", strip=True)
    assert "The mail server accepted the test message" in text
    assert text.index("Access token received") < text.index("Logged in")
    assert "It is valid for 60 min." in text
    assert panel.post(**typed(server, tokens)).status_code == 303
    assert panel.in_force().settings.by_token
    fields = panel.fields()
    assert fields["oauth_client_secret"] == fields["oauth_service_account"] == ""
    assert "A secret is stored" in panel.get().select_one("#im-oauth_client_secret-help").text


def test_a_certificate_and_an_account_work_as_well(
    panel: Panel, server: Scripted, tokens: TokenServer
) -> None:
    """As they are pasted."""
    pem = (certificate_pem() + key_pem()).replace("\n", "\\n")
    page = tries(panel, **typed(server, tokens, oauth_client_secret="", oauth_certificate=pem))
    assert "accepted the test message" in page.text
    key = "\ufeff" + service_account_json(tokens.url).replace("\n", "\r\n")
    changes = {"sign_in": "oauth_service_account", "oauth_token_url": "", "oauth_client_secret": ""}
    page = tries(panel, **typed(server, tokens, **changes, oauth_service_account=key))
    assert "accepted the test message" in page.text
    assert [sorted(asked.fields)[0] for asked in tokens.asked] == ["client_assertion", "assertion"]


def test_every_field_of_a_sign_in_says_to_which_it_belongs(panel: Panel) -> None:
    """So that a script can hide it with others; without one all are there."""
    page = panel.get()
    options = [option["value"] for option in page.select("#im-sign_in option")]
    assert options == [
        "password", "oauth_application", "oauth_service_account", "oauth_mailbox", "host", "none",
    ]  # fmt: skip
    belongs = {
        field["id"]: field.find_parent(attrs={"data-im-sign-in": True})["data-im-sign-in"]
        for field in page.select("#im-auth input, #im-auth textarea")
    }
    assert belongs["im-password_confirm"] == belongs["im-login"] == "password"
    assert belongs["im-oauth_service_account"] == "oauth_service_account"
    assert belongs["im-oauth_mailbox"].split() == [
        "oauth_application", "oauth_service_account", "oauth_mailbox", "host",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("oauth_tenant", "https://portal.azure.com/x", "no web address"),
        ("oauth_token_url", "http://tokens.example.com/", "must be a complete https"),
        ("oauth_expires", "tomorrow", "must be a day such as"),
        ("oauth_certificate", f"{STEM}", "holds no certificate"),
        ("oauth_client_id", "", "Enter the client ID"),
    ],
)
def test_bad_input_is_named_at_its_field(
    panel: Panel, server: Scripted, tokens: TokenServer, field, value, said
) -> None:
    """Nothing is saved, and no secret comes back."""
    answer = panel.post(**typed(server, tokens, **{field: value}))
    assert answer.status_code == 400
    page = BeautifulSoup(answer.text, "lxml")
    assert said in error_at(page, field)
    assert "Enter the secret or key of the sign-in again" in page.text
    assert panel.in_force().revision == 0


def test_bad_json_is_named_at_its_field(
    panel: Panel, server: Scripted, tokens: TokenServer
) -> None:
    """A key of another kind."""
    values = typed(server, tokens, sign_in="oauth_service_account", oauth_client_secret="")
    answer = panel.post(**values | {"oauth_service_account": '{"web": {}}'})
    page = BeautifulSoup(answer.text, "lxml")
    assert "is an OAuth client" in error_at(page, "oauth_service_account")


@pytest.mark.parametrize("key", ["microsoft365", "google_workspace"])
def test_a_preset_shows_the_steps_at_the_provider(panel: Panel, key: str) -> None:
    """In order, each with what the test says where it was forgotten."""
    answer = panel.post("/admin/messaging/preset", preset=key)
    page = BeautifulSoup(answer.text, "lxml")
    steps = [step.get_text(" ", strip=True) for step in page.select("#im-preset-note ol li")]
    assert len(steps) >= 4
    assert sum("If it was forgotten, the test says:" in step for step in steps) >= 3
    chosen = page.select_one("#im-sign_in option[selected]")["value"]
    assert chosen == {"microsoft365": "oauth_application"}.get(key, "oauth_service_account")


# -- a verdict for each way to fail ---------------------------------------------------------


def microsoft(**claims: Any) -> str:
    """A token as Microsoft makes them."""
    told = {"aud": "https://outlook.office365.com", "oid": "object-1", "appid": "app-1", **claims}
    body = base64.urlsafe_b64encode(json.dumps(told).encode()).rstrip(b"=").decode()
    return f"eyJhbGciOiJub25lIn0.{body}.c2ln"


VERDICTS = {
    "service principal": (
        service.issue(access_token=microsoft(roles=["SMTP.SendAsApp"])),
        b"535 5.7.3 Authentication unsuccessful\r\n",
        Fault.OAUTH_REJECTED,
        "object ID of the enterprise application: object-1",
    ),
    "permission": (
        service.issue(access_token=microsoft(roles=["Mail.Send"])),
        b"535 5.7.3 Authentication unsuccessful\r\n",
        Fault.OAUTH_PERMISSION_MISSING,
        "Grant admin consent",
    ),
    "no permission at all": (
        service.issue(access_token=microsoft()),
        b"535 5.7.3 Authentication unsuccessful\r\n",
        Fault.OAUTH_PERMISSION_MISSING,
        "permissions: none",
    ),
    "SMTP AUTH of the tenant": (
        service.issue(),
        b"535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the "
        b"Tenant.\r\n",
        Fault.OAUTH_SWITCHED_OFF,
        "Turn off SMTP AUTH protocol",
    ),
    "another token": (service.issue(), BAD, Fault.OAUTH_REJECTED, "New-ServicePrincipal"),
    "consent": (
        service.refuse("invalid_grant", "AADSTS65001: not consented"),
        b"",
        Fault.TOKEN_CONSENT_MISSING,
        "AADSTS65001",
    ),
    "expired": (
        service.refuse("invalid_client", "AADSTS7000222: expired", 401),
        b"",
        Fault.TOKEN_SECRET_EXPIRED,
        "Create a new secret",
    ),
    "HTML": (service.answer(200, "<html>", "text/html"), b"", Fault.TOKEN_NONSENSE, "no JSON"),
    "redirect": (
        service.answer(307, "", Location="https://x.test"),
        b"",
        Fault.TOKEN_REDIRECT,
        "leads elsewhere",
    ),
    "flood": (service.flood, b"", Fault.TOKEN_NONSENSE, "does not end"),
    "later": (service.answer(429, "{}"), b"", Fault.TOKEN_UNAVAILABLE, "not now"),
}


@pytest.mark.parametrize("name", VERDICTS)
def test_each_way_to_fail_has_a_verdict(
    panel: Panel, server: Scripted, tokens: TokenServer, name
) -> None:
    """With what to do at the provider; the token service stands before the login."""
    behaviour, reply, fault, said = VERDICTS[name]
    tokens.behaviours = [behaviour]
    server.answers["AUTH"] = reply
    page = tries(panel, **typed(server, tokens))
    assert said in page.get_text(" ", strip=True)
    assert server.count("AUTH") == bool(reply)
    with panel.host.state.database.reading() as connection:
        row = connection.execute(sa.select(CHECK).where(CHECK.c.kind == "test")).one()
    failed = [step for step in json.loads(row.steps) if step["state"] == StepState.FAILED]
    stage = Stage.AUTHENTICATION if reply else Stage.TOKEN
    assert [(step["stage"], step["code"]) for step in failed] == [(stage, fault)]


def test_a_test_never_takes_longer(panel: Panel, server: Scripted, tokens: TokenServer) -> None:
    """A token service that stalls has the time that the test has."""
    import time

    tokens.behaviours = [service.stall]
    begun = time.monotonic()
    page = tries(panel, **typed(server, tokens))
    assert "The token service does not answer" in page.get_text(" ", strip=True)
    assert time.monotonic() - begun < 15


def test_google_wants_its_scope() -> None:
    """What is written in the advice is what is asked for."""
    from flask_interaction_mail.diagnosis.texts import text_of

    assert grant.GOOGLE_SCOPE in text_of(Fault.TOKEN_DELEGATION_MISSING).advice
    assert grant.MICROSOFT_SCOPE in text_of(Fault.TOKEN_SCOPE_REFUSED).advice
