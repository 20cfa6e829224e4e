"""The language of mails and pages: whose it is, where it comes from, and how far it reaches."""

from __future__ import annotations

import email
import importlib.util
from collections.abc import Callable, Iterator
from datetime import datetime
from email import policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from bs4 import BeautifulSoup

from flask_interaction_mail import Party, language, operations, request_merge, send_notification
from flask_interaction_mail.errors import InteractionMailError
from flask_interaction_mail.messages.digest_content import Content, summary_of
from flask_interaction_mail.messages.intent import Intent
from flask_interaction_mail.monitoring import test_history as history
from tests.catalogues import chooser, write_catalogue
from tests.host import ADA, Host, a_merge, opened
from tests.panel import EXPLAIN, HOME, OUTBOX, TEMPLATES, TEST, Panel, opened_panel, send

INSTALLED = importlib.util.find_spec("flask_babel") is not None
HEIKE = Party("Heike Huber", "heike", id=30, locale="de")
JENS = Party("Jens Jost", "jens", id=31, locale="de-AT")
TEXTS = {
    "Templates": "Vorlagen",
    "Test result": "Ergebnis",
    "You get this because you have the right to merge contacts in {location}.": (
        "Weil Sie in {location} dürfen."
    ),
}


@pytest.fixture
def translations(tmp_path: Path) -> Iterator[Path]:
    """Where the host has catalogues."""
    folder = tmp_path / "own translations"
    folder.mkdir()
    yield folder
    language._language.cache_clear()


@pytest.fixture
def host(tmp_path: Path, translations: Path) -> Iterator[Host]:
    url = f"sqlite:///{tmp_path}/crm.sqlite"
    with opened(url, INTERACTION_MAIL_TRANSLATIONS=[translations]) as host:
        host.configure()
        yield host


@pytest.fixture
def panel(tmp_path: Path, translations: Path) -> Iterator[Panel]:
    keys = {"INTERACTION_MAIL_TRANSLATIONS": str(translations), "MAIL_SUPPRESS_SEND": False}
    with opened_panel(tmp_path, **keys) as panel:
        yield panel


