"""Test Settings beside the form: what is seen, what is heard, and where the focus is."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Response

from tests.browser.conftest import WIDTHS, Site, fits_the_width
from tests.browser.test_main_path import fill_rightly
from tests.servers.receiver import receiving

pytestmark = pytest.mark.filterwarnings(
    "ignore:Passing SelectField choices as tuples:DeprecationWarning",
    "ignore:Yielding raw tuples:DeprecationWarning",
)
IN_SIGHT = """
element => {
  const {top, bottom} = element.getBoundingClientRect();
  return [top >= -1 && bottom <= window.innerHeight + 1, top, bottom, window.innerHeight];
}
"""


@pytest.fixture
def panel(page: Any, site: Site) -> Any:
    """The panel, opened by an administrator and filled rightly."""
    site.log_in(page, "amoreau")
    page.goto(site.panel)
    fill_rightly(page, site)
    return page


def press_test(panel: Any, verdict: str) -> Any:
    """Press Test Settings with the keyboard; gives the verdict once it is there."""
    panel.focus("[data-im-test]")
    panel.keyboard.press("Enter")
    found = panel.locator(f"#im-test [data-im-verdict={verdict}]")
    found.wait_for()
    panel.locator("[data-im-test]:not([aria-disabled])").wait_for()
    return found


def test_enter_in_a_field_sends_nothing(panel: Any) -> None:
    """Only its button starts a test, only its button saves."""
    asked: list[str] = []
    panel.on("request", lambda request: asked.append(request.method))
    for field in ("#im-smtp_port", "#im-default_to", "#im-use_authentication"):
        panel.focus(field)
        panel.keyboard.press("Enter")
    panel.wait_for_timeout(200)
    assert asked == []


@pytest.mark.parametrize("width", WIDTHS)
def test_a_failed_test_keeps_the_focus_and_shows_the_step_that_failed(
    panel: Any, width: int
) -> None:
    """In sight, said once, with its fields marked; nothing says any more that it is at work."""
    panel.set_viewport_size({"width": width, "height": 900})
    panel.fill("#im-smtp_port", "1")
    press_test(panel, "failed")
    assert panel.evaluate("document.activeElement.hasAttribute('data-im-test')")
    failed = panel.locator(".im-step-failed")
    in_sight, *places = failed.evaluate(IN_SIGHT)
    assert in_sight, places
    said = panel.locator("#im-test-said")
    assert said.get_attribute("role") == "status"
    assert said.inner_text().count(failed.locator(".im-step-name").inner_text()) == 1
    assert panel.get_by_text("Testing …").count() == 0
    field = panel.locator("#im-smtp_port")
    assert field.get_attribute("aria-invalid") == "true"
    assert "im-smtp_port-error" in field.get_attribute("aria-describedby")
    assert "The test failed here" in panel.locator("#im-smtp_port-error").inner_text()
    for step in panel.locator(".im-step-ok").all():
        assert step.bounding_box()["height"] < 60  # one line, two at most where it is narrow


def test_a_field_that_was_refused_and_corrected_is_marked_by_a_failed_test(panel: Any) -> None:
    """The error of before is gone from the page, not only from sight."""
    panel.fill("#im-smtp_port", "0")
    panel.get_by_role("button", name="Save").click()
    error = panel.locator("#im-smtp_port-error")
    assert "65535" in error.inner_text()
    panel.wait_for_load_state()  # the script is there then, which no text of the page tells
    panel.fill("#im-smtp_port", "1")
    assert error.count() == 0
    press_test(panel, "failed")
    assert "The test failed here" in error.inner_text()
    assert panel.locator("#im-smtp_port").get_attribute("aria-invalid") == "true"


def test_badge_and_verdict_agree(panel: Any, site: Site) -> None:
    """The badge follows the test without a reload, and steps back when something is changed."""
    badge = panel.locator("#im-badge")
    press_test(panel, "passed")
    assert "Tested by Alice Moreau" in badge.inner_text()
    assert "not saved yet" in badge.inner_text()
    panel.fill("#im-smtp_port", "1")
    assert badge.inner_text().strip() == ""
    assert panel.is_visible("#im-test-old")
    press_test(panel, "failed")
    assert "did not pass" in badge.inner_text()
    assert not panel.is_visible("#im-test-old")
    panel.fill("#im-smtp_port", str(site.catcher.port))
    press_test(panel, "passed")
    assert panel.locator("[aria-invalid]").count() == 0


@pytest.mark.parametrize("width", WIDTHS)
def test_a_test_alert_is_shown_like_a_test(panel: Any, width: int) -> None:
    """Beside the form, said once, its field marked; the badge of the mail server stays."""
    panel.set_viewport_size({"width": width, "height": 900})
    badge = panel.locator("#im-badge")
    panel.locator("#im-alerts summary").click()
    with receiving() as receiver:
        panel.fill("#im-alert_url", receiver.url)
        panel.fill("#im-alert_secret", "of the receiver")
        press_test(panel, "passed")
        before = badge.inner_text()
        send_alert(panel, "The webhook has taken the test alert")
        assert receiver.told() == [("test", "test")]
        receiver.statuses.append(500)
        send_alert(panel, "The webhook was not told")
    error = panel.locator("#im-alert_url-error")
    assert "answered 500" in error.inner_text()
    assert panel.evaluate("document.activeElement.hasAttribute('data-im-other-test')")
    assert panel.input_value("#im-alert_secret") == "of the receiver"
    assert badge.inner_text() == before
    fits_the_width(panel)


def send_alert(panel: Any, title: str) -> None:
    """Press its button with the keyboard, and wait until the result is there and in sight."""
    panel.focus("#im-alerts [data-im-other-test]")
    panel.keyboard.press("Enter")
    found = panel.locator("#im-test h3", has_text=title)
    found.wait_for()
    panel.locator("#im-alerts [data-im-other-test]:not([aria-disabled])").wait_for()
    in_sight, *places = found.evaluate(IN_SIGHT)
    assert in_sight, places
    assert panel.locator("#im-test-said").inner_text().count(title) == 1


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Frame-Options": "DENY"},
        {"Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; frame-src 'none'"},
    ],
    ids=["X-Frame-Options", "frame-ancestors"],
)
def test_where_frames_are_refused_the_result_appears_all_the_same(
    page: Any, site: Site, headers: dict[str, str]
) -> None:
    """It is no frame."""

    @site.app.after_request
    def refuse_frames(response: Response) -> Response:
        response.headers.update(headers)
        return response

    site.log_in(page, "amoreau")
    page.goto(site.panel)
    fill_rightly(page, site)
    press_test(page, "passed")


def test_a_session_that_ended_is_said_beside_the_form(panel: Any) -> None:
    """Nothing typed is lost, and the result does not stay empty."""
    panel.context.clear_cookies()
    panel.focus("[data-im-test]")
    panel.keyboard.press("Enter")
    panel.locator("#im-test .im-alert-bad").wait_for()
    assert "session" in panel.locator("#im-test").inner_text()
    assert panel.input_value("#im-default_to") == "mailadmin"
