"""The main job with a real browser: set up e-mail, be denied a merge, see the request arrive."""

from __future__ import annotations

from typing import Any

import pytest

from example_app.seed import PASSWORD
from tests.browser.conftest import Site, fits_both_widths

# Flask-Admin hands its choices to WTForms 3.3 in the old way.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Passing SelectField choices as tuples:DeprecationWarning",
    "ignore:Yielding raw tuples:DeprecationWarning",
)


def log_in(page: Any, site: Site, login: str) -> None:
    """Log in as one of the demo's people."""
    page.context.clear_cookies()
    page.goto(site.url + "login")
    page.fill("#login", login)
    page.fill("#password", PASSWORD)
    page.get_by_role("button", name="Log in").click()


def fill_rightly(page: Any, site: Site) -> None:
    """Type settings that work with the demo's mail server."""
    page.fill("#im-company_domain", "@example.com")
    page.fill("#im-smtp_server", site.catcher.host)
    page.select_option("#im-encryption", "none")
    page.fill("#im-smtp_port", str(site.catcher.port))
    page.fill("#im-default_to", "mailadmin")
    page.fill("#im-default_from", "crm")


def test_r1_r26_r46_r47_r57_from_an_empty_panel_to_a_delivered_request(
    page: Any, site: Site
) -> None:
    """Wrong settings, right settings, Test Settings, Save; then a request that is delivered."""
    log_in(page, site, "amoreau")
    page.goto(site.panel)
    page.fill("#im-smtp_server", "no server")
    page.fill("#im-smtp_port", "70000")
    page.get_by_role("button", name="Save").click()
    summary = page.get_by_role("alert")
    assert "Nothing was saved" in summary.inner_text()
    assert page.input_value("#im-smtp_port") == "70000"
    summary.get_by_role("link", name="Port").click()
    assert page.evaluate("document.activeElement.id") == "im-smtp_port"

    fill_rightly(page, site)
    page.get_by_role("button", name="Test Settings").click()
    result = page.locator("#im-test")
    result.locator("[data-im-verdict=passed]").wait_for()
    assert page.input_value("#im-default_to") == "mailadmin"

    page.get_by_role("button", name="Save").click()
    page.get_by_text("Saved.").wait_for()
    assert "Tested by Alice Moreau" in page.locator(".im-badge").inner_text()
    fits_both_widths(page)
    page.get_by_role("button", name="Test Settings").click()
    result.locator("[data-im-verdict=passed]").wait_for()
    fits_both_widths(page)

    log_in(page, site, "emroberts")
    page.get_by_role("link", name="Merge… Acme Ltd").or_(
        page.get_by_role("link", name="Merge… ACME Limited")
    ).first.click()
    page.get_by_role("button", name="Merge").click()
    assert "Data Stewards" in page.locator("#request").inner_text()
    _delivered(page, site)

    log_in(page, site, "amoreau")
    page.goto(site.outbox)
    row = page.get_by_role("row").filter(has_text="Acme")
    assert "datastewards@example.com" in row.inner_text()
    assert "sent" in row.inner_text()
    fits_both_widths(page)
    row.get_by_role("link").click()
    page.get_by_role("heading", name="Why these people").wait_for()
    assert "Data Stewards" in page.locator(".im-route").inner_text()
    assert "250" in page.locator("main").inner_text()


def _delivered(page: Any, site: Site) -> None:
    for _ in range(100):
        page.goto(site.url + "inbox/")
        letters = page.get_by_role("link").filter(has_text="merge")
        if letters.count():
            letters.first.click()
            assert "Emma Roberts" in page.locator("main").inner_text()
            return
        page.wait_for_timeout(100)
    raise AssertionError("the request did not arrive")


def test_r56_typed_values_survive_a_test_without_javascript(chromium: Any, site: Site) -> None:
    """The result is shown in a tab of its own; the form is not reloaded."""
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    site.log_in(page, "amoreau")
    page.goto(site.panel)
    fill_rightly(page, site)
    page.fill("#im-password", "typed-once")
    page.fill("#im-password_confirm", "typed-once")
    with page.expect_popup() as opened:
        page.get_by_role("button", name="Test Settings").click()
    opened.value.locator("[data-im-verdict=passed]").wait_for()
    opened.value.locator(".im-running").wait_for(state="hidden")
    assert page.url == site.panel
    assert page.input_value("#im-password") == "typed-once"
    assert page.input_value("#im-smtp_port") == str(site.catcher.port)
    context.close()
