"""Every page of the panel, in light and dark, read by axe-core: nothing that keeps people out.

A page is wide in the dark; ``test_german`` has it narrow in the light. ``FIM_LONG=1`` has all
four.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from example_app.extensions import db
from flask_interaction_mail import operations, send_notification
from flask_interaction_mail.state import state_of
from tests.browser.conftest import WIDTHS, Site, fits_the_width, violations
from tests.browser.test_main_path import fill_rightly
from tests.catalogues import chooser
from tests.length import LONG
from tests.servers.names import name_server

pytestmark = pytest.mark.filterwarnings(
    "ignore:Passing SelectField choices as tuples:DeprecationWarning",
    "ignore:Yielding raw tuples:DeprecationWarning",
)
HOSTILE = "<b>‮\u05d3\u05d5\u05d3</b> & ünïcode " + "x" * 120


# The colour of the page tells when a theme of Flask-Admin is there.
THEMES = {"default": "rgb(255, 255, 255)", "darkly": "rgb(34, 34, 34)"}
_DRESS = """theme => {
  const [sheet, base] = document.querySelectorAll("link[href*='/bootstrap.min.css']");
  sheet.href = sheet.href.replace(/swatch\\/\\w+/, `swatch/${theme}`);
  base.disabled = theme !== "default";
}"""
SIZES = (WIDTHS[0], 320)
# A page comes in the first theme, and goes on in it.
SIGHTS = [*product(("darkly", "default"), SIZES)] if LONG else [("darkly", SIZES[0])]
_IN_FORCE = "colour => getComputedStyle(document.body).backgroundColor === colour"


@pytest.fixture
def window(page: Any, site: Site) -> Any:
    """An administrator's, where no colour comes gradually."""
    page.emulate_media(reduced_motion="reduce")
    site.log_in(page, "amoreau")
    return page


def test_no_page_of_an_empty_panel_keeps_anybody_out(window: Any, site: Site) -> None:
    """Each tab before anything is set up, the form with its errors, a failed test, an alert's."""
    for url in _tabs(window, site):
        _look(window, url)
    window.goto(site.panel)
    window.fill("#im-smtp_port", "70000")
    window.get_by_role("button", name="Save").click()
    window.get_by_role("alert").wait_for()
    _look(window)
    fill_rightly(window, site)
    window.fill("#im-smtp_port", "1")
    window.get_by_role("button", name="Test Settings").click()
    window.locator("#im-test [data-im-verdict=failed]").wait_for()
    _look(window)
    window.locator("#im-alerts summary").click()
    window.get_by_role("button", name="Send a test alert").click()
    window.locator("#im-test h3", has_text="in the log only").wait_for()
    _look(window)


def test_no_page_of_a_filled_panel_keeps_anybody_out(window: Any, site: Site) -> None:
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
    for url in _tabs(window, site):
        _look(window, url)
    for overview in (site.outbox, site.panel + "templates/"):
        window.goto(overview)
        for url in _links(window, "main tbody a"):
            _look(window, url)
    window.goto(f"{site.outbox}?status=sent&reason=refused&since=x")
    _look(window)
    window.goto(site.outbox)
    window.check("#im-all")
    window.get_by_role("button", name="Resend").click()
    window.get_by_role("heading", name="Resend: 2 messages").wait_for()
    _look(window)
    window.get_by_role("button", name="Yes, go on").click()
    window.get_by_role("heading", name="Left out").wait_for()
    _look(window)


