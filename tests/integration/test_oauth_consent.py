"""A mailbox is connected by the consent of a person, in the panel, and mail leaves with it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import sqlalchemy as sa
from bs4 import BeautifulSoup
from werkzeug.test import TestResponse

from flask_interaction_mail import clock, operations, send_notification
from flask_interaction_mail.outbox import tokens as token_rows
from flask_interaction_mail.settings import grant
from flask_interaction_mail.storage.tables import CHECK, TOKEN
from tests.canary import STEM, spellings
from tests.host import ADA
from tests.panel import HISTORY, HOME, TEST, Panel, opened_panel
from tests.servers import token_server as service
from tests.servers.scripted import Scripted, scripted
from tests.servers.token_server import CLIENT, SECRET, TokenServer, token_server
from tests.terminal import run

EHLO = b"250-scripted.test\r\n250 AUTH PLAIN XOAUTH2\r\n"
CONNECT, CONNECTED, DISCONNECT = (HOME + name for name in ("connect", "connected", "disconnect"))
MAILBOX = "crm@firm.example"


@pytest.fixture
def server() -> Iterator[Scripted]:
    with scripted({"EHLO": EHLO}) as running:
        yield running


@pytest.fixture
def tokens() -> Iterator[TokenServer]:
    with token_server(service.by_consent) as running:
        running.account = MAILBOX
        yield running


def settings(server: Scripted, tokens: TokenServer, **changes: Any) -> dict[str, Any]:
    return {
        "smtp_port": server.port,
        "helo_name": "here.test",
        "allow_unencrypted_auth": True,
        "sign_in": "oauth_mailbox",
        "oauth_authorization_url": tokens.authorization_url + "?prompt=consent",
        "oauth_token_url": tokens.url,
        "oauth_client_id": CLIENT,
        "oauth_client_secret": SECRET,
        "oauth_scope": "mail.send offline_access",
    } | changes


@pytest.fixture
def panel(tmp_path: Path, server: Scripted, tokens: TokenServer) -> Iterator[Panel]:
    with opened_panel(tmp_path, MAIL_SUPPRESS_SEND=False) as opened:
        opened.host.configure(**settings(server, tokens))
        yield opened


def begin(panel: Panel) -> str:
    """Press the button; gives the URL where the person agrees."""
    answer = panel.post(CONNECT)
    assert answer.status_code == 303, answer.text
    return str(answer.location)


def come_back(panel: Panel, url: str) -> str:
    """Follow the provider's redirect; gives what the page says then."""
    parts = urlsplit(url)
    answer = panel.client.get(f"{parts.path}?{parts.query}")
    assert answer.status_code == 303
    assert "code=" not in str(answer.location)
    return said(panel)


def said(panel: Panel) -> str:
    return panel.get().get_text(" ", strip=True)


def connect(panel: Panel, tokens: TokenServer) -> str:
    return come_back(panel, tokens.agree(begin(panel)))


def row(panel: Panel) -> Any:
    with panel.host.app.app_context(), panel.host.state.database.reading() as connection:
        return connection.execute(sa.select(TOKEN)).one()


def change(panel: Panel, **values: Any) -> None:
    with panel.host.app.app_context(), panel.host.state.database.writing() as connection:
        connection.execute(sa.update(TOKEN).values(**values))


def deliver(panel: Panel) -> None:
    host = panel.host
    with host.app.app_context():
        send_notification(ADA, "Subject", text="Text")
        host.db.session.commit()
    host.dispatcher().drain()


def trial(panel: Panel) -> str:
    return BeautifulSoup(panel.post(TEST).text, "lxml").get_text(" ", strip=True)


# -- it works -------------------------------------------------------------------------------


def test_a_mailbox_is_connected_and_mail_leaves(
    panel: Panel, server: Scripted, tokens: TokenServer
) -> None:
    """From *not connected* to a passed test and a delivered message."""
    assert "Not connected: mail waits until the person who has the mailbox" in said(panel)
    text = connect(panel, tokens)
    assert "The mailbox is connected. Test the settings now." in text
    assert f"Connected as {MAILBOX} since" in text
    assert "by Ada Byron" in text
    assert "Another account" not in text
    deliver(panel)
    assert len(server.messages) == 1
    # The token of the code was enough; a test asks for its own.
    assert [asked.fields["grant_type"] for asked in tokens.asked] == ["authorization_code"]
    text = trial(panel)
    assert "The mail server accepted the test message" in text
    assert f"connected as: {MAILBOX}" in text
    assert tokens.asked[-1].fields["grant_type"] == "refresh_token"


