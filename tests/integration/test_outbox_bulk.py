"""The same done with many messages: chosen ones or all that match, step by step."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from bs4 import BeautifulSoup
from flask_admin import Admin

from flask_interaction_mail import clock, operations, send_notification
from flask_interaction_mail.admin import bulk
from flask_interaction_mail.outbox import deeds
from flask_interaction_mail.storage.tables import CHECK
from tests import outbox_rows
from tests.databases import DIALECTS, fresh_database
from tests.host import ADA, Host
from tests.panel import HISTORY, OUTBOX, OpenIndex, Panel, form_values

BULK = OUTBOX + "bulk"


@contextmanager
def opened(url: str) -> Iterator[Panel]:
    """A panel in this database, open to everybody."""
    host = Host(url, admin=Admin(name="CRM", index_view=OpenIndex()))
    host.configure()
    try:
        yield Panel(host)
    finally:
        host.close()


@pytest.fixture
def panel(tmp_path: Path) -> Iterator[Panel]:
    with opened(f"sqlite:///{tmp_path}/crm.sqlite") as panel:
        yield panel


@pytest.fixture(params=DIALECTS)
def any_panel(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Panel]:
    with fresh_database(request.param, tmp_path) as url, opened(url) as panel:
        yield panel


def send(panel: Panel, count: int, **others: Any) -> list[uuid.UUID]:
    """Queue messages "m0", "m1" …, the oldest first."""
    with panel.host.app.app_context():
        sent = [
            send_notification(ADA, f"m{number}", text="Good day", **others)
            for number in range(count)
        ]
        panel.host.db.session.commit()
    ids = [one.id for one in sent]
    for number, id in enumerate(ids):
        moment = clock.now() - timedelta(hours=1) + timedelta(seconds=number)
        change(panel, id, created_at=moment)
    return ids


def change(panel: Panel, id: uuid.UUID | None = None, **values: Any) -> None:
    with panel.host.app.app_context(), panel.host.state.database.writing() as connection:
        outbox_rows.change(connection, id, **values)


def end(panel: Panel, id: uuid.UUID | None = None, status: str = "failed") -> None:
    """Bring messages to an end an hour ago."""
    ended = clock.now() - timedelta(hours=1)
    change(panel, id, status=status, reason="refused", due_at=None, finished_at=ended)


def statuses(panel: Panel) -> dict[str, str]:
    return {row.subject: row.status for row in panel.host.rows() if row.resend_of is None}


def choose(panel: Panel, action: str, *ids: uuid.UUID, query: str = "", **typed: str) -> Any:
    """Tick messages in the list and press a button; gives the answer."""
    form = panel.get(OUTBOX + query).select_one("#im-chosen")
    assert form is not None
    data: dict[str, Any] = {
        str(field["name"]): str(field["value"]) for field in form.select("input[type=hidden]")
    }
    ticked = [id.hex for id in ids]
    return panel.client.post(str(form["action"]), data=data | {"do": action, "id": ticked} | typed)


def asked(panel: Panel, action: str, *ids: uuid.UUID, query: str = "", **typed: str) -> Any:
    """The form of the question that follows."""
    answer = choose(panel, action, *ids, query=query, **typed)
    assert answer.status_code == 200, answer.text
    return form_values(BeautifulSoup(answer.text, "lxml"))


def steps(panel: Panel, form: dict[str, str]) -> list[BeautifulSoup]:
    """Press *Go on* until it is over; gives each page."""
    pages: list[BeautifulSoup] = []
    while True:
        answer = panel.client.post(BULK, data=form)
        assert answer.status_code == 200, answer.text
        pages.append(BeautifulSoup(answer.text, "lxml"))
        if pages[-1].select_one("form[data-im-job]") is None:
            return pages
        form = form_values(pages[-1])


def told(page: BeautifulSoup) -> str:
    text = page.select_one("#im-bulk")
    assert text is not None
    return " ".join(text.text.split())


def test_chosen_messages_are_cancelled(any_panel: Panel) -> None:
    """Those that were ticked and no others, after a question that does nothing by itself."""
    panel = any_panel
    ids = send(panel, 3)
    form = asked(panel, "cancel", ids[0], ids[2])
    assert set(statuses(panel).values()) == {"queued"}
    (page,) = steps(panel, form)
    assert "2 of 2 looked at: 2 cancelled." in told(page)
    assert statuses(panel) == {"m0": "cancelled", "m1": "queued", "m2": "cancelled"}


def test_all_that_match_are_released_over_many_steps(
    any_panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the page that is shown, as far as the filter goes; each step is a page of its own."""
    panel = any_panel
    monkeypatch.setattr(bulk, "SECONDS", 0)
    monkeypatch.setattr(bulk, "TOGETHER", 2)
    ids = send(panel, 6)
    for id in ids[:5]:
        change(panel, id, status="held", reason="ambiguous", due_at=None)
    pages = steps(panel, asked(panel, "release", query="?status=held&size=25", all="1"))
    assert len(pages) > 2
    assert "2 of 5 looked at: 2 released." in told(pages[0])
    assert pages[0].select_one("progress")["value"] == "2"  # type: ignore[index]
    assert "5 of 5 looked at: 5 released." in told(pages[-1])
    assert set(statuses(panel).values()) == {"queued"}


