"""From an empty panel to a passed test with OAuth 2, as an administrator does it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser.conftest import WIDTHS, Site, fits_both_widths, fits_the_width, violations
from tests.canary import PASSWORD
from tests.catalogues import chooser
from tests.servers import token_server as service
from tests.servers.keys import service_account_json
from tests.servers.scripted import Scripted, scripted
from tests.servers.token_server import CLIENT, SECRET, TokenServer, token_server

pytestmark = pytest.mark.filterwarnings(
    "ignore:Passing SelectField choices as tuples:DeprecationWarning",
    "ignore:Yielding raw tuples:DeprecationWarning",
)
TOKENS = {"microsoft365": "oauth_application", "google_workspace": "oauth_service_account"}


@pytest.fixture
def panel(page: Any, site: Site) -> Any:
    site.log_in(page, "amoreau")
    page.goto(site.panel)
    return page


@pytest.fixture
def servers() -> Iterator[tuple[Scripted, TokenServer]]:
    with (
        scripted({"EHLO": b"250-x\r\n250 AUTH XOAUTH2\r\n"}) as mail,
        token_server() as tokens,
    ):
        yield mail, tokens


def shown(panel: Any) -> set[str]:
    """The fields of the sign-in that are in sight."""
    names = panel.evaluate(
        """() => [...document.querySelectorAll("#im-auth [name]")]
             .filter(field => field.offsetParent).map(field => field.name)"""
    )
    return set(names)


def test_each_sign_in_shows_its_own_fields(panel: Any) -> None:
    """And no others; a field with an error stays in sight."""
    panel.check("#im-use_authentication")
    fields = {
        "password": {"sign_in", "login", "password", "password_confirm"},
        "oauth_service_account": {
            *("sign_in", "oauth_mailbox", "oauth_service_account", "oauth_token_url"),
            "oauth_scope",
        },
        "oauth_mailbox": {
            *("sign_in", "oauth_mailbox", "oauth_tenant", "oauth_client_id", "oauth_expires"),
            *("oauth_client_secret", "oauth_authorization_url", "oauth_token_url", "oauth_scope"),
        },
        "host": {"sign_in", "oauth_mailbox"},
        "none": {"sign_in"},
    }
    for sign_in, wanted in fields.items():
        panel.select_option("#im-sign_in", sign_in)
        assert shown(panel) == wanted
    panel.uncheck("#im-use_authentication")
    assert shown(panel) == set()


@pytest.mark.parametrize("preset", TOKENS)
def test_from_a_preset_to_a_passed_test(
    panel: Any, servers: tuple[Scripted, TokenServer], preset: str
) -> None:
    """With doubles in the place of the provider's servers."""
    mail, tokens = servers
    panel.select_option("#im-preset", preset)
    panel.locator("#im-preset-note ol li").first.wait_for()
    assert panel.input_value("#im-sign_in") == TOKENS[preset]
    assert panel.locator("#im-preset-note ol li").count() >= 4
    for width in WIDTHS:
        panel.set_viewport_size({"width": width, "height": 900})
        fits_the_width(panel)
    panel.fill("#im-smtp_server", "127.0.0.1")
    panel.select_option("#im-encryption", "none")
    panel.fill("#im-smtp_port", str(mail.port))
    panel.evaluate("document.getElementById('im-advanced').open = true")
    panel.check("#im-allow_unencrypted_auth")
    panel.fill("#im-default_to", "it@example.com")
    panel.fill("#im-default_from", "crm@example.com")
    if preset == "microsoft365":
        panel.fill("#im-oauth_tenant", "contoso.com")
        panel.fill("#im-oauth_token_url", tokens.url)
        panel.fill("#im-oauth_client_id", CLIENT)
        panel.fill("#im-oauth_client_secret", SECRET)
    else:
        panel.fill("#im-oauth_service_account", service_account_json(tokens.url))
    panel.click("[data-im-test]")
    panel.wait_for_selector("[data-im-verdict]")
    text = panel.inner_text("#im-test")
    assert "The mail server accepted the test message" in text
    assert "Access token received" in text
    assert len(mail.messages) == 1
    assert PASSWORD not in panel.content()


def test_a_failed_test_marks_a_field_that_is_hidden(
    panel: Any, servers: tuple[Scripted, TokenServer]
) -> None:
    """The mailbox is wanted where the token was refused."""
    mail, tokens = servers
    mail.answers["AUTH"] = b"535 5.7.3 Authentication unsuccessful\r\n"
    test_from = {"#im-smtp_server": "127.0.0.1", "#im-smtp_port": str(mail.port)}
    panel.check("#im-use_authentication")
    panel.select_option("#im-sign_in", "oauth_application")
    panel.select_option("#im-encryption", "none")
    panel.evaluate("document.getElementById('im-advanced').open = true")
    panel.check("#im-allow_unencrypted_auth")
    addresses = {"#im-default_to": "it@example.com", "#im-default_from": "crm@example.com"}
    secrets = {"#im-oauth_client_id": CLIENT, "#im-oauth_client_secret": SECRET}
    for field, value in {**test_from, **addresses, **secrets}.items():
        panel.fill(field, value)
    panel.fill("#im-oauth_token_url", tokens.url)
    panel.click("[data-im-test]")
    panel.wait_for_selector("[data-im-verdict]")
    assert "does not accept the access token" in panel.inner_text("#im-test")
    assert panel.get_attribute("#im-oauth_mailbox", "aria-invalid") == "true"


