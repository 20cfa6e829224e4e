"""The messages that ship, as a mail program with Chromium's engine shows them."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from flask_interaction_mail.monitoring import previews
from flask_interaction_mail.state import state_of
from tests.browser.conftest import Site, fits_both_widths, fits_the_width

pytestmark = pytest.mark.filterwarnings(
    "ignore:Passing SelectField choices as tuples:DeprecationWarning",
    "ignore:Yielding raw tuples:DeprecationWarning",
)
SHIPPED = ["digest", "merge_completed", "merge_request", "not_delivered", "settings_test"]
CONTRAST = """() => [...document.querySelectorAll('body *')]
  .filter((element) => [...element.childNodes].some(
    (node) => node.nodeType === Node.TEXT_NODE && node.data.trim()))
  .map((element) => {
    const backgroundOf = (of) => getComputedStyle(of).backgroundColor;
    let behind = element;
    while (backgroundOf(behind) === 'rgba(0, 0, 0, 0)') behind = behind.parentElement;
    return [getComputedStyle(element).color, backgroundOf(behind)];
  })"""


def html_of(site: Site, name: str, locale: str | None = None) -> str:
    with site.app.app_context():
        template = previews.find(state_of(), name)
        assert template is not None
        return str(previews.preview(state_of(), template, locale=locale).html)


@pytest.mark.parametrize("width", [320, 360, 600])
@pytest.mark.parametrize("name", SHIPPED)
def test_a_message_fits_and_asks_nobody(page: Any, site: Site, name: str, width: int) -> None:
    """Nothing has to be moved sideways, in no language, also with words without end.

    Nothing is loaded.
    """
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.set_viewport_size({"width": width, "height": 700})
    for locale, author in product(("en", "de", "fr"), ("Ben Okafor", "x" * 400)):
        page.set_content(html_of(site, name, locale).replace("Ben Okafor", author))
        fits_the_width(page)
    assert asked == []


@pytest.mark.parametrize("name", ["merge_request", "merge_completed"])
def test_the_contacts_are_side_by_side_and_stacked_on_a_phone(
    page: Any, site: Site, name: str
) -> None:
    """Even where a mail program ignores the style sheet."""
    html = html_of(site, name)
    bare = html[: html.index("<style")] + html[html.index("</style>") + len("</style>") :]
    for shown in (html, bare):
        for width, beside in ((600, True), (360, False), (320, False)):
            page.set_viewport_size({"width": width, "height": 700})
            page.set_content(shown)
            first, second = (card.bounding_box() for card in page.locator(".im-card").all())
            assert (first["y"] == second["y"]) is beside
            assert (first["x"] == second["x"]) is not beside


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", SHIPPED)
def test_text_can_be_read_in_light_and_dark(page: Any, site: Site, name: str, scheme: str) -> None:
    """A contrast of at least 4.5 for each text (WCAG 2.2, 1.4.3)."""
    page.emulate_media(color_scheme=scheme)
    page.set_content(html_of(site, name))
    pairs = {tuple(pair) for pair in page.evaluate(CONTRAST)}
    assert pairs
    assert [pair for pair in pairs if contrast(*pair) < 4.5] == []
    page_colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (luminance(page_colour) < 0.1) is (scheme == "dark")


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    shares = [int(part) / 255 for part in colour.removeprefix("rgb(").rstrip(")").split(",")]
    linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in shares]
    return sum(weight * x for weight, x in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_pictures_of_a_request(page: Any, site: Site) -> None:
    """For the documentation; the button is a link that can be pressed."""
    page.set_content(html_of(site, "merge_request"))
    assert page.get_by_role("link", name="Open the merge").is_visible()
    fits_both_widths(page)
