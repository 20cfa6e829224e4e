"""What the panel's script adds, how the pages fit, and who can use them without a mouse."""

from __future__ import annotations

from typing import Any

import pytest

from example_app.extensions import db
from flask_interaction_mail import operations, send_notification
from flask_interaction_mail.state import state_of
from tests.browser.conftest import WIDTHS, Site, fits_the_width

pytestmark = pytest.mark.filterwarnings(
    "ignore:Passing SelectField choices as tuples:DeprecationWarning",
    "ignore:Yielding raw tuples:DeprecationWarning",
)

# Contrast of each text with the background that is painted behind it (WCAG 2.2, 1.4.3).
POOR_CONTRAST = """
() => {
  const parse = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = element => {
    for (let one = element; one; one = one.parentElement) {
      const colour = parse(getComputedStyle(one).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const poor = [];
  const walker = document.createTreeWalker(document.querySelector(".im"), NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.offsetParent) continue;
    const [a, b] = [light(parse(getComputedStyle(element).color)), light(behind(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const text = walker.currentNode.data.trim().slice(0, 40);
    if (ratio < 4.5) poor.push(`${ratio.toFixed(2)} ${text}`);
  }
  return poor;
}
"""
UNNAMED = """
() => [...document.querySelectorAll(".im :is(input, select, textarea, button, iframe)")]
  .filter(e => e.type !== "hidden" && !(e.labels && e.labels.length))
  .filter(e => !e.title && !e.textContent.trim())
  .map(e => e.outerHTML)
"""


@pytest.fixture
def panel(page: Any, site: Site) -> Any:
    """The panel, opened by an administrator."""
    site.log_in(page, "amoreau")
    page.goto(site.panel)
    return page


def test_r16_another_encryption_proposes_its_port(panel: Any) -> None:
    """25, 587, 465; a port of one's own stays."""
    for encryption, port in (("tls", "465"), ("none", "25"), ("starttls", "587")):
        panel.select_option("#im-encryption", encryption)
        assert panel.input_value("#im-smtp_port") == port
    panel.fill("#im-smtp_port", "2525")
    panel.select_option("#im-encryption", "tls")
    assert panel.input_value("#im-smtp_port") == "2525"


def test_r17_the_login_fields_open_with_their_check_box(panel: Any) -> None:
    """Hidden while authentication is off."""
    assert not panel.is_visible("#im-login")
    panel.check("#im-use_authentication")
    assert panel.is_visible("#im-login")
    assert panel.is_visible("#im-password_confirm")


def test_leaving_with_unsaved_changes_asks(panel: Any, site: Site) -> None:
    """After typing, leaving asks; Cancel, Save and Test do not."""
    asked: list[str] = []
    panel.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.accept()))
    panel.goto(site.outbox)
    assert asked == []
    panel.goto(site.panel)
    panel.locator("#im-default_to").press_sequentially("x")
    panel.goto(site.outbox)
    assert asked == ["beforeunload"]
    panel.goto(site.panel)
    panel.locator("#im-default_to").press_sequentially("x")
    panel.get_by_role("button", name="Test Settings").click()
    panel.get_by_text("Not tested").first.wait_for()
    panel.get_by_role("link", name="Cancel").click()
    panel.wait_for_load_state()
    assert panel.input_value("#im-default_to") == ""
    assert asked == ["beforeunload"]


def test_instants_are_shown_in_the_readers_zone(panel: Any, site: Site) -> None:
    """A time in UTC becomes local; what stood there before is its title."""
    panel.evaluate("""() => {
        const time = document.createElement('time');
        time.dateTime = '2026-01-01T12:00:00+00:00';
        document.querySelector('main').append(time);
    }""")
    source = panel.locator("script[src*='pages.js']").get_attribute("src")
    panel.add_script_tag(url=site.url.rstrip("/") + source + "&again")
    assert "13:00" in panel.locator("main > time").inner_text()


def test_an_error_goes_while_it_is_being_corrected(panel: Any) -> None:
    """Typing in a field takes its error away; the others stay."""
    panel.get_by_role("button", name="Save").click()
    panel.wait_for_load_state()
    panel.locator("#im-default_to").press_sequentially("desk")
    assert not panel.is_visible("#im-default_to-error")
    assert panel.is_visible("#im-default_from-error")


def test_an_error_summary_takes_the_focus(panel: Any) -> None:
    """Who hears the page hears first that nothing was saved."""
    panel.get_by_role("button", name="Save").click()
    panel.wait_for_load_state()
    assert panel.evaluate("document.activeElement.getAttribute('role')") == "alert"


def test_everything_can_be_done_with_the_keyboard(panel: Any) -> None:
    """Tab reaches every field and every button in the order of the page."""
    panel.focus("#im-company_domain")
    reached = []
    for _ in range(40):
        reached.append(
            panel.evaluate("document.activeElement.id || document.activeElement.innerText")
        )
        if reached[-1] == "Cancel":
            break
        panel.keyboard.press("Tab")
    for id in ("im-smtp_server", "im-encryption", "im-default_from", "Test Settings", "Save"):
        assert id in reached
    assert reached.index("Test Settings") < reached.index("Save") < reached.index("Cancel")


