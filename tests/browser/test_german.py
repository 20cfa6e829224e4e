"""The panel in German, whose words are longer: each page fits, and is said to be German.

axe-core reads the narrow ones; ``FIM_LONG=1`` has it read the wide ones, too.
"""

from __future__ import annotations

from typing import Any

import pytest

from example_app.extensions import db
from flask_interaction_mail import send_notification
from tests.browser.conftest import WIDTHS, Site, fits_the_width, violations
from tests.catalogues import chooser
from tests.length import LONG

NARROWEST = 320
TABS = ["Einstellungen", "Postausgang", "Aktivität", "Erklären", "Abdeckung", "Vorlagen", "Verlauf"]


@pytest.fixture
def german(page: Any, busy: Site, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An administrator's window, with the panel in German."""
    chooser(busy.app, monkeypatch)("de")
    busy.log_in(page, "amoreau")
    page.goto(busy.panel)
    return page


def test_each_page_fits_in_german(german: Any, busy: Site) -> None:
    """Its tabs, a message, a template, the errors of the form and a test that fails."""
    with busy.app.app_context():
        for subject in ("Hello", "Quarterly report of the northern branch"):
            send_notification("ada@example.com", subject, text=subject)
        db.session.commit()
    tabs = german.locator(".im-tabs a")
    assert [name.split("\n")[0].rstrip(" 0123456789") for name in tabs.all_inner_texts()] == TABS
    for url in tabs.evaluate_all("links => links.map(link => link.href)"):
        look(german, url)
    for overview in (busy.outbox, busy.panel + "templates/"):
        german.goto(overview)
        look(german, german.locator("main tbody a").first.evaluate("link => link.href"))
    german.goto(busy.panel)
    german.fill("#im-smtp_port", "1")
    german.get_by_role("button", name="Einstellungen testen").click()
    failed = german.locator("#im-test [data-im-verdict=failed]")
    failed.wait_for()
    assert "Verbindung" in german.locator("#im-test").inner_text()
    look(german)
    german.fill("#im-smtp_port", "70000")
    german.get_by_role("button", name="Speichern").click()
    german.get_by_role("alert").wait_for()
    assert "Port" in german.get_by_role("alert").inner_text()
    look(german)


def look(german: Any, url: str | None = None) -> None:
    """Wide and narrow: nothing lies outside of the window or keeps anybody out; it is German."""
    if url:
        german.goto(url)
    german.wait_for_load_state()
    for width in (WIDTHS[0], NARROWEST):
        german.set_viewport_size({"width": width, "height": 900})
        fits_the_width(german)
        if LONG or width == NARROWEST:
            assert violations(german) == [], f"{german.url} at {width}"
    german.set_viewport_size({"width": WIDTHS[0], "height": 900})
    assert german.locator("div.im").first.get_attribute("lang") == "de"