def test_no_answer_of_a_page_keeps_anybody_out(window: Any, site: Site) -> None:
    """Who would get a request, what DNS says, another's changes, a restore, an ended session."""
    _save(site, smtp_server="mail.example.com", default_to="it", default_from="crm")
    _look(window, site.panel + "explain?location=Firm+List")
    with name_server() as server:
        state = site.app.extensions["interaction_mail"]
        state.config = state.config._replace(name_servers=(("127.0.0.1", server.port),))
        server.add("example.com", "MX 10 mail.example.com.", 'TXT "v=spf1 +all"')
        window.goto(site.panel + "coverage/")
        window.get_by_role("button", name="Check DNS").click()
        window.locator(".im-finding").first.wait_for()
        _look(window)
    window.goto(site.panel)
    window.fill("#im-smtp_server", "mine.example.com")
    _save(site, smtp_server="theirs.example.com")
    window.get_by_role("button", name="Save").click()
    window.get_by_role("alert").wait_for()
    _look(window)
    window.goto(site.panel + "history/")
    window.locator("main a", has_text="1").last.click()
    _look(window)
    window.goto(site.panel)
    window.fill("#im-smtp_server", "mine.example.com")
    window.context.clear_cookies()
    window.get_by_role("button", name="Save").click()
    window.get_by_text("Your session has ended").wait_for()
    _look(window)


def test_no_page_without_a_script_keeps_anybody_out(chromium: Any, busy: Site) -> None:
    """Each tab, a message and a template as they come: axe-core is the only script that runs."""
    context = chromium.new_context(reduced_motion="reduce")
    context.route("**/*.js*", lambda route: route.abort())
    page = context.new_page()
    page.set_default_timeout(15_000)
    busy.log_in(page, "amoreau")
    with busy.app.app_context():
        send_notification("ada@example.com", HOSTILE, text=HOSTILE, html="<p>Hello</p>")
        db.session.commit()
    for url in _tabs(page, busy):
        _look(page, url)
    for overview in (busy.outbox, busy.panel + "templates/"):
        page.goto(overview)
        _look(page, _links(page, "main tbody a")[0])
    page.goto(busy.panel)
    assert page.locator("[data-im-preset-go]").is_visible()  # a script would hide it
    context.close()


@pytest.mark.long  # each tab is read in German, and in the dark
def test_no_page_in_german_and_dark_keeps_anybody_out(
    window: Any, busy: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The longer words in the dark theme: each tab, a message and an error of the form."""
    chooser(busy.app, monkeypatch)("de")
    with busy.app.app_context():
        send_notification("ada@example.com", HOSTILE, text=HOSTILE, html="<p>Hello</p>")
        db.session.commit()
    tabs = _tabs(window, busy)
    window.goto(busy.outbox)
    for url in [*tabs, _links(window, "main tbody a")[0]]:
        window.goto(url)
        assert window.locator(".im").get_attribute("lang") == "de"
        _look(window, url, only="darkly")
    window.goto(busy.panel)
    window.fill("#im-smtp_port", "70000")
    window.get_by_role("button", name="Speichern").click()
    window.get_by_role("alert").wait_for()
    _look(window, only="darkly")


def _save(site: Site, **values: object) -> None:
    own = {"company_domain": "example.com", "encryption": "none"}
    with site.app.app_context():
        operations.save_settings(state_of(), own | values, base=None, changed_by="Ben")


def _tabs(page: Any, site: Site) -> list[str]:
    page.goto(site.panel)
    return _links(page, ".im-tabs a")


def _links(page: Any, selector: str) -> list[str]:
    found = page.locator(selector).evaluate_all("links => links.map(link => link.href)")
    assert found
    return [*dict.fromkeys(found)]


def _look(page: Any, url: str | None = None, only: str = "") -> None:
    """Wide and narrow, light and dark: all is inside, and axe-core has nothing to say."""
    if url:
        page.goto(url)
    page.wait_for_load_state()
    for theme, width in SIGHTS:
        if only in ("", theme):
            page.evaluate(_DRESS, theme)
            page.wait_for_function(_IN_FORCE, arg=THEMES[theme])
            page.set_viewport_size({"width": width, "height": 900})
            fits_the_width(page)
            assert violations(page) == [], f"{page.url} at {width}, {theme}"
    page.set_viewport_size({"width": WIDTHS[0], "height": 900})
