"""The panel in German and French, whose words are longer: each page fits and says its language.

axe-core reads the narrow ones in German; ``FIM_LONG=1`` has it read the wide ones, too.
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
TABS = [
    "Einstellungen",
    "Postausgang",
    "Rückläufer",
    "Aktivität",
    "Erklären",
    "Abdeckung",
    "Vorlagen",
    "Verlauf",
]
TABS_IN_FRENCH = [
    "Paramètres",
    "Boîte d’envoi",
    "E-mails retournés",
    "Activité",
    "Expliquer",
    "Couverture",
    "Modèles",
    "Historique",
]


@pytest.fixture
def german(page: Any, busy: Site, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An administrator's window, with the panel in German."""
    return opened(page, busy, monkeypatch, "de")


def opened(page: Any, busy: Site, monkeypatch: pytest.MonkeyPatch, language: str) -> Any:
    chooser(busy.app, monkeypatch)(language)
    busy.log_in(page, "amoreau")
    page.goto(busy.panel)
    return page


def test_each_page_fits_in_german(german: Any, busy: Site) -> None:
    """Its tabs, a message, a template, the errors of the form and a test that fails."""
    with busy.app.app_context():
        for subject in ("Hello", "Quarterly report of the northern branch"):
            send_notification("ada@example.com", subject, text=subject)
        db.session.commit()
    for url in tabs_of(german, TABS):
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


def test_each_tab_fits_in_french(page: Any, busy: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wide and narrow; whether anybody is kept out is the same as in German."""
    for url in tabs_of(opened(page, busy, monkeypatch, "fr"), TABS_IN_FRENCH):
        page.goto(url)
        for width in (NARROWEST, WIDTHS[0]):
            page.set_viewport_size({"width": width, "height": 900})
            fits_the_width(page)
        assert page.locator("div.im").first.get_attribute("lang") == "fr"


def tabs_of(page: Any, names: list[str]) -> list[str]:
    """The addresses of the tabs, which are called ``names``."""
    tabs = page.locator(".im-tabs a")
    assert [name.split("\n")[0].rstrip(" 0123456789") for name in tabs.all_inner_texts()] == names
    found: list[str] = tabs.evaluate_all("links => links.map(link => link.href)")
    return found


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
