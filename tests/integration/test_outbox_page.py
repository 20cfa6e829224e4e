"""The Outbox tab: the list, the details, and what can be done about a message."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from bs4 import BeautifulSoup
from flask_admin import Admin

from flask_interaction_mail import clock, request_merge
from flask_interaction_mail.models import AttemptRow, RecipientRow
from flask_interaction_mail.outbox import listing, wanted
from flask_interaction_mail.values import Party
from tests.databases import DIALECTS, fresh_database
from tests.host import ADA, NAMELESS, Host, a_merge
from tests.panel import OUTBOX, OpenIndex, Panel, change, form_values, opened_panel, send

EVERYTHING = {"view", "edit", "test", "outbox", "body", "resend"}


@pytest.fixture
def rights() -> set[str]:
    return set(EVERYTHING)


@pytest.fixture
def panel(tmp_path: Path, rights: set[str]) -> Iterator[Panel]:
    with opened_panel(tmp_path, access=lambda right: right in rights) as opened:
        opened.host.configure()
        yield opened


def status(panel: Panel, id: uuid.UUID) -> str:
    (row,) = [row for row in panel.host.rows() if row.id == id]
    return str(row.status)


def subjects(page: BeautifulSoup) -> list[str]:
    return [link.text for link in page.select("tbody td a")]


def press(panel: Panel, id: uuid.UUID, action: str, query: str = "") -> Any:
    """Press one of the buttons of a message's page."""
    values = form_values(panel.get(f"{OUTBOX}{id}/{query}"))
    return panel.client.post(f"{OUTBOX}{id}/{action}{query}", data=values)


def test_an_empty_outbox_says_what_would_be_there(panel: Panel) -> None:
    """No message yet is told apart from no message that fits."""
    assert "There are no messages yet" in panel.get(OUTBOX).text
    assert "No message matches" in panel.get(OUTBOX + "?q=nobody").text


def test_the_list_is_newest_first(panel: Panel) -> None:
    """With recipient and state of each message, in one line; the details have the rest."""
    first, second = send(panel, "first"), send(panel, "second", kind="invoice")
    change(panel, first, created_at=clock.now() - timedelta(hours=1))
    page = panel.get(OUTBOX)
    assert subjects(page) == ["second", "first"]
    row = page.select("tbody tr")[0].text
    for word in ("ada@firm.example", "queued"):
        assert word in row
    assert page.select_one("tbody a")["href"].endswith(f"/{second}/")  # type: ignore[index, union-attr]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("?q=ADA@firm", ["to ada"]),
        ("?q=byron", ["to ada"]),
        ("?q=100%25", ["100% sure"]),
        ("?q=_", []),
        ("?status=failed", ["to zoe"]),
        ("?status=nonsense", ["100% sure", "to zoe", "to ada"]),
        ("?kind=invoice", ["to zoe"]),
        ("?since=2020-02-01&until=2020-02-01", ["to zoe"]),
        ("?until=2020-01-31", []),
        ("?since=never", ["100% sure", "to zoe", "to ada"]),
        ("?q=to&status=failed&kind=invoice", ["to zoe"]),
        ("?before=rubbish", ["100% sure", "to zoe", "to ada"]),
        ("?q=%00", ["100% sure", "to zoe", "to ada"]),
    ],
)
def test_the_filters(panel: Panel, query: str, found: list[str]) -> None:
    """Address, name, subject, status, kind and day narrow the list; rubbish does not."""
    send(panel, "to ada")
    zoe = send(panel, "to zoe", "zoe@else.example", kind="invoice")
    send(panel, "100% sure", "zoe@else.example")
    change(panel, zoe, status="failed", created_at=clock.to_db(_day(2020, 2, 1)))
    assert sorted(subjects(panel.get(OUTBOX + query))) == sorted(found)


def _day(*parts: int) -> Any:
    from datetime import UTC, datetime

    return datetime(*parts, 23, 59, tzinfo=UTC)  # type: ignore[arg-type, misc]