def test_what_is_asked_for(panel: Panel, tokens: TokenServer) -> None:
    """RFC 6749 §4.1.1 and RFC 7636; what stands in the URL stays; the secret is not in it."""
    url = begin(panel)
    asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    assert url.startswith(tokens.authorization_url + "?prompt=consent&response_type=code&")
    assert asked["client_id"] == CLIENT
    assert asked["redirect_uri"] == f"http://localhost{CONNECTED}"
    assert asked["scope"] == "mail.send offline_access"
    assert asked["login_hint"] == MAILBOX
    assert asked["code_challenge_method"] == "S256"
    assert len(asked["code_challenge"]) == 43
    assert len(asked["state"]) >= 43
    assert STEM not in url
    again = begin(panel)
    assert {parse_qs(urlsplit(again).query)[name][0] for name in ("state", "code_challenge")} != {
        asked["state"],
        asked["code_challenge"],
    }
    connect(panel, tokens)
    sent = tokens.asked[-1].fields
    assert set(sent) == {
        *("grant_type", "code", "redirect_uri", "code_verifier", "client_id", "client_secret")
    }
    assert 43 <= len(sent["code_verifier"]) <= 128


def test_a_public_client_has_no_secret(panel: Panel, server: Scripted, tokens: TokenServer) -> None:
    """Its id and the verifier are all that it shows."""
    change_url = {"oauth_token_url": tokens.url.replace("127.0.0.1", "localhost")}
    panel.host.configure(**settings(server, tokens, oauth_client_secret="", **change_url))
    assert "Connected as" in connect(panel, tokens)
    assert "client_secret" not in tokens.asked[-1].fields


def test_the_redirect_url_is_the_one_that_browsers_see(
    tmp_path: Path, server: Scripted, tokens: TokenServer
) -> None:
    """Behind a proxy that does not say so, the configuration does."""
    with opened_panel(tmp_path, INTERACTION_MAIL_PUBLIC_URL="https://crm.example/app/") as panel:
        panel.host.configure(**settings(server, tokens))
        page = panel.client.get(HOME, environ_overrides={"SCRIPT_NAME": "/app"}).text
        wanted = f"https://crm.example/app{CONNECTED}"
        assert BeautifulSoup(page, "lxml").select_one("#im-redirect-url").text == wanted  # type: ignore[union-attr]
        url = begin(panel)
        assert parse_qs(urlsplit(url).query)["redirect_uri"] == [wanted]
        behind = tokens.agree(url).replace("/app/", "/", 1)  # as the proxy passes it on
        assert "Connected as" in come_back(panel, behind)
        assert tokens.asked[-1].fields["redirect_uri"] == wanted


def test_a_refresh_token_that_changes_is_kept(panel: Panel, tokens: TokenServer) -> None:
    """Each is good for one request; one that does not change stays."""
    connect(panel, tokens)
    for _ in range(3):
        change(panel, token=None)
        deliver(panel)
    used = [asked.fields["refresh_token"] for asked in tokens.asked[1:]]
    assert len(used) == len(set(used)) == 3
    tokens.rotates = False
    for _ in range(2):
        change(panel, token=None)
        deliver(panel)
    assert tokens.asked[-1].fields == tokens.asked[-2].fields
    assert f"Connected as {MAILBOX}" in said(panel)


def test_what_is_kept_is_encrypted_and_bound(panel: Panel, tokens: TokenServer) -> None:
    """In another row it is good for nothing, and the purge leaves it."""
    connect(panel, tokens)
    found = row(panel)
    assert STEM not in repr(found)
    purge(panel, days=170)
    assert row(panel).consent == found.consent
    change(panel, name="n" * 64)
    assert "Not connected" in said(panel)
    with panel.host.app.app_context():
        seen = panel.host.state.settings.keyring.open_bound(found.consent)
    assert seen.to == found.name


