"""The page Activity in a real browser: the chart, and the same without it."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from example_app.admin_area import admin
from flask_interaction_mail import clock, operations
from flask_interaction_mail.outbox import tally
from flask_interaction_mail.outbox.counts import HOUR, Counts, Names
from flask_interaction_mail.state import state_of
from flask_interaction_mail.storage.tables import CHECK
from flask_interaction_mail.values import Status
from tests.browser.conftest import WIDTHS, Site, fits_the_width

pytestmark = pytest.mark.filterwarnings(
    "ignore:Passing SelectField choices as tuples:DeprecationWarning",
    "ignore:Yielding raw tuples:DeprecationWarning",
)
LONG = "a-domain-with-a-name-that-is-longer-than-anybody-would-like-to-type.example"
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


@pytest.fixture
def busy(site: Site) -> Site:
    """The example with a day's mail counted, and a trouble of its server."""
    chance, now = random.Random(1), clock.now()
    found = Counts(Names())
    for ago in range(0, 24 * 60, 7):
        at = now - timedelta(minutes=ago)
        for _ in range(chance.randrange(3, 12)):
            made_at = at - timedelta(seconds=chance.lognormvariate(0, 1))
            found.message(at, "request", Status.SENT, made_at=made_at)
            found.recipient(at, f"a@{chance.choice(['firm.example', LONG])}", Status.SENT)
        status = chance.choice([Status.DEFERRED, Status.FAILED, Status.HELD])
        found.message(at, "notification", status, made_at=at)
        found.recipient(at, "b@slow.example", status)
        found.refused(at, ["450 4.2.0 Greylisted, see ...", "550 5.1.1 ... unknown"], uuid.uuid4())
    server = {"smtp_server": "mail.firm.example", "company_domain": "firm.example"}
    people = {"default_to": "data-stewards", "default_from": "crm"}
    with site.app.app_context():
        operations.save_settings(state_of(), server | people, base=None, changed_by="")
    with site.app.app_context(), state_of().database.writing() as connection:
        tally._add(connection, found.rows(uuid.uuid4()))
        values = {"id": uuid.uuid4(), "kind": "breaker", "at": now - HOUR, "by": "x"}
        steps = '{"stage": "connect", "why": "Nobody answers at mail.firm.example:25."}'
        row = values | {"fingerprint": "", "verdict": "closed", "steps": steps}
        connection.execute(sa.insert(CHECK).values(row))
    return site


def open_activity(page: Any, site: Site, last: str = "day") -> None:
    site.log_in(page, "amoreau")
    page.goto(f"{site.panel}activity/?last={last}")


def test_the_chart_shows_what_the_table_says(
    page: Any, busy: Site, picture: Callable[..., None]
) -> None:
    """Four lines in their colours, at both widths; the table is folded below; no other host."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    refused: list[str] = []
    page.on("console", lambda said: refused.append(said.text) if "Policy" in said.text else None)
    open_activity(page, busy)
    page.wait_for_selector("#im-chart canvas")
    assert page.evaluate(_DRAWN) == [True] * 4
    assert not page.locator("#im-chart-data").is_visible()
    picture(page, "activity")
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