def test_pages_follow_one_another_without_loss(
    panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every message is on exactly one page, also where many have the same instant."""
    monkeypatch.setattr(listing, "PAGE", 3)
    ids = [send(panel, f"m{number}", kind="bulk") for number in range(8)]
    for id in ids[:5]:
        change(panel, id, created_at=clock.to_db(_day(2020, 1, 1)))
    seen: list[str] = []
    url: str | None = OUTBOX + "?kind=bulk"
    while url:
        page = panel.get(url)
        seen += subjects(page)
        assert page.select_one("#im-kind")["value"] == "bulk"  # type: ignore[index]
        older = page.find("a", rel="next")
        url = str(older["href"]) if older else None  # type: ignore[index]
    assert sorted(seen) == [f"m{number}" for number in range(8)]
    assert len(seen) == 8


def test_a_search_goes_back_in_steps_without_loss(
    panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When its time is up the page says how far it came, and the next one goes on from there."""
    monkeypatch.setattr(listing, "STEP", 2)
    monkeypatch.setattr(listing, "SECONDS", 0)
    ids = [send(panel, "needle" if number in (0, 5) else "straw") for number in range(9)]
    for number, id in enumerate(ids):
        minute = 0 if 2 < number < 7 else number  # some at the very same instant
        change(panel, id, created_at=clock.to_db(_day(2020, 1, 1)) + timedelta(minutes=minute))
    seen: list[str] = []
    url: str | None = OUTBOX + "?q=needle"
    pages = 0
    while url:
        page = panel.get(url)
        pages += 1
        seen += subjects(page)
        older = page.find("a", rel="next")
        assert ("Searched back to" in page.text) is (older is not None)
        url = str(older["href"]) if older else None  # type: ignore[index]
    assert seen == ["needle", "needle"]
    assert pages > 2
    lines = panel.client.get(OUTBOX + "export.csv?q=needle", buffered=True).text.splitlines()
    assert len(lines) == 1 + 2


@pytest.mark.parametrize("few", [1000, 0], ids=["rare", "frequent"])
def test_a_whole_address_finds_exactly_its_messages(
    panel: Panel, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    """Whatever its letters; the same in parts of others or in a subject only when asked for."""
    monkeypatch.setattr(wanted, "_FEW", few)
    send(panel, "one", "zoe@else.example")
    send(panel, "two", "anzoe@else.example")
    send(panel, "of zoe@else.example")
    page = panel.get(OUTBOX + "?q=Zoe@Else.Example")
    assert subjects(page) == ["one"]
    link = page.find("a", string=lambda text: bool(text and "parts of addresses" in text))
    everywhere = panel.get(str(link["href"]))  # type: ignore[index]
    assert sorted(subjects(everywhere)) == ["of zoe@else.example", "one", "two"]
    assert len(subjects(panel.get(OUTBOX + "?q=nobody@else.example"))) == 0
    assert sorted(subjects(panel.get(OUTBOX + "?q=zoe@else"))) == sorted(subjects(everywhere))


def test_no_page_reads_the_whole_table(panel: Panel) -> None:
    """A page far back, one message, address, name or reason: each is answered from an index."""
    ids = [send(panel, f"m{number}") for number in range(3)]
    name = "0100018f-aaaa-bbbb-cccc-000000000001"
    change(panel, ids[2], provider_id=name)
    plans: list[str] = []
    engine = panel.host.state.database.bind.engine

    def explain(_c: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.lstrip().startswith("SELECT") and "interaction_mail" in statement:
            other = cursor.connection.cursor()
            plans.extend(
                row[3] for row in other.execute("EXPLAIN QUERY PLAN " + statement, parameters)
            )

    sa.event.listen(engine, "before_cursor_execute", explain)
    far = f"before=2099-01-01T00:00:00_{ids[0].hex}"
    for url in (
        f"?{far}",
        f"{ids[1]}/",
        "?q=ada@firm.example",
        f"?q={name}",
        "?reason=poison",
        f"?status=sent&{far}",
    ):
        plans.clear()
        panel.get(OUTBOX + url)
        assert any("SEARCH interaction_mail_delivery USING" in plan for plan in plans), plans
        read = [plan for plan in plans if plan.startswith("SCAN")]
        tables = ("message", "delivery", "recipient", "attempt")
        whole = [plan for plan in read if any(table in plan for table in tables)]
        assert whole == [], url
    sa.event.remove(engine, "before_cursor_execute", explain)


def test_filters_survive_details_and_buttons(panel: Panel) -> None:
    """The way back from a message, also after a button, leads to the same list."""
    id = send(panel, "to ada")
    page = panel.get(OUTBOX + "?q=ada&status=queued")
    url = str(page.select_one("tbody a")["href"])  # type: ignore[index]
    back = panel.get(url).select_one("main p a")["href"]  # type: ignore[index]
    assert back == OUTBOX + "?q=ada&status=queued"
    response = press(panel, id, "cancel", "?q=ada&status=queued")
    assert response.location.endswith("?q=ada&status=queued")


def test_r28_r31_the_details_tell_the_route(panel: Panel) -> None:
    """Which location, which group, and why the default To got it."""
    panel.host.people.mergers = {"Firm List": [NAMELESS]}
    with panel.host.app.app_context():
        sent = request_merge(a_merge("Firm List", requester=ADA))
    assert sent is not None
    route = panel.get(f"{OUTBOX}{sent.id}/").select_one(".im-route")
    assert route is not None
    assert "Firm List" in route.text
    assert "Quiet Group" in route.text


def test_r40_the_details_show_headers_and_envelope_sender(panel: Panel) -> None:
    """From, Sender and the envelope sender are told apart."""
    page = panel.get(f"{OUTBOX}{send(panel, 'Header test')}/").text
    for word in ("Envelope sender", "crm@firm.example", "ada@firm.example", "Auto-Submitted"):
        assert word in page


def test_attempts_and_replies_are_shown_for_each_recipient(panel: Panel) -> None:
    """Status and reply of every recipient, and every attempt with what the server said."""
    id = send(panel, "partly", [ADA, Party("Zoe", "zoe@else.example")])
    change(panel, id, status="failed", reason="refused", due_at=None, detail="550 5.1.1 no such")
    with panel.host.app.app_context(), panel.host.state.database.writing() as connection:
        connection.execute(
            sa.update(RecipientRow)
            .where(RecipientRow.address == "zoe@else.example")
            .values(status="failed", reply="550 5.1.1 no such")
        )
        connection.execute(
            sa.insert(AttemptRow).values(
                message_id=id,
                number=1,
                started_at=clock.now(),
                finished_at=clock.now(),
                server="mail.example:25",
                worker="w",
                result="accepted",
                stage="accepted",
                reply="250 OK",
                verdicts='{"zoe@else.example": "550 5.1.1 no such", "ada@firm.example": "250"}',
            )
        )
    page = panel.get(f"{OUTBOX}{id}/")
    assert "mail.example:25" in page.text
    assert page.text.count("550 5.1.1 no such") == 2  # why it has failed, and beside the recipient
    assert "The server refused it." in page.text


def test_a_body_is_shown_only_with_the_right(panel: Panel, rights: set[str]) -> None:
    """Without 'body' neither the page nor the frame gives the text away (T4)."""
    id = send(panel, "Reset", text="link-in-text", html="<p>link-in-html</p>")
    page = panel.get(f"{OUTBOX}{id}/")
    assert "link-in-text" in page.select_one("pre.im-text").text  # type: ignore[union-attr]
    assert page.select_one("iframe.im-html").has_attr("sandbox")  # type: ignore[union-attr]
    framed = panel.client.get(f"{OUTBOX}{id}/html")
    assert "link-in-html" in framed.text
    assert "default-src 'none'" in framed.headers["Content-Security-Policy"]
    assert "sandbox" in framed.headers["Content-Security-Policy"]
    rights.discard("body")
    hidden = panel.client.get(f"{OUTBOX}{id}/")
    assert "link-in" not in hidden.text
    assert panel.client.get(f"{OUTBOX}{id}/html").status_code == 403


def test_a_removed_body_says_so(panel: Panel) -> None:
    """After the retention time the page still opens."""
    id = send(panel, "Old")
    change(panel, id, status="sent", due_at=None, content=None, intent="{}")
    page = panel.get(f"{OUTBOX}{id}/").text
    assert "deleted after the retention time" in page
    assert "Queued as a new message" not in panel.get(OUTBOX).text
    response = press(panel, id, "resend")
    assert response.status_code == 303
    assert len(panel.host.rows()) == 1


def test_cancel_calls_a_waiting_message_back(panel: Panel) -> None:
    """It is cancelled once; a second press says that it is too late."""
    id = send(panel, "Wrong")
    assert press(panel, id, "cancel").status_code == 303
    assert status(panel, id) == "cancelled"
    page = panel.get(f"{OUTBOX}{id}/")
    assert "it will not be sent" in page.text
    assert page.find("button", string=lambda text: bool(text and "Cancel" in text)) is None


def test_r34_resend_makes_a_new_message(panel: Panel) -> None:
    """The new one is shown, names the old one, and the old one stays as it is."""
    id = send(panel, "Again")
    change(panel, id, status="failed", reason="refused", due_at=None)
    response = press(panel, id, "resend")
    assert status(panel, id) == "failed"
    (new,) = [row for row in panel.host.rows() if row.id != id]
    assert new.resend_of == id
    assert str(new.id) in response.location
    assert str(id) in str(panel.get(response.location))
    assert str(new.id) in str(panel.get(f"{OUTBOX}{id}/"))


def test_release_lets_a_held_message_go(panel: Panel) -> None:
    """The same bytes wait to be sent again."""
    id = send(panel, "Held")
    change(panel, id, status="held", reason="ambiguous", due_at=None)
    assert "nobody knows whether" in panel.get(f"{OUTBOX}{id}/").text
    press(panel, id, "release")
    assert status(panel, id) == "queued"


def test_what_is_held_for_its_rate_waits_for_nobody(panel: Panel) -> None:
    """It is sent automatically: neither red nor "waits for you", in the list and in the details."""
    id = send(panel, "Many")
    change(panel, id, status="held", reason="rate")
    with panel.host.app.app_context(), panel.host.state.database.writing() as connection:
        connection.execute(sa.update(RecipientRow).values(status="held"))
    for page in (panel.get(OUTBOX), panel.get(f"{OUTBOX}{id}/")):
        main = page.select_one("main")
        assert main is not None
        lines = [one for one in main.select(".im-status") if one.text == "held"]
        assert lines
        assert {" ".join(one["class"]) for one in lines} == {"im-status im-status-queued"}
        assert all("sent automatically" in str(one["title"]) for one in lines)
        assert main.select(".im-alert-bad") == []
    assert "waits for you" not in panel.get(OUTBOX).text  # nor in the filters
    assert "Leaves" in [one.text for one in panel.get(f"{OUTBOX}{id}/").select("dt")]
    change(panel, id, reason="poison")
    assert "waits for you" in panel.get(f"{OUTBOX}{id}/").text


def test_what_was_held_for_its_rate_is_found_by_that_whatever_became_of_it(panel: Panel) -> None:
    """It keeps the reason when its digest has left or has failed; other statuses narrow that."""
    for word in ("held", "sending", "sent", "failed"):
        change(panel, send(panel, word), status=word, reason="rate", due_at=None)
    send(panel, "other")
    for query in ("?reason=rate", "?reason=rate&q=ada", "?reason=rate&q=ada@firm.example"):
        assert subjects(panel.get(OUTBOX + query)) == ["failed", "sent", "sending", "held"]
    assert subjects(panel.get(f"{OUTBOX}?reason=rate&status=sent")) == ["sent"]


@pytest.mark.parametrize("action", ["cancel", "release"])
def test_what_an_administrator_decided_ends_the_reason_for_waiting(
    panel: Panel, action: str
) -> None:
    """The text that it leaves at that time, unless it is cancelled, does not stay behind."""
    id = send(panel, "Many")
    change(panel, id, status="held", reason="rate", detail="It leaves at about 12:00:00 UTC.")
    assert press(panel, id, action).status_code == 303
    assert "12:00:00" not in panel.get(f"{OUTBOX}{id}/").text


def test_an_unknown_message_is_not_found(panel: Panel) -> None:
    """Details, frame and buttons of a message that is not there answer 404."""
    nobody = uuid.uuid4()
    panel.get(f"{OUTBOX}{nobody}/", status=404)
    panel.get(f"{OUTBOX}{nobody}/html", status=404)
    panel.get(f"{OUTBOX}not-a-number/", status=404)
    token = form_values(panel.get(f"{OUTBOX}{send(panel, 'x')}/"))
    assert panel.client.post(f"{OUTBOX}{nobody}/resend", data=token).status_code == 404


def test_r4_a_message_of_the_time_before_the_settings_can_be_sent_now(tmp_path: Path) -> None:
    """It is kept as failed with the reason, and Resend routes it once there are settings."""
    with opened_panel(tmp_path) as panel:
        with panel.host.app.app_context():
            sent = request_merge(a_merge("Firm List", requester=ADA))
        (row,) = panel.host.rows()
        assert sent is None or sent.id == row.id
        page = panel.get(f"{OUTBOX}{row.id}/").text
        assert "not configured" in page
        assert press(panel, row.id, "resend").status_code == 303
        assert len(panel.host.rows()) == 1
        panel.host.configure()
        press(panel, row.id, "resend")
        assert [new.status for new in panel.host.rows() if new.id != row.id] == ["queued"]


def test_naughty_subjects_and_names_stay_text(panel: Panel) -> None:
    """Markup in what others wrote is shown, not obeyed (T5)."""
    naughty = '"><script>alert(1)</script>'
    id = send(panel, naughty, Party(naughty, "ada"), text=naughty)
    for url in (OUTBOX, f"{OUTBOX}{id}/", OUTBOX + "?q=" + naughty):
        page = panel.client.get(url).text
        assert "<script>alert" not in page
        assert "&lt;script&gt;alert" in page


def test_the_states_are_tabs_with_counts(panel: Panel) -> None:
    """All, waiting and the five final ones; a tab leads to its messages and keeps the search."""
    for number, word in enumerate(("queued", "sending", "deferred", "sent", "failed", "failed")):
        change(panel, send(panel, f"{word} {number}"), status=word)
    page = panel.get(OUTBOX + "?q=ada@firm.example")
    tabs = {one.text.split()[0]: one for one in page.select("#im-states a")}
    counts = {name: one.select_one(".im-number").text for name, one in tabs.items()}  # type: ignore[union-attr]
    assert counts == {
        "All": "6",
        "Waiting": "3",
        "Sent": "1",
        "Failed": "2",
        **dict.fromkeys(("Held", "Suppressed", "Cancelled"), "0"),
    }
    waiting = panel.get(str(tabs["Waiting"]["href"]))
    assert subjects(waiting) == ["deferred 2", "sending 1", "queued 0"]
    assert waiting.select_one("#im-q")["value"] == "ada@firm.example"  # type: ignore[index]
    assert waiting.select_one('#im-states [aria-current="true"]').text.split()[0] == "Waiting"  # type: ignore[union-attr]
    assert panel.get(OUTBOX).select("#im-states a")[0].text.split() == ["All", "6"]


def test_a_state_without_a_tab_can_still_be_named(panel: Panel) -> None:
    """A link of an earlier version to what is queued alone works, and says so."""
    change(panel, send(panel, "one"), status="deferred")
    send(panel, "two")
    page = panel.get(OUTBOX + "?status=queued")
    assert subjects(page) == ["two"]
    assert page.select_one('#im-states [aria-current="true"]').text.split() == ["queued", "1"]  # type: ignore[union-attr]


def test_what_is_not_counted_says_more(panel: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to a bound the number is right; above it is only said that there are more."""
    for number in range(4):
        send(panel, f"m{number}")
    monkeypatch.setattr(listing, "PAGE", 2)
    assert range_of(panel.get(OUTBOX)) == "1–2 of 4"
    monkeypatch.setattr(listing, "MOST", 3)
    page = panel.get(OUTBOX)
    assert range_of(page) == "1–2 of more than 3"
    assert page.select_one("#im-states .im-number").text == "3+"  # type: ignore[union-attr]
    second = panel.get(str(page.find("a", rel="next")["href"]))  # type: ignore[index]
    assert range_of(second) == "3–4 of 4"


def range_of(page: BeautifulSoup) -> str:
    text = page.select_one("#im-range")
    assert text is not None
    return " ".join(text.text.split())


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("since=2026-02-01&until=2026-01-01", "is after"),
        ("since=soon", "is no day"),
        ("until=2026-02-30", "is no day"),
        ("status=lost", "no such state"),
        ("reason=bad+luck", "no such reason"),
        ("status=sent&reason=refused", "nothing can match"),
    ],
)
def test_a_filter_that_makes_no_sense_says_so(panel: Panel, query: str, words: str) -> None:
    """In a sentence above the list."""
    send(panel, "one")
    alerts = panel.get(f"{OUTBOX}?{query}").select(".im-alert-warn")
    assert any(words in one.text for one in alerts), alerts
    assert panel.get(OUTBOX).select(".im-alert-warn") == []


@pytest.mark.parametrize("brackets", [True, False])
def test_a_message_id_finds_its_message(panel: Panel, brackets: bool) -> None:
    """With the brackets or without them, at once."""
    send(panel, "other")
    id = send(panel, "wanted")
    (row,) = [row for row in panel.host.rows() if row.id == id]
    page = panel.get(OUTBOX + "?q=" + (row.message_id if brackets else row.message_id[1:-1]))
    assert subjects(page) == ["wanted"]
    assert "exactly this Message-ID" in page.text


def test_days_are_those_of_the_reader(panel: Panel) -> None:
    """A day begins at the reader's midnight; the URL says whose, and so does the file."""
    id = send(panel, "late")
    change(panel, id, created_at=clock.to_db(_day(2020, 2, 1)))  # 23:59 in UTC
    panel.client.set_cookie("interaction_mail_zone", "Europe/Berlin")
    assert subjects(panel.get(OUTBOX + "?since=2020-02-02&until=2020-02-02")) == ["late"]
    assert subjects(panel.get(OUTBOX + "?since=2020-02-01&until=2020-02-01")) == []
    page = panel.get(OUTBOX + "?since=2020-02-01&until=2020-02-01&zone=UTC")
    assert subjects(page) == ["late"]
    assert "zone=UTC" in page.select_one("#im-states a")["href"]  # type: ignore[index, operator]
    assert "2020-02-02 00:59 CET" in page.text
    file = panel.client.get(OUTBOX + "export.csv").text
    assert "created (Europe/Berlin)" in file
    assert "2020-02-02 00:59:00" in file


@pytest.mark.parametrize("zone", ["Nowhere/Land", "../../etc/passwd", "Europe", "x" * 99, "\u00e4"])
def test_a_zone_that_is_none_is_utc(panel: Panel, zone: str) -> None:
    """Whatever a cookie says."""
    send(panel, "one")
    panel.client.set_cookie("interaction_mail_zone", zone)
    page = panel.get(OUTBOX)
    assert "UTC" in page.select_one("td time").text  # type: ignore[union-attr]


def test_what_failed_or_is_held_says_why_in_a_second_line(panel: Panel) -> None:
    """In words; what is sent has one line."""
    failed, _ = send(panel, "bad"), send(panel, "good")
    change(panel, failed, status="failed", reason="refused", detail="550 no such user")
    lines = panel.get(OUTBOX).select("tr.im-why")
    assert [" ".join(one.text.split()) for one in lines] == [
        "The server refused it. 550 no such user"
    ]


def test_a_line_names_the_first_recipient(panel: Panel) -> None:
    """And how many others there are."""
    send(panel, "many", [f"p{number}@x.example" for number in range(4)])
    row = panel.get(OUTBOX).select("tbody tr")[0]
    assert row.select_one("bdi").text == "p0@x.example"  # type: ignore[union-attr]
    assert row.select_one(".im-others").text == "+3"  # type: ignore[union-attr]


def test_the_size_of_a_page_is_chosen(panel: Panel) -> None:
    """One of three; anything else is the usual one."""
    for number in range(30):
        send(panel, f"m{number}")
    assert len(subjects(panel.get(OUTBOX + "?size=25"))) == 25
    assert len(subjects(panel.get(OUTBOX + "?size=7"))) == 30
    older = panel.get(OUTBOX + "?size=25").find("a", rel="next")
    assert len(subjects(panel.get(str(older["href"])))) == 5  # type: ignore[index]


def test_an_empty_state_says_what_would_be_there(panel: Panel) -> None:
    """Each tab in its own words."""
    send(panel, "one")
    assert "could not be sent are listed here" in panel.get(OUTBOX + "?status=failed").text


def test_without_the_right_nothing_can_be_chosen(panel: Panel, rights: set[str]) -> None:
    """No box to tick, no button."""
    send(panel, "one")
    assert panel.get(OUTBOX).select_one("#im-chosen") is not None
    rights.discard("resend")
    page = panel.get(OUTBOX)
    assert page.select("main input[type=checkbox], main button[name=do]") == []
    assert panel.client.post(OUTBOX + "bulk").status_code == 403


def test_what_changed_since_a_list_was_shown(panel: Panel) -> None:
    """The states of its messages, the counts, and how many are newer."""
    first, second = send(panel, "first"), send(panel, "second")
    shown = panel.get(OUTBOX).select_one("[data-im-live]")
    assert shown is not None
    send(panel, "third")
    change(panel, first, status="sent")
    url = f"{shown['data-im-live']}&row={first}&row={second.hex}&row=rubbish"
    live = panel.get(url)
    states = {one["data-im-row"]: one for one in live.select("[data-im-row]")}
    assert states[str(first)].text == "sent"
    assert "data-im-moves" not in states[str(first)].attrs
    assert states[str(second)].text == "queued"
    assert "data-im-moves" in states[str(second)].attrs
    assert live.select_one("#im-newer").text == "1 newer: show them"  # type: ignore[union-attr]
    assert live.select_one("#im-states .im-number").text == "3"  # type: ignore[union-attr]
    assert panel.get(OUTBOX + "live?newest=rubbish").select_one("#im-newer").text == ""  # type: ignore[union-attr]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_database_gives_the_same_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dialect: str
) -> None:
    """Counts, pages of several states, a Message-ID, an address, a word, and what is newer."""
    monkeypatch.setattr(listing, "PAGE", 2)
    monkeypatch.setattr(listing, "MOST", 1)
    with fresh_database(dialect, tmp_path) as url:
        host = Host(url, admin=Admin(index_view=OpenIndex()))
        host.configure()
        panel = Panel(host)
        for number, word in enumerate(("queued", "sent", "deferred", "sent", "queued", "sending")):
            at = clock.to_db(_day(2020, 1, 1 + number))
            change(panel, send(panel, f"m{number}"), status=word, created_at=at)
        page = panel.get(OUTBOX + "?status=waiting")
        assert [one.text for one in page.select(".im-number")][:3] == ["4+", "3+", "1+"]
        seen = subjects(page)
        seen += subjects(panel.get(str(page.find("a", rel="next")["href"])))  # type: ignore[index]
        assert seen == ["m5", "m4", "m2", "m0"]
        wanted = next(row for row in host.rows() if row.subject == "m3")
        assert subjects(panel.get(f"{OUTBOX}?q={wanted.message_id[1:-1]}")) == ["m3"]
        assert subjects(panel.get(f"{OUTBOX}?q=Ada@firm.example&kind=notification")) == ["m5", "m4"]
        assert subjects(panel.get(f"{OUTBOX}?q=ada@firm.example&kind=other")) == []
        assert subjects(panel.get(f"{OUTBOX}?q=M1")) == ["m1"]
        assert subjects(panel.get(f"{OUTBOX}?since=2020-01-02&until=2020-01-02")) == ["m1"]
        newer = f"{OUTBOX}live?newest={wanted.created_at.isoformat()}_{wanted.id.hex}"
        assert panel.get(newer).select_one("#im-newer").text == "2 newer: show them"  # type: ignore[union-attr]
        panel.get(f"{OUTBOX}{wanted.id}/")
        host.close()
