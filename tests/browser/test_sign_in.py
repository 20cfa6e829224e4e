"""From an empty panel to a passed test with OAuth 2, as an administrator does it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser.conftest import WIDTHS, Site, fits_the_width
from tests.canary import PASSWORD
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
