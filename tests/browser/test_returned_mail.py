"""The tab Returned mail and the mailbox in the settings, in Chromium, wide and narrow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from example_app.extensions import db
from flask_interaction_mail import operations, send_notification
from flask_interaction_mail.delivery import returning
from flask_interaction_mail.state import state_of
from tests.browser.conftest import Site, fits_both_widths, violations
from tests.reports import automatic_reply, report
from tests.servers.certificates import pki
from tests.servers.imap import ImapServer, running_imap


@pytest.fixture(scope="module")
def server() -> Iterator[ImapServer]:
    with running_imap() as server:
        yield server


def test_a_mailbox_is_tested_saved_and_read(page: Any, site: Site, server: ImapServer) -> None:
    """By keyboard: the result stands beside the form; the tab shows what came back."""
    server.emptied()
    site.log_in(page, "amoreau")
    page.goto(site.panel)
    summary = page.locator("#im-returns summary")
    summary.focus()
    if page.locator("#im-returns[open]").count() == 0:
        page.keyboard.press("Enter")
    for name, text in (
        ("company_domain", "firm.example"),
        ("smtp_server", "127.0.0.1"),
        ("default_to", "data-stewards"),
        ("default_from", "crm"),
    ):
        page.fill(f"#im-{name}", text)
    page.fill("#im-returns_server", "127.0.0.1")
    page.fill("#im-returns_port", str(server.tls))
    page.fill("#im-returns_login", server.user)
    page.fill("#im-returns_password", server.password)
    page.fill("#im-returns_ca_certificate", pki().pem)
    fits_both_widths(page)
    page.locator("#im-returns button").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#im-test-shown >> text=0 messages, 0 reports, 0 of ours")
    fits_both_widths(page)
    page.click("[data-im-save]")
    page.wait_for_selector("text=Saved.")
    with site.app.app_context():
        state = state_of(site.app)
        sent = send_notification("merge-desk", "Müller & Söhne: merge?", text="Hello")
        db.session.commit()
        address = sent.recipients[0].address
        id = str(sent.message_id)
        server.put(report(id, address), report(id, address, "delayed", number=2))
        server.put(automatic_reply(id))
        returning.look(state)
    page.goto(site.panel + "returned/")
    assert page.locator("text=bounced").count() >= 1
    assert violations(page) == []
    fits_both_widths(page)
    page.locator("main form button").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("text=1 message, 0 reports, 0 of ours")
    with site.app.app_context():
        operations.save_settings(state, {"returns_server": None}, base=None, changed_by="test")