@pytest.fixture
def choose(panel: Panel, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Set the language that Flask-Babel chooses for the visitor."""
    return chooser(panel.host.app, monkeypatch)


def asked(host: Host, *readers: Party, **others: Any) -> tuple[EmailMessage, BeautifulSoup]:
    """The text and the HTML of a request to merge that goes to ``readers``."""
    host.people.mergers["Firm List"] = readers
    with host.app.app_context():
        request_merge(a_merge(requester=ADA, **others))
    return parts(host)


def parts(host: Host) -> tuple[EmailMessage, BeautifulSoup]:
    message = email.message_from_bytes(host.rows()[-1].content, policy=policy.default)
    assert isinstance(message, EmailMessage)
    html = message.get_body(("html",))
    assert isinstance(html, EmailMessage)
    return message, BeautifulSoup(html.get_content(), "lxml")


def text_of(message: EmailMessage) -> str:
    part = message.get_body(("plain",))
    assert isinstance(part, EmailMessage)
    return str(part.get_content())


# -- mails -----------------------------------------------------------------------------


def test_a_mail_is_in_the_language_that_its_readers_share(host: Host) -> None:
    """Subject, both texts and why, without Flask-Babel; HTML names the language."""
    message, html = asked(host, HEIKE, reason="doppelt")
    assert message["Subject"] == "Bitte zusammenführen: Acme Ltd und ACME Limited"
    text = text_of(message)
    assert "Ada Byron möchte diese beiden Kontakte zusammenführen" in text
    assert "Angegebener Grund: doppelt" in text
    assert "weil Sie Kontakte in Firm List zusammenführen dürfen." in text
    assert html.html["lang"] == "de"  # type: ignore[index]
    assert "Angegebener Grund: doppelt" in html.text
    assert "weil Sie Kontakte in Firm List zusammenführen dürfen." in html.text
    english = ("merge", "Please", "because", "differs")
    assert [word for word in english if word in text + html.text.replace("im-", "")] == []


@pytest.mark.parametrize("locale", [None, "it", "no such locale", "../../de", "german"])
def test_a_mail_for_anybody_else_is_english(host: Host, locale: str | None) -> None:
    """A wrong locale loses no message, and HTML does not name a language that the text has not."""
    message, html = asked(host, Party("Jo", "jo", id=32, locale=locale))
    assert message["Subject"] == "Please merge: Acme Ltd and ACME Limited"
    assert "You get this because you have the right" in text_of(message)
    assert html.html["lang"] == "en"  # type: ignore[index]


def test_readers_of_two_languages_get_english(host: Host) -> None:
    """Which of them would be a guess."""
    with host.app.app_context():
        send_notification([HEIKE, ADA], template="merge_completed", context=a_sample())
        send_notification([HEIKE, HEIKE], template="merge_completed", context=a_sample())
    assert host.subjects() == ["Merged: A and B", "Zusammengeführt: A und B"]


def a_sample() -> dict[str, Any]:
    contacts = [{"name": name, "location": "Firm List", "url": None} for name in "AB"]
    return {"contacts": contacts, "requester": "Ada", "reason": None}


def test_a_person_without_name_is_named_in_the_language(host: Host) -> None:
    """Of a merge that nobody is known to have wanted."""
    host.people.user = None
    host.people.mergers["Firm List"] = (HEIKE,)
    with host.app.app_context():
        request_merge(a_merge())
    assert "Jemand möchte" in text_of(parts(host)[0])


def test_a_resend_keeps_its_language_whoever_presses_the_button(host: Host) -> None:
    """The reason is decided anew, in the language of the rest."""
    asked(host, HEIKE)
    resent(host, JENS, language_of_page="en")
    message, html = parts(host)
    assert "weil Sie Kontakte in Firm List" in text_of(message)
    assert "because" not in html.text
    asked(host, ADA, ids=(8, 9))
    resent(host, language_of_page="de")
    assert "because nobody with an e-mail address may merge" in text_of(parts(host)[0])


def resent(host: Host, *readers: Party, language_of_page: str) -> None:
    """Resend the last message, which has been sent, when others may merge."""
    host.people.mergers["Firm List"] = readers
    id = host.rows()[-1].id
    with host.app.app_context(), language.speaking(language_of_page):
        operations.cancel(host.state, id)
        operations.resend(host.state, id)


def test_a_digest_is_in_the_language_of_its_reader(host: Host) -> None:
    """Also what stands for a text that is lost."""
    at = datetime(2026, 3, 14, 9, 26)  # noqa: DTZ001 - as the database has it
    intent = Intent(kind="request", source="call", subject="S", text="T", to=(HEIKE,)).to_json()
    contents = [Content("S", at, intent), Content("S", at, "damaged")]
    summary = summary_of(contents, [("S", "request")] * 1500)
    assert summary.entries[1].text == "(Der Text dieser Nachricht ist nicht mehr lesbar.)"
    with host.app.app_context():
        send_notification(HEIKE, template="digest", context=summary.context())
    message, _ = parts(host)
    assert message["Subject"] == "1.500 Anfragen"
    assert "S (1.498 Mal)" in text_of(message)


def test_what_goes_to_the_default_to_is_english(host: Host) -> None:
    """The test message and notices: nobody's language is known there, whoever looks on."""
    names = {"to": "a@b.c", "sender": "d@e.f", "tester": None, "server": "s", "port": 25}
    with host.app.app_context(), language.speaking("de"):
        settings = host.state.settings.current().settings
        texts = history._written(host.state, settings, names)
    assert texts.subject == "Test message"
    assert "This is a test message." in (texts.text or "")


# -- catalogues of a host --------------------------------------------------------------


def test_a_host_can_say_single_texts_otherwise(host: Host, translations: Path) -> None:
    """In a language that ships, and in English."""
    write_catalogue(translations, "de", TEXTS)
    write_catalogue(translations, "en", {"(empty)": "none"})
    message, _ = asked(host, HEIKE)
    assert text_of(message).rstrip().endswith("Weil Sie in Firm List dürfen.")
    assert message["Subject"].startswith("Bitte zusammenführen")


def test_a_host_can_bring_a_language(host: Host, translations: Path) -> None:
    """Its catalogue alone is enough; what it lacks is English."""
    write_catalogue(
        translations, "nl", {"Please merge: %(first)s and %(second)s": "%(first)s + %(second)s"}
    )
    message, html = asked(host, Party("Jan", "jan", id=33, locale="nl-BE"))
    assert message["Subject"] == "Acme Ltd + ACME Limited"
    assert html.html["lang"] == "nl"  # type: ignore[index]
    assert "would like to merge" in text_of(message)


def test_the_default_folder_need_not_be_there(tmp_path: Path) -> None:
    """It is that of Flask-Babel, beside the application; one that is named must be there."""
    url = f"sqlite:///{tmp_path}/crm.sqlite"
    with opened(url) as host:
        assert host.state.translations == (str(Path(host.app.root_path, "translations")),)
    with pytest.raises(InteractionMailError, match="'nowhere'"):
        Host(url, INTERACTION_MAIL_TRANSLATIONS=["nowhere"])


def test_neither_values_nor_translations_become_markup(host: Host, translations: Path) -> None:
    """In HTML; a text has them as they are."""
    evil = "<img src=x> %(name)s & {name}"
    write_catalogue(translations, "de", {"Reason given: %(reason)s": "<b>Grund</b>: %(reason)s"})
    message, html = asked(host, HEIKE, reason=evil)
    assert html.find("img") is None
    assert html.find("b") is None
    assert f"<b>Grund</b>: {evil}" in html.text
    assert f"<b>Grund</b>: {evil}" in text_of(message)


# -- pages -----------------------------------------------------------------------------


def test_a_page_is_in_the_language_that_flask_babel_chooses(
    panel: Panel, choose: Callable[[str], None], translations: Path
) -> None:
    """From its tabs to its own part; that part says which language it is in."""
    write_catalogue(translations, "de", TEXTS)
    assert panel.get(TEMPLATES).h1.text == "Templates"  # type: ignore[union-attr]
    choose("de_AT")
    page = panel.get(TEMPLATES)
    assert page.h1.text == "Vorlagen"  # type: ignore[union-attr]
    part = page.select_one("div.im")
    assert part is not None
    assert part["lang"] == "de"
    assert "Vorlagen" in part.nav.text  # type: ignore[union-attr]
    choose("it")
    page = panel.get(TEMPLATES)
    assert (page.h1.text, page.select_one("div.im")["lang"]) == ("Templates", "en")  # type: ignore[union-attr, index]


@pytest.mark.allowed_skip(reason="test_flask_babel.py runs this file with it")
@pytest.mark.skipif(INSTALLED, reason="Flask-Babel that is only installed breaks Flask-Admin")
def test_a_page_is_english_without_flask_babel(panel: Panel, translations: Path) -> None:
    """Whatever the browser asks for."""
    write_catalogue(translations, "de", TEXTS)
    page = panel.client.get(TEMPLATES, headers={"Accept-Language": "de"})
    assert '<div class="im" lang="en">' in page.text
    assert "Vorlagen" not in page.text


def test_an_example_is_in_the_language_of_its_message(
    panel: Panel, choose: Callable[[str], None]
) -> None:
    """Whoever looks at it: here a German explains an English request."""
    panel.save()
    choose("de")
    page = panel.get(EXPLAIN + "?location=Firm+List")
    assert "Was geschehen würde" in page.text
    assert "Please merge: First contact and Second contact" in page.text


def test_a_streamed_page_is_in_one_language_to_its_end(
    panel: Panel, choose: Callable[[str], None], translations: Path
) -> None:
    """Its pieces are made after the view has returned; after the last one nothing is left of it."""
    said = {"The server took it.": "Er hat sie."} | TEXTS
    write_catalogue(translations, "de", said | {"What to do:": "Zu tun:", "failed": "misslungen"})
    panel.save(smtp_server="127.0.0.1", smtp_port="1", encryption="none")
    choose("de")
    values = panel.fields()
    answer = panel.client.post(TEST, data=values)
    text = "".join(piece.decode() for piece in answer.iter_encoded())
    answer.close()
    assert answer.is_streamed
    assert '<html lang="de">' in text
    assert "Zu tun:" in text[text.index("im-events") :]
    assert language.spoken() == "en"


def test_a_streamed_page_that_is_left_leaves_no_language(
    panel: Panel, choose: Callable[[str], None]
) -> None:
    """Neither to what its thread does between two pieces, nor if nobody reads on."""
    panel.save()
    send(panel, "Hello", [ADA])
    choose("de")
    answer = panel.client.get(OUTBOX + "export.csv", buffered=False)
    pieces = answer.iter_encoded()
    assert next(iter(pieces))
    assert answer.is_streamed
    assert language.spoken() == "en"
    answer.close()
    assert language.spoken() == "en"


def test_a_refusal_is_in_the_language_of_the_page(
    panel: Panel, choose: Callable[[str], None], translations: Path
) -> None:
    """Here the form that a visitor whose session has ended can send again."""
    write_catalogue(translations, "de", {"Your session has ended": "Ihre Sitzung ist zu Ende"})
    choose("de")
    values = panel.fields()
    panel.host.people.user = None
    panel.host.state.access = lambda _: False
    answer = panel.client.post(HOME, data=values)
    assert answer.status_code == 403
    assert "Ihre Sitzung ist zu Ende" in answer.text
    assert language.spoken() == "en"
    assert panel.client.get(OUTBOX).status_code == 403
    assert language.spoken() == "en"


def test_a_broken_translation_breaks_no_page(
    panel: Panel, choose: Callable[[str], None], translations: Path
) -> None:
    """It is English there, or what ships."""
    names = ("%(count)s newer: show them", "It goes to", "Templates", "Language")
    for locale in ("de", "nl"):
        write_catalogue(translations, locale, dict.fromkeys(names, "%(other)s {x} %d %"))
    for locale, said in (("de", "Vorlagen"), ("nl", "Templates")):
        choose(locale)
        for url in (HOME, OUTBOX, TEMPLATES, TEMPLATES + "preview/digest"):
            page = panel.get(url)
            assert said in page.select_one("div.im").text  # type: ignore[union-attr]