def test_what_came_after_the_list_is_not_touched(panel: Panel) -> None:
    """All that match means those that could be seen when the list was shown."""
    send(panel, 2)
    form = panel.get(OUTBOX).select_one("#im-chosen")
    assert form is not None
    hidden = {str(one["name"]): str(one["value"]) for one in form.select("input[type=hidden]")}
    with panel.host.app.app_context():
        send_notification(ADA, "later", text="Good day")
        panel.host.db.session.commit()
    answer = panel.client.post(str(form["action"]), data=hidden | {"do": "cancel", "all": "1"})
    steps(panel, form_values(BeautifulSoup(answer.text, "lxml")))
    assert statuses(panel) == {"m0": "cancelled", "m1": "cancelled", "later": "queued"}


def test_a_step_that_is_repeated_changes_nothing(
    any_panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second press of the same button resends nothing twice, and says the same."""
    panel = any_panel
    monkeypatch.setattr(bulk, "TOGETHER", 2)
    send(panel, 3)
    end(panel)
    form = asked(panel, "resend", all="1")
    first = steps(panel, form)[-1]
    again = steps(panel, form)[-1]
    assert "3 sent again." in told(first)
    assert told(again) == told(first)
    copies = [row for row in panel.host.rows() if row.resend_of is not None]
    assert len(copies) == 3
    assert all(row.key.startswith("bulk:") for row in copies)


@pytest.mark.parametrize("action", ["cancel", "release"])
def test_a_repeated_step_is_told_as_done(panel: Panel, action: str) -> None:
    """Not as left out: the same job has done it."""
    ids = send(panel, 2)
    change(panel, status="held", reason="ambiguous", due_at=None)
    form = asked(panel, action, *ids)
    first, again = (steps(panel, form)[-1] for _ in range(2))
    assert "left out" not in told(again)
    assert told(again) == told(first)


def test_what_changed_meanwhile_is_left_out_and_told(panel: Panel) -> None:
    """Of two who act on one message the first wins, and the other hears why nothing happened."""
    mine, theirs, gone, sent = ids = send(panel, 4)
    form = asked(panel, "cancel", *ids)
    with panel.host.app.app_context():
        operations.cancel(panel.host.state, theirs, by="somebody else")
        with panel.host.state.database.writing() as connection:
            for table in ("recipient", "delivery", "message"):
                column = "message_id" if table == "recipient" else "id"
                raw = sa.text(f"DELETE FROM interaction_mail_{table} WHERE {column} = :id")
                connection.execute(raw, {"id": gone.hex})
    end(panel, sent, "sent")
    (page,) = steps(panel, form)
    assert "4 of 4 looked at: 1 cancelled, 3 left out." in told(page)
    assert "2 have left, are on their way with others, or were cancelled already" in told(page)
    assert "1 is not in the outbox any more" in told(page)
    assert [link.text for link in page.select("section a")] == ["m1", "m3"]
    assert statuses(panel)["m0"] == "cancelled"
    assert mine


def test_a_resend_leaves_out_what_it_must(panel: Panel) -> None:
    """What waits, was sent again before, has ended since it was seen, or has no text any more."""
    ended, waits, again, since, purged = ids = send(panel, 5)
    for id in (ended, again, since, purged):
        end(panel, id)
    change(panel, purged, intent="{}", content=None)
    with panel.host.app.app_context():
        operations.resend(panel.host.state, again, by="somebody")
    form = asked(panel, "resend", *ids)
    change(panel, since, finished_at=clock.now() + timedelta(seconds=1))
    (page,) = steps(panel, form)
    text = told(page)
    assert "5 of 5 looked at: 1 sent again, 4 left out." in text
    for words in ("still waits", "was sent again", "has changed since", "cannot be sent again"):
        assert f"1 {words}" in text, words
    copies = [row.resend_of for row in panel.host.rows() if row.resend_of not in (None, again)]
    assert copies == [ended]
    assert waits


def test_a_message_with_a_key_of_the_host_keeps_it(panel: Panel) -> None:
    """The key means the copy then, as after any resend."""
    (id,) = send(panel, 1, key="invoice-7")
    end(panel, id)
    steps(panel, asked(panel, "resend", id))
    (copy,) = [row for row in panel.host.rows() if row.resend_of == id]
    assert copy.key == "invoice-7"


def test_a_lost_database_in_the_midst_is_told_and_the_job_goes_on(
    any_panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page that says so carries the job from where it was; nothing is done twice."""
    panel, before = any_panel, deeds.note
    monkeypatch.setattr(bulk, "TOGETHER", 2)
    monkeypatch.setattr(bulk, "SECONDS", 60)
    send(panel, 5)
    end(panel)
    form = asked(panel, "resend", all="1")
    calls: list[int] = []

    def lost(connection: sa.Connection, *given: Any, **named: Any) -> None:
        calls.append(1)
        if len(calls) == 4:
            raise sa.exc.OperationalError("INSERT", {}, Exception("server closed the connection"))
        before(connection, *given, **named)

    monkeypatch.setattr(deeds, "note", lost)
    answer = panel.client.post(BULK, data=form)
    assert answer.status_code == 503
    page = BeautifulSoup(answer.text, "lxml")
    assert "goes on where it was" in told(page)
    assert "2 of 5 looked at: 2 sent again." in told(page)
    assert len([row for row in panel.host.rows() if row.resend_of is not None]) == 3
    end_page = steps(panel, form_values(page))[-1]
    assert "5 of 5 looked at: 5 sent again." in told(end_page)
    assert len([row for row in panel.host.rows() if row.resend_of is not None]) == 5


def test_a_step_takes_about_a_second(panel: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow a message is: the rest is left to the next step."""
    slow = iter([0.0, *(number * 0.7 for number in range(1, 100))])
    monkeypatch.setattr(
        "flask_interaction_mail.admin.bulk_pages.time.monotonic", lambda: next(slow)
    )
    send(panel, 4)
    end(panel)
    page = steps(panel, asked(panel, "resend", all="1"))[0]
    assert "looked at" in told(page)
    assert page.select_one("form[data-im-job]") is not None


@pytest.mark.parametrize("tampered", ["other", "cut", "foreign", "none of ours"])
def test_a_job_that_this_session_did_not_sign_is_refused(panel: Panel, tampered: str) -> None:
    """A page of another session, or a text that somebody changed, does nothing."""
    (id,) = send(panel, 1)
    form = asked(panel, "cancel", id)
    stranger = Panel(panel.host)
    foreign = asked(stranger, "cancel", id)["job"]
    job = {"other": "x" + form["job"], "cut": form["job"][:-3], "foreign": foreign}.get(
        tampered, "rubbish"
    )
    answer = panel.client.post(BULK, data=form | {"job": job})
    assert answer.status_code == 303
    assert "out of date" in panel.get(answer.location).text
    assert statuses(panel) == {"m0": "queued"}


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ({}, "No message was chosen"),
        ({"id": "rubbish"}, "No message was chosen"),
        ({"do": "purge", "all": "1"}, "out of date"),
    ],
)
def test_a_choice_that_makes_no_sense_says_so(
    panel: Panel, typed: dict[str, str], words: str
) -> None:
    """Nothing chosen, or something that nobody offered: the list, with a sentence."""
    send(panel, 1)
    answer = choose(panel, "cancel", query="?q=m0", **typed)
    assert answer.status_code == 303
    assert answer.location.endswith("?q=m0")
    assert words in panel.get(answer.location).text
    assert statuses(panel) == {"m0": "queued"}


def test_a_filter_that_nothing_matches_any_more_says_so(panel: Panel) -> None:
    """Between the list and the button somebody else has done it."""
    (id,) = send(panel, 1)
    form = panel.get(OUTBOX + "?status=queued").select_one("#im-chosen")
    assert form is not None
    hidden = {str(one["name"]): str(one["value"]) for one in form.select("input[type=hidden]")}
    end(panel, id, "sent")
    answer = panel.client.post(str(form["action"]), data=hidden | {"do": "cancel", "all": "1"})
    assert "nothing to do" in panel.get(answer.location).text


def test_a_search_for_words_is_followed_to_its_end(
    panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where its first steps find nothing, and nobody knows how many there are."""
    from flask_interaction_mail.outbox import listing

    monkeypatch.setattr(listing, "STEP", 2)
    monkeypatch.setattr(listing, "SECONDS", 0)
    monkeypatch.setattr(bulk, "SECONDS", 0)
    ids = send(panel, 9)
    change(panel, ids[0], subject="needle")
    change(panel, ids[-1], subject="needle too")
    pages = steps(panel, asked(panel, "cancel", query="?q=needle", all="1"))
    assert pages[0].select_one("progress") is None
    assert "2 looked at: 2 cancelled." in told(pages[-1])
    cancelled = [subject for subject, word in statuses(panel).items() if word == "cancelled"]
    assert sorted(cancelled) == ["needle", "needle too"]


def test_each_message_is_in_the_history(panel: Panel) -> None:
    """With who did it, as after a button of its own page."""
    ids = send(panel, 2)
    steps(panel, asked(panel, "cancel", *ids))
    page = panel.get(HISTORY + "?which=messages")
    assert page.text.count("cancelled") == 2
    assert kinds(panel) == ["cancelled", "cancelled"]


def kinds(panel: Panel) -> Sequence[str]:
    with panel.host.app.app_context(), panel.host.state.database.reading() as connection:
        deeds_of = sa.select(CHECK.c.verdict).where(CHECK.c.kind == "deed")
        return connection.scalars(deeds_of).all()


@pytest.mark.parametrize("action", ["resend", "cancel"])
def test_two_people_at_once_do_each_message_once(any_panel: Panel, action: str) -> None:
    """What one has done the other hears as left out; together they did all of it."""
    count = 8
    send(any_panel, count)
    if action == "resend":
        end(any_panel)
    people = [Panel(any_panel.host) for _ in range(2)]
    forms = [asked(person, action, all="1") for person in people]
    with ThreadPoolExecutor() as pool:
        ends = [pages[-1] for pages in pool.map(steps, people, forms)]
    assert sum(done_in(page) for page in ends) == count
    assert all(f"{count} of {count} looked at" in told(page) for page in ends)
    copies = [row.resend_of for row in any_panel.host.rows() if row.resend_of is not None]
    assert len(copies) == len(set(copies)) == (count if action == "resend" else 0)
    assert len(kinds(any_panel)) == count


def test_a_button_that_is_pressed_twice_at_once_does_it_once(any_panel: Panel) -> None:
    """Two requests with the same job side by side, as after a double click."""
    send(any_panel, 6)
    end(any_panel)
    form = asked(any_panel, "resend", all="1")
    cookie = any_panel.client.get_cookie("session")
    assert cookie is not None
    people = [Panel(any_panel.host) for _ in range(2)]
    for person in people:
        person.client.set_cookie("session", cookie.value)
    with ThreadPoolExecutor() as pool:
        ends = [pages[-1] for pages in pool.map(steps, people, [form, form])]
    assert [done_in(page) for page in ends] == [6, 6]
    copies = [row.resend_of for row in any_panel.host.rows() if row.resend_of is not None]
    assert len(copies) == len(set(copies)) == 6


def done_in(page: BeautifulSoup) -> int:
    found = re.search(r"looked at: (\d+)", told(page))
    assert found is not None
    return int(found[1])


def test_a_step_may_be_repeated_after_a_message_is_held_again(any_panel: Panel) -> None:
    """What this job has released is not released once more by the same job: nothing is an error."""
    panel = any_panel
    (id,) = send(panel, 1)
    change(panel, id, status="held", reason="ambiguous", due_at=None)
    form = asked(panel, "release", id)
    steps(panel, form)
    assert statuses(panel) == {"m0": "queued"}
    change(panel, id, status="held", reason="ambiguous", due_at=None)
    (page,) = steps(panel, form)
    assert "1 of 1 looked at: 1 released." in told(page)
    assert statuses(panel) == {"m0": "held"}