@pytest.fixture
def consent() -> Iterator[tuple[Scripted, TokenServer]]:
    with (
        scripted({"EHLO": b"250-x\r\n250 AUTH XOAUTH2\r\n"}) as mail,
        token_server(service.by_consent) as tokens,
    ):
        tokens.account = "crm@example.com"
        tokens.code = "code"  # in the access log, where it is good for nothing any more
        yield mail, tokens


def fill_in_consent(panel: Any, mail: Scripted, tokens: TokenServer) -> None:
    """The preset, with doubles in the place of the provider's servers, and Save."""
    panel.select_option("#im-preset", "google_consent")
    panel.locator("#im-preset-note ol li").first.wait_for()
    assert panel.input_value("#im-oauth_token_url").startswith("https://oauth2.googleapis.com/")
    panel.select_option("#im-encryption", "none")
    panel.evaluate("document.getElementById('im-advanced').open = true")
    panel.check("#im-allow_unencrypted_auth")
    for field, value in {
        "smtp_server": "127.0.0.1",
        "smtp_port": str(mail.port),
        "default_to": "it@example.com",
        "default_from": "crm@example.com",
        "oauth_client_id": CLIENT,
        "oauth_client_secret": SECRET,
        "oauth_scope": "mail",
        "oauth_authorization_url": tokens.authorization_url + "?access_type=offline",
        "oauth_token_url": tokens.url,
    }.items():
        panel.fill(f"#im-{field}", value)
    assert "save them" in panel.inner_text("#im-mailbox")
    panel.click("[data-im-save]")
    panel.locator("#im-mailbox button[formaction$=connect]").wait_for()


def test_a_person_connects_the_mailbox(panel: Any, consent: tuple[Scripted, TokenServer]) -> None:
    """From the preset to a passed test, with the button, the provider's page, and back."""
    mail, tokens = consent
    fill_in_consent(panel, mail, tokens)
    redirect_url = panel.inner_text("#im-redirect-url")
    assert redirect_url.endswith("/admin/messaging/connected")
    assert "Not connected: mail waits" in panel.inner_text("#im-mailbox")
    assert violations(panel) == []
    fits_both_widths(panel)
    panel.focus("#im-mailbox button[formaction$=connect]")
    panel.keyboard.press("Enter")
    panel.wait_for_url("**/authorize?**")
    panel.click("#deny")
    panel.locator("#im-mailbox").wait_for()
    assert "The person did not agree" in panel.inner_text("body")
    panel.click("#im-mailbox button[formaction$=connect]")
    panel.click("#agree")
    panel.locator("#im-mailbox button[formaction$=disconnect]").wait_for()
    assert "Connected as crm@example.com since" in panel.inner_text("#im-mailbox")
    assert "code=" not in panel.url
    assert tokens.authorizations[-1]["redirect_uri"] == redirect_url
    assert violations(panel) == []
    fits_both_widths(panel)
    panel.click("[data-im-test]")
    panel.wait_for_selector("[data-im-verdict]")
    assert "The mail server accepted the test message" in panel.inner_text("#im-test")
    assert len(mail.messages) == 1
    panel.reload()
    panel.click("#im-mailbox button[formaction$=disconnect]")
    panel.locator("#im-mailbox button[formaction$=connect]").wait_for()
    assert "Not connected: mail waits" in panel.inner_text("#im-mailbox")


def test_an_answer_of_another_browser_connects_nothing(
    panel: Any, site: Site, chromium: Any, consent: tuple[Scripted, TokenServer]
) -> None:
    """An administrator who follows somebody's link is told, and their own answer works once."""
    mail, tokens = consent
    fill_in_consent(panel, mail, tokens)
    panel.click("#im-mailbox button[formaction$=connect]")
    mine = panel.get_attribute("#agree", "href")
    context = chromium.new_context()
    other = context.new_page()
    site.log_in(other, "amoreau")
    other.goto(mine)
    assert "was not asked for in this session" in other.inner_text("body")
    context.close()
    for said in ("The mailbox is connected", "was used before"):
        panel.goto(mine)
        assert said in panel.inner_text("body")
    assert len(tokens.asked) == 1


def test_the_connection_in_german(
    panel: Any,
    site: Site,
    monkeypatch: pytest.MonkeyPatch,
    consent: tuple[Scripted, TokenServer],
) -> None:
    """All of it, at both widths."""
    mail, tokens = consent
    fill_in_consent(panel, mail, tokens)
    chooser(site.app, monkeypatch)("de")
    panel.reload()
    assert "Nicht verbunden: E-Mails warten" in panel.inner_text("#im-mailbox")
    fits_both_widths(panel)
    panel.click("#im-mailbox button[formaction$=connect]")
    panel.click("#agree")
    panel.locator("#im-mailbox button[formaction$=disconnect]").wait_for()
    assert "Verbunden als crm@example.com seit" in panel.inner_text("#im-mailbox")
    assert "Verbindung trennen" in panel.inner_text("#im-mailbox")
    assert violations(panel) == []
    fits_both_widths(panel)