@pytest.mark.parametrize(
    "changes",
    [
        {"oauth_token_url": "http://localhost:9/token"},
        {"oauth_client_id": "another"},
        {"oauth_mailbox": "desk@firm.example"},
        {"oauth_scope": "mail"},
        {"smtp_server": "localhost"},
        {"smtp_port": 26},
        {"encryption": "starttls"},
    ],
)
def test_a_consent_is_for_one_place(
    panel: Panel, server: Scripted, tokens: TokenServer, changes: dict[str, Any]
) -> None:
    """With another token URL, client, mailbox, scope or server it counts no more (T22)."""
    connect(panel, tokens)
    panel.host.configure(**settings(server, tokens, **changes))
    assert "Not connected" in said(panel)
    deliver(panel)
    trial(panel)
    assert (len(tokens.asked), server.count("AUTH")) == (1, 0)
    panel.host.configure(**settings(server, tokens, oauth_mailbox=None))
    assert "Connected as" in said(panel)


def test_a_new_secret_keeps_the_connection(
    panel: Panel, server: Scripted, tokens: TokenServer
) -> None:
    """It ends every other year; the consent does not."""
    connect(panel, tokens)
    panel.host.configure(**settings(server, tokens, oauth_client_secret=f"{STEM}-new"))
    assert "Connected as" in said(panel)
    trial(panel)
    assert tokens.asked[-1].fields["client_secret"] == f"{STEM}-new"


