"""The mailbox at a real Dovecot that takes access tokens, from the panel to a report come home.

The tokens are those of the mail server: an application's own (client credentials), or what the
person who has the mailbox has agreed to (a code, and then refresh tokens that are good once).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from flask_interaction_mail import get_notification
from flask_interaction_mail.settings.relay import SignIn
from tests.canary import STEM, learn
from tests.databases import DIALECTS, fresh_database
from tests.integration.test_mailbox import BOB, FOREIGN, later, place, reports, turn
from tests.integration.test_oauth_consent import EHLO, connect
from tests.panel import RETURNED, Panel, opened_panel, send
from tests.reports import report
from tests.servers import token_server as service
from tests.servers.certificates import pki
from tests.servers.dovecot import USER, jwt
from tests.servers.imap import ImapServer, running_imap
from tests.servers.scripted import Scripted, scripted
from tests.servers.token_server import CLIENT, SECRET, TokenServer, token_server

HOUR = timedelta(hours=1)
# How each sign-in gets its first token, and the next one.
GRANTS = {
    SignIn.OAUTH_APPLICATION: ("client_credentials", "client_credentials"),
    SignIn.OAUTH_MAILBOX: ("authorization_code", "refresh_token"),
}


def made(**how: object) -> Callable[[int], str]:
    """Tokens that differ from each other, as ``jwt`` makes them."""

    def token(number: int) -> str:
        text = jwt(padding=number, **how)  # type: ignore[arg-type]
        learn(text)
        return text

    return token


@pytest.fixture(scope="module", params=["xoauth2", "oauthbearer"])
def dovecot(request: pytest.FixtureRequest) -> Iterator[ImapServer]:
    """One that offers a single way to show a token."""
    with running_imap(mechanisms=f"plain {request.param}") as server:
        yield server


@pytest.fixture
def server(dovecot: ImapServer) -> ImapServer:
    dovecot.emptied()
    return dovecot


@pytest.fixture
def smtp() -> Iterator[Scripted]:
    with scripted({"EHLO": EHLO}) as running:
        yield running


@pytest.fixture(params=list(GRANTS))
def sign_in(request: pytest.FixtureRequest) -> SignIn:
    chosen: SignIn = request.param
    return chosen


@pytest.fixture
def tokens(sign_in: SignIn) -> Iterator[TokenServer]:
    consent = [service.by_consent] if sign_in is SignIn.OAUTH_MAILBOX else []
    with token_server(*consent) as running:
        running.account, running.access_token = USER, made()
        yield running


@pytest.fixture
def dialect() -> str:
    """The kind of database where a test is not for each."""
    return "sqlite"


@pytest.fixture
def panel(
    dialect: str,
    tmp_path: Path,
    smtp: Scripted,
    server: ImapServer,
    tokens: TokenServer,
    sign_in: SignIn,
) -> Iterator[Panel]:
    """With all that is typed into the form, and the person's consent where one is needed."""
    with (
        fresh_database(dialect, tmp_path) as url,
        opened_panel(tmp_path, url=url, MAIL_SUPPRESS_SEND=False) as opened,
    ):
        assert opened.save(**typed(smtp, server, tokens, sign_in)).status_code == 303
        if sign_in is SignIn.OAUTH_MAILBOX:
            assert f"Connected as {USER}" in connect(opened, tokens)
        yield opened


def typed(
    smtp: Scripted, server: ImapServer, tokens: TokenServer, sign_in: SignIn
) -> dict[str, str | None]:
    consent = sign_in is SignIn.OAUTH_MAILBOX
    return {
        "company_domain": USER.partition("@")[2],
        "smtp_server": "127.0.0.1",
        "smtp_port": str(smtp.port),
        "encryption": "none",
        "allow_unencrypted_auth": "y",
        "use_authentication": "y",
        "sign_in": sign_in,
        "oauth_token_url": tokens.url,
        "oauth_authorization_url": tokens.authorization_url if consent else "",
        "oauth_client_id": CLIENT,
        "oauth_client_secret": SECRET,
        "oauth_scope": "mail.send imap offline_access" if consent else "mail.send imap",
        "returns_server": "127.0.0.1",
        "returns_port": str(server.tls),
        "returns_sign_in": "relay",
        "returns_ca_certificate": pki().pem,
    }


def sent(panel: Panel) -> uuid.UUID:
    """A message that has left."""
    id = send(panel, "Hello", ["bob@firm.example"])
    panel.host.dispatcher().drain()
    return id


def come_home(panel: Panel, server: ImapServer, id: uuid.UUID, number: int = 1) -> None:
    """A report about the message is in the mailbox."""
    with panel.host.app.app_context():
        found = get_notification(id)
    assert found is not None
    server.put(report(str(found.message_id), BOB, number=number))


