"""Every page of the panel, in light and dark, read by axe-core: nothing that keeps people out."""

from __future__ import annotations

from typing import Any

import pytest
from flask_admin.theme import Bootstrap4Theme

from example_app.extensions import db
from flask_interaction_mail import operations, send_notification
from flask_interaction_mail.state import state_of
from tests.browser.conftest import WIDTHS, Site, fits_the_width, violations
from tests.browser.test_main_path import fill_rightly

pytestmark = pytest.mark.filterwarnings(
    "ignore:Passing SelectField choices as tuples:DeprecationWarning",
    "ignore:Yielding raw tuples:DeprecationWarning",
)
HOSTILE = "<b>‮\u05d3\u05d5\u05d3</b> & ünïcode " + "x" * 120


@pytest.fixture(params=["default", "darkly"])
def swatched(request: pytest.FixtureRequest, page: Any, site: Site) -> Any:
    """An administrator's window, with the host's pages in light or in dark."""
    (admin,) = site.app.extensions["admin"]
    before, admin.theme = admin.theme, Bootstrap4Theme(swatch=request.param)
    site.log_in(page, "amoreau")
    yield page
    admin.theme = before


def test_no_page_of_an_empty_panel_keeps_anybody_out(swatched: Any, site: Site) -> None:
    """Each tab before anything is set up, the form with its errors, a failed test, an alert's."""
    for url in _tabs(swatched, site):
        _look(swatched, url)
    swatched.goto(site.panel)
    swatched.fill("#im-smtp_port", "70000")
    swatched.get_by_role("button", name="Save").click()
    swatched.get_by_role("alert").wait_for()
    _look(swatched)
    fill_rightly(swatched, site)
    swatched.fill("#im-smtp_port", "1")
    swatched.get_by_role("button", name="Test Settings").click()
    swatched.locator("#im-test [data-im-verdict=failed]").wait_for()
    _look(swatched)
    swatched.locator("#im-alerts summary").click()
    swatched.get_by_role("button", name="Send a test alert").click()
    swatched.locator("#im-test h3", has_text="in the log only").wait_for()
    _look(swatched)


def test_no_page_of_a_filled_panel_keeps_anybody_out(swatched: Any, site: Site) -> None:
    """Each tab with messages of several states and hostile names, each message, each template."""
    with site.app.app_context():
        server = {"smtp_server": site.catcher.host, "smtp_port": site.catcher.port}
        people = {"default_to": "mail@example.com", "default_from": "crm@example.com"}
        operations.save_settings(
            state_of(),
            server | people | {"encryption": "none", "paused": True, "company_domain": "a.example"},
            base=None,
            changed_by=HOSTILE[:50],
        )
        for person, subject in (("ada@example.com", "Hello"), ("refused@example.com", HOSTILE)):
            send_notification(person, subject, text=subject, html="<p>Hello</p>")
        db.session.commit()
    for url in _tabs(swatched, site):
        _look(swatched, url)
    for overview in (site.outbox, site.panel + "templates/"):
        swatched.goto(overview)
        for url in _links(swatched, "main tbody a"):
            _look(swatched, url)
    swatched.goto(f"{site.outbox}?status=sent&reason=refused&since=x")
    _look(swatched)
    swatched.goto(site.outbox)
    swatched.check("#im-all")
    swatched.get_by_role("button", name="Resend").click()
    swatched.get_by_role("heading", name="Resend: 2 messages").wait_for()
    _look(swatched)
    swatched.get_by_role("button", name="Yes, go on").click()
    swatched.get_by_role("heading", name="Left out").wait_for()
    _look(swatched)


def _tabs(page: Any, site: Site) -> list[str]:
    page.goto(site.panel)
    return _links(page, ".im-tabs a")


def _links(page: Any, selector: str) -> list[str]:
    found = page.locator(selector).evaluate_all("links => links.map(link => link.href)")
    assert found
    return [*dict.fromkeys(found)]


def _look(page: Any, url: str | None = None) -> None:
    """Wide and narrow: nothing lies outside of the window, and axe-core has nothing to say."""
    if url:
        page.goto(url)
    page.wait_for_load_state()
    for width in (WIDTHS[0], 320):
        page.set_viewport_size({"width": width, "height": 900})
        fits_the_width(page)
        assert [*violations(page)] == [], f"{page.url} at {width}"
    page.set_viewport_size({"width": WIDTHS[0], "height": 900})