def test_disconnect_forgets_it_at_once(
    panel: Panel, server: Scripted, tokens: TokenServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No worker logs in again, whatever it has in its memory; the provider is told (RFC 7009)."""
    monkeypatch.setattr(
        "flask_interaction_mail.transport.oauth2.client.REVOCATION",
        {tokens.url: tokens.revocation_url},
    )
    connect(panel, tokens)
    deliver(panel)
    (kept,) = tokens.refresh_tokens
    assert panel.post(DISCONNECT).status_code == 303
    text = said(panel)
    assert "The mailbox is not connected any more. Mail waits." in text
    assert "The provider was not told" not in text
    assert tokens.revoked == [kept]
    assert (row(panel).token, row(panel).consent) == (None, None)
    deliver(panel)
    assert len(server.messages) == 1
    assert "connected the mailbox crm@firm.example" in panel.get(HISTORY).get_text(" ", strip=True)
    assert "disconnected the mailbox" in panel.get(HISTORY).get_text(" ", strip=True)


def test_a_provider_that_cannot_be_told_is_named(panel: Panel, tokens: TokenServer) -> None:
    """It is not known how, so the person has to do it."""
    connect(panel, tokens)
    panel.post(DISCONNECT)
    assert "The provider was not told" in said(panel)


def test_a_revision_brings_no_connection_back(panel: Panel, tokens: TokenServer) -> None:
    """What was disconnected is so, whatever settings are restored."""
    connect(panel, tokens)
    panel.host.configure(sender_name="Firm")
    panel.post(DISCONNECT)
    with panel.host.app.app_context():
        operations.restore_settings(panel.host.state, 1, changed_by="Ada")
    assert "Not connected" in said(panel)


def test_the_terminal_says_how_to_connect(
    panel: Panel, server: Scripted, tokens: TokenServer
) -> None:
    """It cannot do it itself: a browser has to come back."""
    shown = run(panel.host, "settings", "set", "--oauth-client-id", "another").out
    assert "Mailbox: not connected: in the panel, press Connect mailbox" in shown
    panel.host.configure(**settings(server, tokens))
    connect(panel, tokens)
    told = json.loads(run(panel.host, "settings", "show", "--json").out)
    assert str(told["mailbox"]).startswith("connected as crm@firm.example, ")
    panel.host.configure(sign_in="none")
    assert json.loads(run(panel.host, "settings", "show", "--json").out)["mailbox"] is None


def test_keys_that_rotate_keep_the_connection(panel: Panel, tokens: TokenServer) -> None:
    """The consent is encrypted anew, and found although the key of digests is another one."""
    connect(panel, tokens)
    config = panel.host.app.config
    config["SECRET_KEY_FALLBACKS"], config["SECRET_KEY"] = [config["SECRET_KEY"]], "n" * 32
    with panel.host.app.app_context():
        operations.rotate_keys(panel.host.state)
    config["SECRET_KEY_FALLBACKS"] = []
    assert "Connected as" in said(panel)
    config["SECRET_KEY"] = "o" * 32
    assert "the connection cannot be read with the secret key" in said(panel)


def purge(panel: Panel, days: int) -> None:
    with panel.host.app.app_context(), panel.host.state.database.writing() as connection:
        token_rows.purge(connection, clock.now() + timedelta(days=days))


def test_what_nobody_has_used_for_half_a_year_is_forgotten(
    panel: Panel, server: Scripted, tokens: TokenServer
) -> None:
    """Such as the consent for a mailbox that mail was sent from before; begun ones go in a day."""
    begin(panel)
    connect(panel, tokens)
    purge(panel, days=2)
    assert row(panel).consent
    purge(panel, days=190)
    assert "Not connected" in said(panel)


# -- and does not ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ("access_denied", "The person did not agree, or may not"),
        ("consent_required", "The provider wants the consent of an"),
        ("temporarily_unavailable", "The provider cannot answer now. Try again in"),
        ("anything", "The provider refused."),
    ],
)
def test_a_refusal_is_told_in_words(
    panel: Panel, tokens: TokenServer, error: str, told: str
) -> None:
    """With what the provider says, as text."""
    text = come_back(panel, tokens.deny(begin(panel), error, "<script>alert(1)</script>\x1b[2J"))
    assert f"Nothing was connected. {told}" in text
    assert "<script>alert(1)</script>\\x1b[2J" in text
    assert "Not connected" in text
    assert tokens.asked == []


NOT_ASKED_FOR = "This answer was not asked for in this session"


def test_another_state_is_refused(panel: Panel, tokens: TokenServer) -> None:
    """Whoever sends the browser there with a code of their own (RFC 6749 §10.12)."""
    url = tokens.agree(begin(panel))
    state = parse_qs(urlsplit(url).query)["state"][0]
    for other in ("x" * 43, "", "x" * 5000):
        assert NOT_ASKED_FOR in come_back(panel, url.replace(state, other))
    assert NOT_ASKED_FOR in come_back(panel, CONNECTED + "?code=1")
    assert tokens.asked == []


def test_another_session_is_refused(panel: Panel, tokens: TokenServer) -> None:
    """A state counts in the session that asked for it, and in no other."""
    url = tokens.agree(begin(panel))
    other = Panel(panel.host)
    other.get()
    assert NOT_ASKED_FOR in come_back(other, url)
    assert tokens.asked == []


def test_a_second_use_is_refused(panel: Panel, tokens: TokenServer) -> None:
    """Also of an answer that was an error, and with the cookies of before."""
    url = tokens.agree(begin(panel))
    assert "Connected as" in come_back(panel, url)
    assert NOT_ASKED_FOR in come_back(panel, url)
    denied = tokens.deny(begin(panel))
    come_back(panel, denied)
    assert NOT_ASKED_FOR in come_back(panel, denied.replace("error=access_denied", "code=x"))
    assert len(tokens.asked) == 1


def test_an_answer_after_ten_minutes_is_refused(panel: Panel, tokens: TokenServer) -> None:
    """And one just before is taken."""
    for seconds, taken in ((-1, False), (60, True)):
        url = tokens.agree(begin(panel))
        change(panel, ends_at=clock.now() + timedelta(seconds=seconds))
        assert (NOT_ASKED_FOR not in come_back(panel, url)) is taken
    assert len(tokens.asked) == 1


@pytest.mark.parametrize(
    ("issuer", "taken"),
    [("https://evil.example", False), ("http://127.0.0.1:{}/x", True), ("[", False)],
)
def test_another_issuer_is_refused(
    panel: Panel, tokens: TokenServer, issuer: str, taken: bool
) -> None:
    """Where the answer names one (RFC 9207)."""
    tokens.issuer = issuer.format(tokens.port)
    text = connect(panel, tokens)
    assert ("Connected as" in text) is taken
    assert len(tokens.asked) == taken


def test_settings_that_changed_meanwhile_are_noticed(
    panel: Panel, server: Scripted, tokens: TokenServer
) -> None:
    """The code goes to no other token service than the one that it was asked for with."""
    url = tokens.agree(begin(panel))
    with token_server() as elsewhere:
        panel.host.configure(**settings(server, tokens, oauth_token_url=elsewhere.url))
        assert "The settings have changed since" in come_back(panel, url)
        assert elsewhere.asked == tokens.asked == []


def test_a_provider_without_refresh_tokens_is_told_of(panel: Panel, tokens: TokenServer) -> None:
    """An hour of mail is worse than none."""
    tokens.gives_refresh_tokens = False
    assert "The provider gave no refresh token" in connect(panel, tokens)
    assert "Not connected" in said(panel)


@pytest.mark.parametrize(
    ("behaviour", "told"),
    [
        (service.answer(307, "", Location="https://x.test"), "a redirect, which is not followed"),
        (service.answer(200, "<html>", "text/html"), "and no JSON"),
        (service.refuse("invalid_client", f"{SECRET} is wrong", 401), "******** is wrong"),
        (service.flood, "does not end"),
    ],
)
def test_a_token_service_that_fails_is_told_of(
    panel: Panel, tokens: TokenServer, behaviour: service.Behaviour, told: str
) -> None:
    """By the rules of every other request for a token; nothing is stored."""
    tokens.behaviours = [behaviour]
    assert told in connect(panel, tokens)
    assert "Not connected" in said(panel)


def test_another_account_is_told_of(panel: Panel, server: Scripted, tokens: TokenServer) -> None:
    """On the page, in the terminal, and where the mail server refuses the token."""
    tokens.account = "boss@firm.example"
    text = connect(panel, tokens)
    assert "Connected as boss@firm.example" in text
    assert "Another account has agreed (boss@firm.example) than the one" in text
    server.answers["AUTH"] = b"535 5.7.8 bad\r\n"
    text = trial(panel)
    assert "Another account was connected" in text
    assert "boss@firm.example" in text
    assert "which is not the mailbox" in run(panel.host, "settings", "show").out
    tokens.account = None
    assert f"Connected for {MAILBOX} since" in connect(panel, tokens)
    assert "The mail server does not accept what was agreed to" in trial(panel)


def test_what_was_typed_is_not_lost(panel: Panel, tokens: TokenServer) -> None:
    """Connect and Disconnect are for what is saved."""
    connect(panel, tokens)
    for url in (CONNECT, DISCONNECT):
        for typed in ({"sender_name": "Firm"}, {"oauth_client_secret": f"{STEM}-other"}):
            answer = panel.post(url, **typed)
            assert answer.status_code == 409
            assert "Save your changes first" in answer.text
            assert all(text in answer.text for text in typed.values() if STEM not in text)
    assert "Connected as" in said(panel)


def test_who_may_only_look_sees_whether_it_is_connected(panel: Panel, tokens: TokenServer) -> None:
    """And no button."""
    connect(panel, tokens)
    panel.host.state.access = lambda right: right == "view"
    page = panel.get()
    assert f"Connected as {MAILBOX} since" in page.get_text(" ", strip=True)
    assert page.select("button[formaction]") == []


def test_it_needs_the_right_to_edit_and_a_token(panel: Panel, tokens: TokenServer) -> None:
    """To begin, to take the answer, and to end; nothing is done without (T3, T25)."""
    url = tokens.agree(begin(panel))
    before = row(panel)
    for post in (CONNECT, DISCONNECT):
        assert panel.client.post(post).status_code == 400
        assert panel.client.post(post, data={"csrf_token": "x" * 64}).status_code == 400
    panel.host.state.access = lambda right: right != "edit"
    parts = urlsplit(url)
    assert panel.client.get(f"{parts.path}?{parts.query}").status_code == 403
    for post in (CONNECT, DISCONNECT):
        assert panel.post(post).status_code == 403
    assert row(panel) == before
    assert tokens.asked == []


def test_other_sign_ins_have_nothing_to_connect(
    panel: Panel, server: Scripted, tokens: TokenServer
) -> None:
    """The page says what to do first, and so does the button of a page that is out of date."""
    panel.host.configure(**settings(server, tokens, sign_in="none"))
    assert "Fill in the fields above and save them." in said(panel)
    for url in (CONNECT, CONNECTED + "?state=x&code=y"):
        answer = panel.client.get(url) if "?" in url else panel.post(url)
        assert answer.status_code == 303
        assert "Choose the sign-in by the consent of a person" in said(panel)


# -- what mail does meanwhile ---------------------------------------------------------------


def verdict(panel: Panel) -> tuple[str, str]:
    with panel.host.app.app_context(), panel.host.state.database.reading() as connection:
        broken = connection.execute(sa.select(CHECK).where(CHECK.c.kind == "breaker")).one()
    return broken.verdict, broken.steps


def test_mail_waits_until_it_is_connected(
    panel: Panel, server: Scripted, tokens: TokenServer
) -> None:
    """The panel, the test and the terminal say so; connecting lets it leave."""
    deliver(panel)
    assert server.messages == []
    assert verdict(panel)[0] == "open"
    assert "The mailbox is not connected: nobody has agreed" in said(panel)
    assert "press “Connect mailbox” under “Authentication”, and log in as crm@" in trial(panel)
    for command in (("doctor",), ("status",), ("settings", "show")):
        assert "not connected: in the panel, press Connect mailbox" in run(
            panel.host, *command
        ).out.replace("\n", " ")
    connect(panel, tokens)
    assert verdict(panel)[0] == "closed"
    panel.host.dispatcher().drain()
    assert len(server.messages) == 1
    assert "connected as crm@firm.example" in run(panel.host, "settings", "show").out


def test_a_consent_that_ended_says_connect_again(
    panel: Panel, server: Scripted, tokens: TokenServer
) -> None:
    """It was taken back, or an answer was lost; the page, test, alert and terminal say it."""
    connect(panel, tokens)
    tokens.refresh_tokens.clear()
    change(panel, token=None)
    deliver(panel)
    assert server.messages == []
    text = said(panel)
    assert "Connect again: the provider does not count the consent any more." in text
    assert "invalid_grant: you sent ********" in text
    assert "The mailbox has to be connected again" in trial(panel)
    assert "connect the mailbox again in the panel" in run(panel.host, "doctor").out
    alert = run(panel.host, "alert").out
    assert "The mail server is in trouble" in alert
    assert "Connect the mailbox again in the panel." in alert
    connect(panel, tokens)
    panel.host.dispatcher().drain()
    assert len(server.messages) == 1
    assert "Connect again:" not in said(panel)


def test_bad_weather_uses_the_old_token_to_its_end(
    panel: Panel, server: Scripted, tokens: TokenServer
) -> None:
    """It is renewed early; if that fails, mail goes on."""
    connect(panel, tokens)
    tokens.behaviours = [service.answer(503, "")]
    change(panel, refresh_at=clock.now() - timedelta(seconds=1))
    deliver(panel)
    deliver(panel)
    assert len(server.messages) == 2
    assert len(tokens.asked) == 2  # asked again in half a minute only
    change(panel, ends_at=clock.now(), refresh_at=clock.now() - timedelta(seconds=1))
    deliver(panel)
    assert len(server.messages) == 2
    assert "Connected as" in said(panel)


def test_a_refused_token_is_tried_once_more(
    panel: Panel, server: Scripted, tokens: TokenServer
) -> None:
    """With a fresh one, as with every other sign-in by token."""
    connect(panel, tokens)
    server.answers["AUTH"] = [b"535 5.7.8 bad\r\n", b"235 ok\r\n"]
    deliver(panel)
    assert len(server.messages) == 1
    assert len(tokens.asked) == 2


def test_no_secret_of_a_consent_comes_out(
    panel: Panel, server: Scripted, tokens: TokenServer, tmp_path: Path
) -> None:
    """Codes, verifiers, refresh tokens: in no page, no log and no file (the watch looks, too)."""
    connect(panel, tokens)
    change(panel, token=None)
    deliver(panel)
    verifier = tokens.asked[0].fields["code_verifier"]
    pages = [panel.client.get(url).text for url in (HOME, HISTORY)] + [panel.post(TEST).text]
    files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    for canary in (*spellings(STEM), verifier.encode()):
        assert all(canary.decode() not in page for page in pages)
        assert all(canary not in content for content in files)


def test_google_and_microsoft_are_asked_as_they_want() -> None:
    """By the presets, and the tenant."""
    from flask_interaction_mail.settings.model import MessagingSettings, relay_of

    plain: dict[str, Any] = {"sign_in": "oauth_mailbox", "use_authentication": True}
    microsoft = relay_of(MessagingSettings(**plain, oauth_tenant="contoso.com")).grant
    assert microsoft is not None
    assert microsoft.authorization_url == grant.MICROSOFT_CONSENT.format(tenant="contoso.com")
    assert "https://outlook.office.com/SMTP.Send offline_access" in str(microsoft.scope)
    google = relay_of(MessagingSettings(**plain, oauth_token_url=grant.GOOGLE)).grant
    assert google is not None
    assert str(google.scope).startswith("https://mail.google.com/ ")
    assert "access_type=offline" in grant.GOOGLE_CONSENT


def test_head_changes_nothing(panel: Panel, tokens: TokenServer) -> None:
    """A look-ahead of a browser or a mail scanner does not use the answer up."""
    url = tokens.agree(begin(panel))
    parts = urlsplit(url)
    answer: TestResponse = panel.client.head(f"{parts.path}?{parts.query}")
    assert answer.status_code == 303
    assert "Connected as" in come_back(panel, url)
