"""How much somebody has to type and press from an empty panel to a passed test that is saved."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest

from flask_interaction_mail.admin import messaging
from flask_interaction_mail.settings.presets import PRESETS
from flask_interaction_mail.state import state_of
from tests.browser.conftest import Site
from tests.canary import STEM
from tests.servers.catcher import catcher
from tests.servers.certificates import pki

MAILBOX, PASSWORD = "crm@firm.example", f"{STEM}-of-the-mailbox"


@pytest.mark.usefixtures("trusted_ca")
def test_six_fields_and_two_clicks_with_a_password_preset(
    page: Any, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The choice of the provider is one of the fields; its server is one on this machine."""
    with catcher(login=(MAILBOX, PASSWORD), tls=pki().server(), implicit=True) as provider:
        fastmail = replace(PRESETS["fastmail"], smtp_server="localhost", smtp_port=provider.port)
        monkeypatch.setattr(messaging, "PRESETS", MappingProxyType({"fastmail": fastmail}))
        site.log_in(page, "amoreau")
        page.goto(site.panel)
        page.select_option("#im-preset", "fastmail")
        page.locator("#im-preset-note p").first.wait_for()
        for name, typed in (
            ("login", MAILBOX),
            ("password", PASSWORD),
            ("password_confirm", PASSWORD),
            ("default_to", "stewards@firm.example"),
            ("default_from", MAILBOX),
        ):
            page.fill(f"#im-{name}", typed)
        page.get_by_role("button", name="Test Settings").click()
        page.locator("#im-test [data-im-verdict=passed]").wait_for()
        page.get_by_role("button", name="Save").click()
        page.get_by_text("Saved.").wait_for()
        assert provider.logins[-1] == (MAILBOX, PASSWORD)
    assert "Tested by Alice Moreau" in page.locator("#im-badge").inner_text()
    with site.app.app_context():
        assert state_of().settings.current().settings.configured
