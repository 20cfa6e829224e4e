"""The Templates tab in a real browser."""

from __future__ import annotations

from typing import Any

import pytest

from flask_interaction_mail import operations
from flask_interaction_mail.state import state_of
from tests.browser.conftest import Site, fits_both_widths, fits_the_width
from tests.browser.test_mails import CONTRAST, contrast

pytestmark = pytest.mark.filterwarnings(
    "ignore:Passing SelectField choices as tuples:DeprecationWarning",
    "ignore:Yielding raw tuples:DeprecationWarning",
)


@pytest.fixture
def opened(page: Any, site: Site) -> Any:
    """The list of templates, with settings that work."""
    settings = {
        "smtp_server": site.catcher.host,
        "smtp_port": site.catcher.port,
        "encryption": "none",
        "company_domain": "example.com",
        "default_to": "mail",
        "default_from": "crm",
        "mail_header": "Acme & Partners",
        "mail_footer": "Acme GmbH, Berlin",
    }
    with site.app.app_context():
        operations.save_settings(state_of(), settings, base=None, changed_by="")
    site.log_in(page, "amoreau")
    page.goto(site.panel + "templates/")
    return page


def test_a_message_is_looked_at_and_sent_to_who_looks(opened: Any, site: Site) -> None:
    """From the list to the mail in the visitor's box, with the keyboard alone."""
    fits_both_widths(opened)
    link = opened.get_by_role("link", name="Merge request")
    link.focus()
    opened.keyboard.press("Enter")
    phone, wide = opened.frame_locator(".im-html-phone"), opened.frame_locator(".im-html-wide")
    for frame in (phone, wide):
        frame.get_by_role("link", name="Open the merge").wait_for()
        frame.get_by_text("Acme GmbH, Berlin").wait_for()
    fits_both_widths(opened)
    opened.get_by_role("button", name="Send me this one").focus()
    opened.keyboard.press("Enter")
    opened.get_by_text("The mail server accepted the message for").wait_for()
    (letter,) = site.catcher.inbox
    assert letter.header("Subject") == "Please merge: Hopper, Grace and Grace Hopper"


def test_the_pages_fit(opened: Any, site: Site) -> None:
    """List and previews; the phone has its 360 pixels wherever there is room for them."""
    for name in ("", "preview/digest", "preview/merge_request", "preview/settings_test"):
        opened.goto(f"{site.panel}templates/{name}")
        for width in (320, 360, 600, 1280, 1920):
            opened.set_viewport_size({"width": width, "height": 900})
            fits_the_width(opened)
            if name and width >= 420:
                assert opened.locator(".im-html-phone").bounding_box()["width"] == 362


def test_the_contacts_are_stacked_on_the_phone_alone(opened: Any, site: Site) -> None:
    """The two frames show what the reader of each kind sees."""
    opened.goto(f"{site.panel}templates/preview/merge_request")
    for frame, beside in ((".im-html-phone", False), (".im-html-wide", True)):
        cards = opened.frame_locator(frame).locator(".im-card")
        first, second = (cards.nth(place).bounding_box() for place in (0, 1))
        assert (first["y"] == second["y"]) is beside


def test_nothing_in_a_preview_leads_anywhere(opened: Any, site: Site) -> None:
    """A click on the button of the message neither asks a host nor leaves the page (T5)."""
    opened.goto(f"{site.panel}templates/preview/merge_request")
    asked: list[str] = []
    opened.context.on("request", lambda request: asked.append(request.url))
    frame = opened.frame_locator(".im-html-wide")
    for name in ("Open the merge", "Grace Hopper", "ben.okafor@example.com"):
        frame.get_by_role("link", name=name, exact=True).click()
    opened.wait_for_timeout(300)
    assert asked == []
    assert len(opened.context.pages) == 1
    assert frame.get_by_role("link", name="Open the merge").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_preview_can_be_read_in_light_and_dark(opened: Any, site: Site, scheme: str) -> None:
    """Whichever the browser prefers (WCAG 2.2, 1.4.3)."""
    opened.emulate_media(color_scheme=scheme)
    opened.goto(f"{site.panel}templates/preview/merge_request")
    pairs = opened.frames[1].evaluate(CONTRAST)
    assert pairs
    assert [pair for pair in pairs if contrast(*pair) < 4.5] == []
