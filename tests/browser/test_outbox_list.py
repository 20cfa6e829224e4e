"""The list of the outbox in a real browser: how it fits, with its script and without."""

from __future__ import annotations

import threading
import uuid
from typing import Any

import pytest
import sqlalchemy as sa

from example_app.extensions import db
from flask_interaction_mail import operations, send_notification
from flask_interaction_mail.admin import bulk
from flask_interaction_mail.models import DeliveryRow, MessageRow
from flask_interaction_mail.outbox import listing
from flask_interaction_mail.state import state_of
from tests.browser.conftest import WIDTHS, Site, fits_the_width
from tests.browser.test_panel_script import POOR_CONTRAST, UNNAMED

pytestmark = pytest.mark.filterwarnings(
    "ignore:Passing SelectField choices as tuples:DeprecationWarning",
    "ignore:Yielding raw tuples:DeprecationWarning",
)
MOVED = "document.querySelector('tbody:nth-of-type(2)').getBoundingClientRect().top"


def send(site: Site, count: int, subject: str = "m{}", **changes: Any) -> list[uuid.UUID]:
    """Put messages into the outbox while sending is paused."""
    server = {"smtp_server": "mail.example.com", "paused": True}
    people = {"default_to": "mail@example.com", "default_from": "crm@example.com"}
    with site.app.app_context():
        operations.save_settings(state_of(), server | people, base=None, changed_by="")
        sent = [
            send_notification("ada.lovelace@firm.example", subject.format(number), text="Good day")
            for number in range(count)
        ]
        db.session.commit()
    if changes:
        change(site, [one.id for one in sent], **changes)
    return [one.id for one in sent]


def change(site: Site, ids: list[uuid.UUID], **values: Any) -> None:
    with site.app.app_context():
        db.session.execute(sa.update(DeliveryRow).where(DeliveryRow.id.in_(ids)).values(**values))
        db.session.commit()


def statuses(site: Site) -> list[str]:
    with site.app.app_context():
        return sorted(db.session.scalars(sa.select(DeliveryRow.status)))


@pytest.fixture
def outbox(page: Any, site: Site) -> Any:
    """A visitor who may do everything."""
    site.app.extensions["interaction_mail"].access = lambda _right: True
    site.log_in(page, "amoreau")
    return page


def test_a_line_is_one_line_and_no_address_is_broken(outbox: Any, site: Site) -> None:
    """However long subject and address are; the reason stands below."""
    send(site, 1, "Quarterly figures " * 12, status="held", reason="ambiguous")
    outbox.goto(site.outbox)
    line = outbox.evaluate(
        "parseFloat(getComputedStyle(document.querySelector('td a')).lineHeight)"
    )
    for part in ("td a", "td bdi", "thead tr"):
        padding = 20 if part == "thead tr" else 0
        assert outbox.locator(part).first.bounding_box()["height"] <= 1.2 * line + padding, part
    assert "nobody knows" in outbox.locator("tr.im-why").inner_text()
    for width in WIDTHS:
        outbox.set_viewport_size({"width": width, "height": 900})
        fits_the_width(outbox)
        assert outbox.locator(".im-list bdi").first.bounding_box()["height"] <= 1.2 * line


def test_the_server_of_each_message_has_a_column(outbox: Any, site: Site) -> None:
    """On a narrow screen it stands below the recipient, and nothing is wider than the page."""
    subject = "A subject of some length that has to be cut"
    send(site, 2, subject, status="sent", due_at=None, relay="backup")
    with site.app.app_context():
        state = state_of()
        second = {"relays": ("default", "backup"), "relays.backup.smtp_server": "b.example.com"}
        base = state.settings.current().revision
        operations.save_settings(state, second, base=base, changed_by="")
    for width in WIDTHS:
        outbox.set_viewport_size({"width": width, "height": 800})
        outbox.goto(f"{site.panel}outbox/")
        line = outbox.locator("tbody tr").first
        assert line.locator("td:nth-last-child(2)").inner_text() == "backup"
        fits_the_width(outbox)
        tops = [
            cell.bounding_box()["y"]
            for cell in (
                line.locator("time"),
                line.locator("a"),
                line.locator("td:nth-last-child(2)"),
            )
        ]
        if width < 768:
            assert tops == sorted(tops)
            assert tops[0] < tops[1] < tops[2]
        else:
            assert max(tops) - min(tops) < 12


