"""Several relays in the form, with mouse and keyboard, wide and narrow, in English and German."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from flask_interaction_mail.state import state_of
from tests.browser.conftest import WIDTHS, Site, fits_the_width, violations
from tests.canary import PASSWORD
from tests.catalogues import chooser
from tests.length import LONG
from tests.servers.scripted import Scripted, scripted

pytestmark = pytest.mark.filterwarnings(
    "ignore:Passing SelectField choices as tuples:DeprecationWarning",
    "ignore:Yielding raw tuples:DeprecationWarning",
)


@pytest.fixture
def backup() -> Iterator[Scripted]:
    with scripted() as server:
        yield server


@pytest.fixture
def panel(page: Any, site: Site) -> Any:
    """The form of one relay, filled in."""
    site.log_in(page, "amoreau")
    page.goto(site.panel)
    page.fill("#im-company_domain", "firm.example")
    page.fill("#im-smtp_server", "127.0.0.1")
    page.fill("#im-smtp_port", str(site.catcher.port))
    page.select_option("#im-encryption", "none")
    page.fill("#im-smtp_port", str(site.catcher.port))
    page.fill("#im-default_to", "data-stewards")
    page.fill("#im-default_from", "crm")
    return page


def add(panel: Any, name: str) -> None:
    """Add a relay, as a person does who uses the keyboard."""
    if panel.locator("#im-advanced:not([open]) #im-relay_name").count():
        panel.locator("#im-advanced > summary").click()
    panel.fill("#im-relay_name", name)
    panel.focus("#im-add")
    panel.keyboard.press("Enter")
    panel.locator(f"[data-im-relay={name}]").wait_for()


def order(panel: Any) -> list[str]:
    """The relays on the page, from top to bottom."""
    found: list[str] = panel.locator("[data-im-relay]").evaluate_all(
        "all => all.map(one => one.getAttribute('data-im-relay'))"
    )
    return found


def look(panel: Any) -> None:
    """Wide and narrow, nothing lies outside; axe-core reads the narrow one, or in long both."""
    for width in WIDTHS:
        panel.set_viewport_size({"width": width, "height": 900})
        fits_the_width(panel)
        if LONG or width == WIDTHS[-1]:
            assert violations(panel) == []
    panel.set_viewport_size({"width": WIDTHS[0], "height": 900})


def test_add_fill_move_test_save_and_remove(panel: Any, site: Site, backup: Scripted) -> None:
    """The way of a second relay, by keyboard; what was typed stays, secrets too."""
    panel.check("#im-use_authentication")
    panel.fill("#im-password", PASSWORD)
    add(panel, "backup")
    assert order(panel) == ["default", "backup"]
    assert panel.input_value("#im-password") == PASSWORD
    assert panel.evaluate("document.activeElement.id") == "im-relays-backup-smtp_server"
    panel.keyboard.type("127.0.0.1")
    panel.select_option("#im-relays-backup-encryption", "none")
    panel.fill("#im-relays-backup-smtp_port", str(backup.port))
    panel.locator("[data-im-relay=default] summary").click()
    panel.fill("#im-password", "")
    panel.uncheck("#im-use_authentication")
    look(panel)

    panel.focus("#im-relays-backup-smtp_port")
    panel.keyboard.press("Alt+ArrowUp")
    panel.get_by_text("“backup” is number 1 now.").wait_for()
    assert order(panel) == ["backup", "default"]
    assert panel.evaluate("document.activeElement.id") == "im-down-backup"
    assert panel.input_value("#im-relays-backup-smtp_port") == str(backup.port)

    panel.get_by_role("button", name="Test “backup”").click()
    panel.locator("#im-test [data-im-verdict]").wait_for()
    assert "backup: Server 127.0.0.1" in panel.locator("#im-test").inner_text()
    assert backup.messages
    assert [*site.catcher.inbox] == []
    assert "Tested by" in panel.locator("[data-im-badge-of=backup]").inner_text()
    assert "Never tested" not in panel.locator("[data-im-badge-of=default]").inner_text()

    panel.get_by_role("button", name="Save").click()
    panel.get_by_text("Saved.").wait_for()
    with site.app.app_context():
        assert state_of().settings.current().settings.relays == ("backup", "default")
    panel.focus("#im-remove-backup")
    panel.keyboard.press("Enter")
    panel.get_by_text("“backup” is removed once you press Save.").wait_for()
    assert panel.locator("[data-im-relay]").count() == 0
    panel.get_by_role("button", name="Save").click()
    panel.get_by_text("Saved.").wait_for()
    with site.app.app_context():
        assert state_of().settings.current().settings.relays == ("default",)


def test_each_relay_shows_the_fields_of_its_own_sign_in(panel: Any) -> None:
    """A choice in one of them changes nothing in the other."""
    add(panel, "backup")
    panel.locator("[data-im-relay=default] summary").click()
    panel.check("#im-relays-backup-use_authentication")
    assert panel.locator("#im-relays-backup-login").is_visible()
    assert not panel.locator("#im-login").is_visible()
    panel.select_option("#im-relays-backup-encryption", "tls")
    assert panel.input_value("#im-relays-backup-smtp_port") == "465"
    panel.select_option("#im-preset_relay", "backup")
    panel.select_option("#im-preset", "microsoft365")
    panel.locator("#im-preset-note ol li").first.wait_for()
    assert panel.input_value("#im-relays-backup-smtp_server") == "smtp.office365.com"
    assert panel.input_value("#im-smtp_server") == "127.0.0.1"


def test_a_wrong_name_is_said_at_its_field(panel: Any) -> None:
    """And nothing is added."""
    panel.locator("#im-advanced > summary").click()
    panel.fill("#im-relay_name", "no good!")
    panel.click("#im-add")
    panel.locator("#im-relay_name-error").wait_for()
    assert panel.evaluate("document.activeElement.id") == "im-relay_name"
    assert "letters" in panel.locator("#im-relay_name-error").inner_text()
    assert panel.input_value("#im-smtp_server") == "127.0.0.1"
    look(panel)


def test_it_fits_in_german(panel: Any, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list, its buttons and its errors."""
    panel.get_by_role("button", name="Save").click()
    panel.get_by_text("Saved.").wait_for()
    chooser(site.app, monkeypatch)("de")
    panel.goto(site.panel)
    add(panel, "backup")
    assert "Mailserver in ihrer Reihenfolge" in panel.locator("#im-relays").inner_text()
    look(panel)
    panel.get_by_role("button", name="Speichern").click()
    panel.get_by_role("alert").wait_for()
    assert "backup: SMTP-Server" in panel.get_by_role("alert").inner_text()
    look(panel)


def test_a_relay_shows_what_its_kind_needs(panel: Any) -> None:
    """Nothing of a mail server, and no mailbox to connect, where it is Amazon SES."""
    add(panel, "amazon")
    own = "#im-relays-amazon-"
    panel.check(f"{own}use_authentication")
    panel.select_option(f"{own}sign_in", "oauth_mailbox")
    mailbox, region = panel.locator("#im-mailbox-amazon"), panel.locator(f"{own}region")
    assert (mailbox.is_visible(), region.is_visible()) == (True, False)
    panel.select_option(f"{own}kind", "ses")
    assert (mailbox.is_visible(), region.is_visible()) == (False, True)
    assert not panel.locator(f"{own}smtp_server").is_visible()
    assert panel.locator("#im-smtp_server").count() == 1
    panel.locator("[data-im-relay=default] summary").click()
    assert panel.locator("#im-smtp_server").is_visible()
    look(panel)
