"""A host with Flask-Talisman and the strict policy of the page about other extensions."""

from __future__ import annotations

from typing import Any

from flask_talisman import Talisman  # type: ignore[import-untyped]

from example_app.extensions import admin, db
from flask_interaction_mail import operations, send_notification
from flask_interaction_mail.state import state_of
from tests.browser.conftest import Site
from tests.documentation import shown


def test_no_page_of_the_panel_violates_a_strict_policy(
    page: Any, site: Site, monkeypatch: Any
) -> None:
    """With nonces, and no frame allowed: the browser refuses nothing on any page."""
    monkeypatch.setattr(admin, "csp_nonce_generator", None)
    block = shown("docs/hosts.md", "frame_options")
    # The test's server has no certificate.
    plain = block.replace("    app,\n", "    app,\n    force_https=False,\n")
    exec(plain, {"app": site.app, "admin": admin, "Talisman": Talisman})  # noqa: S102
    with site.app.app_context():
        values = {"smtp_server": site.catcher.host, "smtp_port": site.catcher.port}
        people = {"default_to": "mail@example.com", "default_from": "crm@example.com"}
        operations.save_settings(
            state_of(), values | people | {"encryption": "none"}, base=None, changed_by=""
        )
        sent = send_notification("ada@example.com", "Hello", text="Hello", html="<p>Hello</p>")
        db.session.commit()
    refused: list[str] = []
    page.on("console", lambda said: refused.append(said.text) if "Policy" in said.text else None)
    site.log_in(page, "amoreau")
    tabs = page.goto(site.panel) and page.locator(".im-tabs a").evaluate_all(
        "links => links.map(link => link.href)"
    )
    assert len(tabs) == 8
    for url in (*tabs, f"{site.outbox}{sent.id}/"):
        answer = page.goto(url)
        assert answer.ok, url
        assert "nonce-" in answer.headers["content-security-policy"]
        page.wait_for_load_state("networkidle")
        assert refused == [], url
    page.goto(site.panel)
    page.get_by_role("button", name="Test Settings").click()
    page.locator("#im-test [data-im-verdict=passed]").wait_for()
    assert refused == []
