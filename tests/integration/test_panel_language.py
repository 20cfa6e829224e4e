"""The panel in another language: whatever is ours on a page is translated, and nothing stored."""

from __future__ import annotations

import gettext
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from babel.messages.extract import extract_from_dir
from bs4 import BeautifulSoup, NavigableString

import flask_interaction_mail
from flask_interaction_mail import clock
from flask_interaction_mail.models import AttemptRow
from flask_interaction_mail.values import Party
from tests.host import People
from tests.panel import (
    ACTIVITY,
    COVERAGE,
    EXPLAIN,
    HISTORY,
    HOME,
    OUTBOX,
    TEMPLATES,
    TEST,
    TYPED,
    Panel,
    change,
    error_at,
    form_values,
    opened_panel,
    send,
)

OPEN, CLOSE = "⟦", "⟧"
ZOE = Party("Ζωή", "zoe", id=2)  # what is not ours has no Latin letters, but for addresses
WRONG = {
    "smtp_server": "a b",
    "smtp_port": "x",
    "encryption": "none",
    "use_authentication": "y",
    "login": "a\x01",
    "password": "a",
    "password_confirm": "b",
    "alert_waiting": "99999",
    "mail_colour": "red",
    "ca_certificate": "x",
}
NAMES = {"backup", "default"}  # of relays
SPOKEN = ("title", "aria-label", "placeholder", "alt", "label", "data-label")


KEYWORDS = {
    "mark": None,
    "gettext": None,
    "_gettext": None,
    "ngettext": (1, 2),
    "_ngettext": (1, 2),
}