BELOW_THE_BUTTONS = """
() => {
  const focused = document.activeElement, bar = document.querySelector(".im-actions-sticky");
  if (!focused.closest("#im-form") || bar.contains(focused)) return false;
  const [one, other] = [focused, bar].map(element => element.getBoundingClientRect());
  return one.bottom > other.top && one.top < other.bottom;
}
"""


@pytest.mark.parametrize("width", WIDTHS)
def test_what_has_the_focus_is_in_sight(panel: Any, width: int) -> None:
    """The buttons, which always are, do not lie on it (WCAG 2.2, 2.4.11)."""
    panel.set_viewport_size({"width": width, "height": 780})
    panel.evaluate("document.querySelectorAll('#im-form details').forEach(one => one.open = true)")
    panel.focus("#im-company_domain")
    hidden = []
    for _ in range(90):
        panel.keyboard.press("Tab")
        name = panel.evaluate("document.activeElement.id || document.activeElement.innerText")
        hidden += [name] if panel.evaluate(BELOW_THE_BUTTONS) else []
        if name == "Cancel":
            break
    assert (name, hidden) == ("Cancel", [])


def test_a_preset_fills_in_its_fields_at_once(panel: Any) -> None:
    """It says what else is wanted; the next one empties what it has no value for."""
    assert not panel.is_visible("[data-im-preset-go]")
    panel.select_option("#im-preset", "sendgrid")
    panel.locator("#im-preset-note p").first.wait_for()
    assert panel.input_value("#im-smtp_server") == "smtp.sendgrid.net"
    assert panel.input_value("#im-login") == "apikey"
    assert panel.is_checked("#im-use_authentication")
    panel.select_option("#im-preset", "zoho")
    panel.get_by_text("application-specific password").wait_for()
    names = ("smtp_server", "smtp_port", "encryption", "login")
    filled = [panel.input_value(f"#im-{name}") for name in names]
    assert filled == ["smtppro.zoho.com", "465", "tls", ""]
    assert "application-specific password" in panel.inner_text("#im-preset-note")
    assert "Login: The full e-mail address" in panel.inner_text("#im-preset-note")


def test_a_preset_is_filled_in_by_its_button_where_nothing_can_be_fetched(panel: Any) -> None:
    """As where a policy of the host forbids it; what was typed stays."""
    panel.fill("#im-default_to", "desk")
    panel.route("**/messaging/preset", lambda route: route.abort())
    panel.select_option("#im-preset", "sendgrid")
    panel.locator("[data-im-preset-go]").wait_for()
    panel.unroute("**/messaging/preset")
    panel.get_by_role("button", name="Fill in").click()
    panel.locator("#im-preset-note p").first.wait_for()
    assert panel.input_value("#im-smtp_server") == "smtp.sendgrid.net"
    assert panel.input_value("#im-default_to") == "desk"


def test_the_checklist_follows_what_is_typed(panel: Any) -> None:
    """A line is ticked while its field has something."""
    tick = panel.locator("[data-im-needs^=smtp_server] .im-tick")
    assert tick.inner_text() == "☐"
    panel.locator("#im-smtp_server").press_sequentially("m")
    assert tick.inner_text() == "☑"
    panel.fill("#im-smtp_server", "")
    assert tick.inner_text() == "☐"


@pytest.mark.parametrize("width", WIDTHS)
def test_pages_fit_and_can_be_read(panel: Any, site: Site, width: int) -> None:
    """No sideways scrolling, enough contrast, and a name for every control."""
    panel.set_viewport_size({"width": width, "height": 900})
    panel.locator("#im-advanced summary").click()
    panel.check("#im-use_authentication")
    panel.get_by_role("button", name="Save").click()
    panel.wait_for_load_state()
    panel.locator("#im-alerts summary").click()
    for url in (None, site.outbox, site.outbox + "?q=x", site.panel + "history/"):
        if url:
            panel.goto(url)
        fits_the_width(panel)
        assert panel.evaluate(POOR_CONTRAST) == []
        assert panel.evaluate(UNNAMED) == []


@pytest.mark.parametrize("width", WIDTHS)
def test_the_outbox_is_exported_with_the_keyboard(page: Any, site: Site, width: int) -> None:
    """Tab reaches the link behind the title, and Enter brings the file."""
    page.set_viewport_size({"width": width, "height": 900})
    site.log_in(page, "amoreau")
    server = {"smtp_server": site.catcher.host, "smtp_port": site.catcher.port}
    people = {"default_to": "mail@example.com", "default_from": "crm@example.com"}
    with site.app.app_context():
        operations.save_settings(
            state_of(), server | people | {"encryption": "none"}, base=None, changed_by=""
        )
        send_notification("ada@example.com", "=1+1", text="x")
        db.session.commit()
    page.goto(site.outbox)
    fits_the_width(page)
    assert page.evaluate(POOR_CONTRAST) == []
    link = page.get_by_role("link", name="Export as CSV")
    page.locator("main h1").click()
    page.keyboard.press("Tab")
    assert link.evaluate("link => link === document.activeElement")
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    assert download.value.suggested_filename == "outbox.csv"
    assert '"\'=1+1"' in download.value.path().read_text("utf-8-sig")