def test_no_time_is_cut(chromium: Any, site: Site) -> None:
    """Whatever the language writes around it."""
    send(site, 1)
    site.app.extensions["interaction_mail"].access = lambda _right: True
    for locale in ("en-US", "pt-BR", "vi", "de"):
        context = chromium.new_context(locale=locale)
        page = context.new_page()
        site.log_in(page, "amoreau")
        page.goto(site.outbox)
        for width in (800, 992, 1280):
            page.set_viewport_size({"width": width, "height": 900})
            room, needed = page.locator("tbody td:has(> time)").first.evaluate(
                "cell => [cell.clientWidth, cell.scrollWidth]"
            )
            assert needed <= room, (locale, width)
        context.close()


def test_every_page_fits_and_can_be_read(outbox: Any, site: Site) -> None:
    """The list with a mistaken filter, the details, the question: no sideways, no faint text."""
    ids = send(site, 3, status="failed", reason="refused", detail="550 5.1.1 " + "no-such-user" * 9)
    for url in (
        f"?status=failed&since=x&q={'long' * 20}",
        "?status=failed&reason=refused",
        f"{ids[0]}/",
    ):
        outbox.goto(site.outbox + url)
        seen_well(outbox)
    outbox.goto(site.outbox)
    outbox.check("#im-all")
    ask(outbox, "Resend")
    outbox.get_by_role("heading", name="Resend: 3 messages").wait_for()
    seen_well(outbox)


def ask(page: Any, action: str) -> None:
    """Press the button of the list, and wait for the question with its script."""
    page.get_by_role("button", name=action).click()
    page.wait_for_load_state()


def seen_well(page: Any) -> None:
    page.wait_for_load_state()  # a heading may be there before the style sheets
    page.evaluate("document.querySelectorAll('.im details').forEach(part => { part.open = true; })")
    for width in (1920, *WIDTHS, 320):
        page.set_viewport_size({"width": width, "height": 900})
        fits_the_width(page)
        assert page.evaluate(POOR_CONTRAST) == []
        unnamed = [one for one in page.evaluate(UNNAMED) if "aria-labelledby" not in one]
        assert unnamed == []


def test_states_change_where_they_stand(outbox: Any, site: Site) -> None:
    """Newer messages are told, and no line moves from under the reader's eyes."""
    ids = send(site, 3)
    outbox.clock.install()
    outbox.goto(site.outbox)
    before = outbox.evaluate(MOVED)
    change(site, ids[:1], status="sent")
    send(site, 2, "later {}")
    outbox.clock.run_for(16_000)
    outbox.get_by_text("2 newer: show them").wait_for()
    assert outbox.locator("tbody .im-status").all_inner_texts() == ["queued", "queued", "sent"]
    assert outbox.locator("#im-states .im-number").first.inner_text() == "5"
    assert outbox.evaluate(MOVED) == before
    outbox.get_by_text("2 newer: show them").click()
    outbox.get_by_text("later 1").wait_for()


