"""From an empty panel to a passed test with Amazon SES over HTTPS, as an administrator does it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser.conftest import WIDTHS, Site, fits_the_width
from tests.servers.ses import KEY, REGION, SECRET, Ses, ses_server

pytestmark = pytest.mark.filterwarnings(
    "ignore:Passing SelectField choices as tuples:DeprecationWarning",
    "ignore:Yielding raw tuples:DeprecationWarning",
)
OF_SES = ("region", "access_key", "secret_key")
OF_SMTP = ("smtp_server", "smtp_port", "encryption", "use_authentication")


@pytest.fixture
def service() -> Iterator[Ses]:
    with ses_server(verified={"example.com"}) as running:
        yield running


@pytest.fixture
def panel(page: Any, site: Site) -> Any:
    site.log_in(page, "amoreau")
    page.goto(site.panel)
    return page


def in_sight(panel: Any, *names: str) -> list[bool]:
    return [panel.is_visible(f"#im-{name}") for name in names]


def test_the_way_of_sending_shows_its_own_fields(panel: Any) -> None:
    """And no others, also below Advanced."""
    panel.evaluate("document.getElementById('im-advanced').open = true")
    assert in_sight(panel, *OF_SMTP, "helo_name") == [True] * 5
    assert in_sight(panel, *OF_SES, "endpoint") == [False] * 4
    panel.select_option("#im-kind", "ses")
    assert in_sight(panel, *OF_SMTP, "helo_name") == [False] * 5
    assert in_sight(panel, *OF_SES, "endpoint", "ca_certificate") == [True] * 5
    assert not panel.is_visible("#im-h-auth")
    panel.select_option("#im-kind", "smtp")
    assert in_sight(panel, *OF_SMTP) == [True] * 4


def test_from_the_preset_to_a_passed_test(panel: Any, service: Ses) -> None:
    """With a double in the place of Amazon's."""
    panel.select_option("#im-preset", "amazon_ses_https")
    panel.locator("#im-preset-note ol li").first.wait_for()
    assert panel.input_value("#im-kind") == "ses"
    assert panel.locator("#im-preset-note ol li").count() == 4
    for width in WIDTHS:
        panel.set_viewport_size({"width": width, "height": 900})
        fits_the_width(panel)
    panel.evaluate("document.getElementById('im-advanced').open = true")
    fields = {"region": REGION, "access_key": KEY, "secret_key": SECRET, "endpoint": service.url}
    addresses = {"default_to": "it@example.com", "default_from": "crm@example.com"}
    for name, value in {**fields, **addresses}.items():
        panel.fill(f"#im-{name}", value)
    panel.click("[data-im-test]")
    panel.wait_for_selector("[data-im-verdict]")
    text = panel.inner_text("#im-test")
    assert "The mail server accepted the test message" in text
    assert "Signed in" in text
    assert len(service.taken) == 1
    assert SECRET not in panel.content()
    panel.click("[data-im-save]")
    panel.wait_for_url("**/messaging/")
    assert panel.input_value("#im-region") == REGION
    assert panel.input_value("#im-secret_key") == ""


def test_a_failed_test_marks_the_fields_of_the_key(panel: Any, service: Ses) -> None:
    """Those in sight, and none of a server."""
    panel.select_option("#im-kind", "ses")
    panel.evaluate("document.getElementById('im-advanced').open = true")
    fields = {"region": REGION, "access_key": KEY, "secret_key": f"{SECRET}x"}
    addresses = {"default_to": "it@example.com", "default_from": "crm@example.com"}
    for name, value in {**fields, **addresses, "endpoint": service.url}.items():
        panel.fill(f"#im-{name}", value)
    panel.click("[data-im-test]")
    panel.wait_for_selector("[data-im-verdict=failed]")
    marked = panel.locator("[data-im-tested]")
    assert {marked.nth(at).get_attribute("data-im-tested") for at in range(marked.count())} == {
        "access_key",
        "secret_key",
        "region",
    }
