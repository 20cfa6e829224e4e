"""The page Activity in a real browser: the chart, and the same without it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from example_app.admin_area import admin
from tests.browser.conftest import WIDTHS, Site, fits_both_widths, fits_the_width

pytestmark = pytest.mark.filterwarnings(
    "ignore:Passing SelectField choices as tuples:DeprecationWarning",
    "ignore:Yielding raw tuples:DeprecationWarning",
)
# The colours of the lines that stand on the canvas, in the order of the legend.
_DRAWN = """() => {
  const canvas = document.querySelector("#im-chart canvas");
  const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  const found = new Set();
  for (let at = 0; at < data.length; at += 4) {
    if (data[at + 3] === 255) { found.add([data[at], data[at + 1], data[at + 2]].join(",")); }
  }
  return ["0,114,178", "168,84,0", "193,18,31", "106,61,154"].map(colour => found.has(colour));
}"""


def open_activity(page: Any, site: Site, last: str = "day") -> None:
    site.log_in(page, "amoreau")
    page.goto(f"{site.panel}activity/?last={last}")


def test_the_chart_shows_what_the_table_says(page: Any, busy: Site) -> None:
    """Four lines in their colours, at both widths; the table is folded below; no other host."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    refused: list[str] = []
    page.on("console", lambda said: refused.append(said.text) if "Policy" in said.text else None)
    open_activity(page, busy)
    page.wait_for_selector("#im-chart canvas")
    assert page.evaluate(_DRAWN) == [True] * 4
    assert not page.locator("#im-chart-data").is_visible()
    fits_both_widths(page)
    page.set_viewport_size({"width": WIDTHS[1], "height": 900})
    page.wait_for_function("document.querySelector('.uplot').clientWidth < 360")
    assert page.evaluate(_DRAWN) == [True] * 4
    page.hover("#im-chart")
    said = page.locator("#im-chart-at").inner_text()
    assert "Sent" in said
    assert "Held" in said
    page.get_by_text("The same as a table").click()
    assert page.locator("#im-chart-data tbody tr").count() == 24
    fits_the_width(page)
    page.set_viewport_size({"width": 320, "height": 900})
    fits_the_width(page)
    assert {url.startswith(busy.url) for url in asked} == {True}
    assert refused == []


@pytest.mark.parametrize("last", ["hour", "week", "month"])
def test_the_other_periods_have_a_chart_as_well(page: Any, busy: Site, last: str) -> None:
    """Also where there is next to nothing to draw."""
    open_activity(page, busy, last)
    page.wait_for_selector("#im-chart canvas")
    assert page.evaluate(_DRAWN)[0]
    fits_the_width(page)


def test_on_a_dark_theme_everything_can_be_told_apart(
    page: Any, busy: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The chart stays on white."""
    monkeypatch.setattr(admin, "theme", replace(admin.theme, swatch="cyborg"))
    open_activity(page, busy)
    page.wait_for_selector("#im-chart canvas")
    background = "getComputedStyle(document.getElementById('im-chart')).backgroundColor"
    assert page.evaluate(background) == "rgb(255, 255, 255)"
    for width in (*WIDTHS, 320):
        page.set_viewport_size({"width": width, "height": 900})
        fits_the_width(page)


def test_without_javascript_the_table_says_the_same(chromium: Any, busy: Site) -> None:
    """It is open, and no empty chart stands above it."""
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    try:
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            open_activity(page, busy)
            assert page.locator("#im-chart-data tbody tr").first.is_visible()
            assert not page.locator("#im-chart").is_visible()
            sent = page.locator("#im-chart-data tbody td:nth-child(2)").all_inner_texts()
            whole = page.locator(".im-line-sent strong").inner_text()
            assert sum(map(int, sent)) == int(whole.replace(",", ""))
    finally:
        context.close()