@pytest.fixture(autouse=True)
def looked_up(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Speak a language in which each text is the English one in brackets; gives those texts."""
    found: set[str] = set()

    def one(_: object, text: str) -> str:
        if OPEN not in text:  # what an error says may be in that language already
            found.add(text)
        return f"{OPEN}{text}{CLOSE}"

    def several(_: object, one: str, many: str, count: int) -> str:
        found.update((one, many))
        return f"{OPEN}{one if count == 1 else many}{CLOSE}"

    monkeypatch.setattr(gettext.NullTranslations, "gettext", one)
    monkeypatch.setattr(gettext.NullTranslations, "ngettext", several)
    return found


def extracted() -> set[str]:
    """The texts that translators are given, as they are found in the source."""
    package = Path(flask_interaction_mail.__file__).parent
    methods = [("**.py", "python"), ("templates/**", "jinja2")]
    rows = extract_from_dir(package, methods, keywords=KEYWORDS)
    texts = (row[2] for row in rows)
    return {one for text in texts for one in (text if isinstance(text, tuple) else (text,))}


@pytest.fixture
def panel(tmp_path: Path) -> Iterator[Panel]:
    with opened_panel(tmp_path, access=lambda _: True) as opened:
        opened.host.people.user = ZOE
        yield opened


def said(page: BeautifulSoup) -> list[str]:
    """What our part of a page says, also to those who hear it."""
    part = page.select_one(".im")
    assert part is not None
    for other in part.select("script, style, iframe, code, pre, bdi, .im-address, .im-said, time"):
        other.replace_with(NavigableString("…"))
    texts = [part.get_text(" ")]
    texts += [str(tag[name]) for name in SPOKEN for tag in part.select(f"[{name}]")]
    return texts


def english(page: BeautifulSoup) -> list[str]:
    """The words on a page that are in no brackets, but for addresses and such."""
    found: list[str] = []
    for text in said(page):
        inner = re.compile(f"{OPEN}[^{OPEN}{CLOSE}]*{CLOSE}")
        while inner.search(text):
            text = inner.sub(" ", text)
        words = (word.strip(".,:;()“”↳") for word in text.split())
        found += [
            word for word in words if re.fullmatch("[A-Za-z]{2,}", word) and word not in NAMES
        ]
    return found


def parsed(html: str) -> BeautifulSoup:
    return BeautifulSoup(html, "lxml")


@pytest.fixture
def used(panel: Panel) -> Panel:
    """A panel with settings, a test, and a message that was tried in vain."""
    panel.save()
    panel.save(paused="y", divert_to="x")
    id = send(panel, "Θέμα", [ZOE, Party("Ρωξάνη", "r@x.example")])
    moment = clock.now() - timedelta(minutes=5)
    with panel.host.app.app_context(), panel.host.state.database.writing() as connection:
        for number, result in enumerate(("transient", "ambiguous", "server"), 1):
            row = {"message_id": id, "number": number, "started_at": moment, "finished_at": moment}
            row |= {"server": "mail.example:25", "worker": "w", "result": result}
            row |= {"stage": "recipient", "reply": "451 4.7.1", "verdicts": "{}"}
            connection.execute(sa.insert(AttemptRow).values(**row))
    change(panel, id, status="held", reason="ambiguous")
    panel.client.post(f"{OUTBOX}{id}/release", data=form_values(panel.get(f"{OUTBOX}{id}/")))
    return panel


def test_a_page_says_nothing_in_english_before_it_is_used(panel: Panel) -> None:
    """What is not there yet is explained, too."""
    for url in (HOME, OUTBOX, ACTIVITY, HISTORY, TEMPLATES, EXPLAIN):
        assert english(panel.get(url)) == [], url


@pytest.mark.parametrize(
    "urls",
    [
        (HOME, TEMPLATES, COVERAGE, COVERAGE + "?domain=other.example"),
        (OUTBOX, OUTBOX + "?status=sent", OUTBOX + "bulk", HISTORY, HISTORY + "1/"),
        (OUTBOX + "?status=queued&reason=nope&since=x&until=y&q=a", ACTIVITY),
        (ACTIVITY + "?last=hour", EXPLAIN, EXPLAIN + "?location=x&requester=nobody"),
    ],
)
def test_a_page_says_nothing_in_english(urls: tuple[str, ...], used: Panel) -> None:
    """Nor what only a screen reader says."""
    for url in urls:
        page = used.get(url)
        assert OPEN in page.text
        assert english(page) == [], url


def test_an_error_at_a_field_comes_in_the_readers_language(panel: Panel) -> None:
    """Of a cleaner, of a rule and of the form; the values in it are filled in."""
    page = parsed(panel.post(**TYPED | WRONG).text)
    assert english(page) == []
    for name in WRONG.keys() - {"password", "use_authentication"}:
        assert error_at(page, name).startswith(OPEN), name
    assert f"{OPEN}'a b' contains spaces" in error_at(page, "smtp_server")
    assert "from 0 to 10080" in error_at(page, "alert_waiting")


def test_advice_on_a_password_names_parts_of_the_connection(panel: Panel) -> None:
    """As a list that a translation may write in its own way."""
    typed = {**TYPED, "use_authentication": "y", "login": "crm", "password": "x" * 20}
    panel.save(**typed, password_confirm="x" * 20)
    page = parsed(
        panel.save(
            **typed | {"smtp_server": "z.example", "smtp_port": "26"} | {"password": ""}
        ).text
    )
    said_of_it = error_at(page, "password")
    assert f"another {OPEN}{OPEN}server{CLOSE} and {OPEN}port{CLOSE}{CLOSE}." in said_of_it


def test_what_is_done_with_many_messages_is_counted_in_the_readers_language(used: Panel) -> None:
    """From the question to the summary."""
    values = form_values(used.get(OUTBOX)) | {"do": "cancel", "all": "1"}
    asked = parsed(used.client.post(f"{OUTBOX}bulk?status=waiting", data=values).text)
    assert f"{OPEN}Waiting{CLOSE}" in [one.text for one in asked.select("#im-bulk bdi")]
    assert f"{OPEN}1 message{CLOSE}" in asked.text
    done = parsed(used.client.post(OUTBOX + "bulk", data=form_values(asked)).text)
    summary = " ".join(done.text.split())
    assert f"{OPEN}1 of 1 looked at{CLOSE}{OPEN}: {CLOSE} {OPEN}1 cancelled{CLOSE}." in summary
    assert english(asked) == english(done) == []


def test_a_state_is_shown_translated_and_stays_a_code_for_programs(used: Panel) -> None:
    """In the class of its element and in the file for spreadsheets; so do names of columns."""
    state = used.get(OUTBOX).select_one(".im-status-queued")
    assert state is not None
    assert state.text == f"{OPEN}queued{CLOSE}"
    assert str(state["title"]).startswith(OPEN)
    head, line, *_ = used.client.get(OUTBOX + "export.csv").text.splitlines()
    assert '"status","reason"' in head
    assert '"queued"' in line
    assert OPEN not in head + line


def test_a_preset_says_in_the_readers_language_what_it_wants(panel: Panel) -> None:
    """Which the script takes from there, too."""
    shown = parsed(panel.post(HOME + "preset", preset="zoho").text)
    note = shown.select_one("#im-preset-note")
    assert note is not None
    assert note.text.count(OPEN) == 6
    assert f"{OPEN}The full e-mail address of the mailbox.{CLOSE}" in note.text
    assert english(shown) == []


def test_another_administrators_changes_come_in_the_readers_language(used: Panel) -> None:
    """What both have changed, and what became of a page that is out of date."""
    stale = {**TYPED, "revision": "1", "smtp_server": "z.example", "paused": ""}
    token = used.fields()["csrf_token"]
    page = used.client.post(HOME, data={**stale, "csrf_token": token})
    assert page.status_code == 409
    assert english(parsed(page.text)) == []
    page = used.client.post(HOME, data={**stale, "csrf_token": "none"})
    assert english(parsed(page.text)) == []


def test_what_a_visitor_causes_is_stored_in_english(used: Panel) -> None:
    """A save, a test, a deed and a message: whoever reads them has a language of their own."""
    used.post(TEST, **TYPED)
    with used.host.app.app_context(), used.host.db.engine.connect() as connection:
        tables = [*sa.inspect(connection).get_table_names()]
        rows = [
            str(row)
            for name in tables
            for row in connection.execute(sa.text(f"SELECT * FROM {name}"))
        ]
    assert any("paused" in row for row in rows)
    assert [row for row in rows if OPEN in row] == []


def test_a_file_of_moved_addresses_is_english(
    panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program reads it, whatever the language of who saved it; the page has its problems, too."""
    panel.save()
    long = Party("Ρωξάνη", "x" * 64, id=4)
    monkeypatch.setattr(People, "parties", lambda _: (long,))
    panel.host.state.people._directory = People(user=ZOE)
    query = "?domain=" + ".".join(["d" * 60] * 3 + ["example"])
    file = panel.client.get(COVERAGE + "moves.csv" + query).text
    assert file.splitlines()[0].endswith('"kind","id","name","from","to","problem"')
    assert "cannot be completed with" in file
    assert OPEN not in file
    page = panel.get(COVERAGE + query)
    assert "cannot be completed with" in page.text
    assert english(page) == []


def test_translators_are_given_every_text_that_is_looked_up(
    used: Panel, looked_up: set[str]
) -> None:
    """None is made of parts, and none stands in a table without its mark."""
    (id,) = [row.id for row in used.host.rows()]
    for url in (HOME, OUTBOX, f"{OUTBOX}{id}/", ACTIVITY, HISTORY, TEMPLATES, COVERAGE, EXPLAIN):
        used.get(url)
    used.post(**WRONG)
    used.client.post(OUTBOX + "bulk", data=form_values(used.get(OUTBOX)) | {"do": "resend"})
    assert len(looked_up) > 300
    assert looked_up - extracted() == set()