def status(panel: Panel, id: uuid.UUID) -> str:
    with panel.host.app.app_context():
        found = get_notification(id)
    assert found is not None
    return str(found.recipients[0].status)


def grants(tokens: TokenServer) -> list[str]:
    return [asked.fields["grant_type"] for asked in tokens.asked]


def told(panel: Panel) -> str:
    """The tab *Returned mail*, which repeats no secret."""
    text = panel.get(RETURNED).get_text(" ", strip=True)
    assert STEM not in text
    assert "eyJ" not in text  # how a JWT begins
    return text


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_report_comes_home_with_the_token_that_mail_left_with(
    panel: Panel, smtp: Scripted, server: ImapServer, tokens: TokenServer, sign_in: SignIn
) -> None:
    """Asked for once for both servers; the next look asks for none."""
    id = sent(panel)
    assert len(smtp.messages) == 1
    server.put(FOREIGN)
    come_home(panel, server, id)
    turn(panel.host)
    assert status(panel, id) == "bounced"
    assert "Reports noted: 1" in told(panel)
    assert (server.count(), server.count("Returned")) == (1, 1)
    come_home(panel, server, id, 2)
    with later(timedelta(minutes=6)):
        turn(panel.host)
    assert reports(panel.host) == 2
    assert grants(tokens) == [GRANTS[sign_in][0]]
    offered = server.root.joinpath("dovecot.conf").read_text().partition("auth_mechanisms = plain ")
    assert f"user=<{USER}>, method={offered[2].split()[0].upper()}" in server.log()


@pytest.mark.parametrize("whose", ["ours", "theirs"])
def test_a_token_that_has_ended_is_renewed_once(
    panel: Panel, server: ImapServer, tokens: TokenServer, sign_in: SignIn, whose: str
) -> None:
    """By our clock, before it is shown; or because Dovecot refuses it, earlier than was said."""
    if whose == "theirs":
        tokens.access_token = made(lasts=-10)
        panel.host.app.extensions.pop("interaction_mail_tokens", None)
        if sign_in is SignIn.OAUTH_MAILBOX:
            connect(panel, tokens)
            tokens.asked.pop(0)
    id = sent(panel)
    tokens.access_token = made()
    come_home(panel, server, id)
    with later(HOUR if whose == "ours" else timedelta(0)):
        turn(panel.host)
    assert status(panel, id) == "bounced"
    assert grants(tokens) == [*GRANTS[sign_in]]
    assert place(panel.host).failures == 0


def test_a_token_that_dovecot_refuses_is_told_and_nothing_is_lost(
    panel: Panel, server: ImapServer, tokens: TokenServer, sign_in: SignIn
) -> None:
    """A fresh one is tried, once; the report stays where it is, and is noted when one is taken."""
    id = sent(panel)
    tokens.access_token = made(key=b"another key")
    come_home(panel, server, id)
    with later(HOUR):
        turn(panel.host)
        text = told(panel)
    assert "It cannot be read" in text
    assert "The IMAP server does not accept the access token" in text
    assert "IMAP.AccessAs" in text
    assert (place(panel.host).failures, place(panel.host).fault) == (1, "oauth_rejected")
    assert grants(tokens) == [*GRANTS[sign_in], GRANTS[sign_in][1]]
    assert (status(panel, id), server.count()) == ("sent", 1)
    tokens.access_token = made()
    with later(2 * HOUR):
        turn(panel.host)
        assert "It cannot be read" not in told(panel)
    assert (status(panel, id), server.count("Returned")) == ("bounced", 1)


def test_a_service_that_gives_no_token_is_told_and_nothing_is_lost(
    panel: Panel, server: ImapServer, tokens: TokenServer, sign_in: SignIn
) -> None:
    """Neither to the application, nor for a refresh token; then there is a cause to mend."""
    id = sent(panel)
    come_home(panel, server, id)
    tokens.behaviours = [service.refuse("invalid_client")]
    if sign_in is SignIn.OAUTH_MAILBOX:
        tokens.behaviours = [service.by_consent]
        tokens.refresh_tokens.clear()
    with later(HOUR):
        turn(panel.host)
        text = told(panel)
    assert "It cannot be read" in text
    assert ("Connect again" in text) is (sign_in is SignIn.OAUTH_MAILBOX)
    assert (status(panel, id), server.count()) == ("sent", 1)
    assert "invalid" in str(place(panel.host).trouble)
    tokens.behaviours = [service.by_consent] if sign_in is SignIn.OAUTH_MAILBOX else []
    with later(2 * HOUR):
        if sign_in is SignIn.OAUTH_MAILBOX:
            connect(panel, tokens)
        turn(panel.host)
        assert "It cannot be read" not in told(panel)
    assert (status(panel, id), server.count("Returned")) == ("bounced", 1)