def test_a_search_goes_on_by_itself(
    outbox: Any, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one page had no time for is added below, until all is searched."""
    monkeypatch.setattr(listing, "STEP", 3)
    monkeypatch.setattr(listing, "SECONDS", 0)
    ids = send(site, 20, "straw {}")
    with site.app.app_context():
        for number, id in enumerate((ids[0], ids[11])):
            named = sa.update(MessageRow).where(MessageRow.id == id)
            db.session.execute(named.values(subject=f"needle {number}"))
        db.session.commit()
    outbox.goto(site.outbox + "?q=needle")
    outbox.get_by_role("link", name="needle 0").wait_for()
    assert outbox.locator("td a").all_inner_texts() == ["needle 1", "needle 0"]
    outbox.wait_for_function("!document.querySelector('[data-im-goes-on]')")


def test_all_on_a_page_are_chosen_at_once_and_cancelled(outbox: Any, site: Site) -> None:
    """Step after step without another click, then a summary."""
    send(site, 3)
    outbox.goto(site.outbox)
    outbox.check("#im-all-here")
    ask(outbox, "Cancel")
    outbox.get_by_role("button", name="Yes, go on").click()
    outbox.get_by_role("heading", name="Done").wait_for()
    assert "3 of 3 looked at: 3 cancelled." in outbox.locator("#im-bulk").inner_text()
    assert statuses(site) == ["cancelled"] * 3


def test_a_job_goes_on_step_by_step_until_somebody_stops_it(
    outbox: Any, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The button says Stop meanwhile, and Go on afterwards."""
    stopped, step = threading.Event(), bulk._next

    def slow_at_first(*args: Any) -> bulk.Job:
        stopped.wait(30)
        return step(*args)

    monkeypatch.setattr(bulk, "SECONDS", 0)
    monkeypatch.setattr(bulk, "TOGETHER", 1)
    monkeypatch.setattr(bulk, "_next", slow_at_first)
    send(site, 5)
    outbox.goto(site.outbox)
    outbox.check("#im-all")
    ask(outbox, "Cancel")
    outbox.get_by_role("button", name="Yes, go on").click()
    outbox.get_by_role("button", name="Stop").click()
    stopped.set()
    outbox.get_by_role("button", name="Go on", exact=True).wait_for()
    assert 0 < statuses(site).count("cancelled") < 5
    outbox.get_by_role("button", name="Go on", exact=True).click()
    outbox.get_by_role("heading", name="Done").wait_for()
    assert "5 of 5 looked at: 5 cancelled." in outbox.locator("#im-bulk").inner_text()


def test_a_step_without_an_answer_loses_nothing(outbox: Any, site: Site) -> None:
    """The page says so and keeps the job, which goes on when the application is back."""
    send(site, 2)
    outbox.goto(site.outbox)
    outbox.check("#im-all")
    ask(outbox, "Cancel")
    outbox.route("**/bulk*", lambda route: route.abort())
    outbox.get_by_role("button", name="Yes, go on").click()
    outbox.get_by_role("alert").filter(has_text="Nothing is lost").wait_for()
    outbox.unroute("**/bulk*")
    outbox.get_by_role("button", name="Yes, go on").click()
    outbox.get_by_role("heading", name="Done").wait_for()
    assert statuses(site) == ["cancelled"] * 2


def test_without_javascript_each_step_has_a_button(
    chromium: Any, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Go on, until it is done."""
    monkeypatch.setattr(bulk, "SECONDS", 0)
    monkeypatch.setattr(bulk, "TOGETHER", 2)
    site.app.extensions["interaction_mail"].access = lambda _right: True
    send(site, 5)
    context = chromium.new_context(
        java_script_enabled=False, viewport={"width": 360, "height": 800}
    )
    page = context.new_page()
    site.log_in(page, "amoreau")
    page.goto(site.outbox)
    assert not page.is_visible("#im-all-here")
    page.check("#im-all")
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Yes, go on").click()
    pressed = 0
    while page.get_by_role("button", name="Go on", exact=True).count():
        page.get_by_role("button", name="Go on", exact=True).click()
        pressed += 1
    assert pressed >= 2
    assert "5 of 5 looked at: 5 cancelled." in page.locator("#im-bulk").inner_text()
    context.close()


def test_an_export_counts_its_lines(outbox: Any, site: Site) -> None:
    """And becomes the same file as without the script."""
    send(site, 4)
    outbox.goto(site.outbox)
    with outbox.expect_download() as download:
        outbox.get_by_role("link", name="Export as CSV").click()
    assert download.value.suggested_filename == "outbox.csv"
    assert download.value.path().read_text("utf-8-sig").count("\n") == 5
    assert outbox.get_by_text("Exported: 4").is_visible()


def test_days_are_those_of_the_reader(outbox: Any, site: Site) -> None:
    """The first page learns the browser's time zone, the next one has it from the application."""
    send(site, 1)
    outbox.goto(site.outbox)
    outbox.get_by_text("More", exact=True).click()
    assert "Europe/Berlin" in outbox.locator("label[for=im-since]").inner_text()
    outbox.fill("#im-since", "2020-01-01")
    outbox.get_by_role("button", name="Search").click()
    assert "zone=Europe%2FBerlin" in outbox.url
    assert outbox.locator("tbody").count() == 1


def test_the_keyboard_is_enough(outbox: Any, site: Site) -> None:
    """Tab reaches each box and link, space ticks, and what has the focus is in sight."""
    send(site, 40)
    outbox.goto(site.outbox)
    outbox.set_viewport_size({"width": 1280, "height": 600})
    outbox.focus("tbody input")
    for _ in range(30):
        outbox.keyboard.press("Tab")
        focused = outbox.evaluate(
            "(() => { const box = document.activeElement.getBoundingClientRect();"
            " const top = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);"
            " return document.activeElement.contains(top); })()"
        )
        assert focused
    outbox.focus("#im-all")
    outbox.keyboard.press("Space")
    outbox.keyboard.press("Tab")
    outbox.keyboard.press("Enter")
    outbox.get_by_role("heading", name="Resend: 40 messages").wait_for()
