"""The catalogues say what the source says: none is behind, wrong, or empty where it must not be."""

from __future__ import annotations

import gettext
import importlib.util
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import pytest
from babel.messages import Catalog, Message

from flask_interaction_mail import language

SCRIPT = Path(__file__).parents[2] / "docs" / "messages.py"
CATALOGUES = sorted(language.FOLDER.glob("*/LC_MESSAGES/*.po"))
every_catalogue = pytest.mark.parametrize(
    "path", CATALOGUES, ids=[path.parents[1].name for path in CATALOGUES]
)

COMPLETE = ("de", "fr")
FOREIGN = re.compile(r" [:;?!»](?:\s|$)|«[^\xa0]|[^\xa0]»|\w […]|\w'\w|[\w)][?!](?:\s|$)")


@pytest.fixture(scope="module")
def messages() -> ModuleType:
    spec = importlib.util.spec_from_file_location("messages_script", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def texts(catalog: Catalog) -> Iterator[tuple[Message, tuple[str, ...], tuple[str, ...]]]:
    """Each text with its English forms and its translated ones, without those that have none."""
    for message in catalog:
        if message.id and any(forms(message.string)):
            yield message, forms(message.id), forms(message.string)


def forms(text: str | tuple[str, ...]) -> tuple[str, ...]:
    return text if isinstance(text, tuple) else (text,)


def tags(text: str) -> list[str]:
    """The tags and entities that a browser would see in ``text``."""
    found: list[str] = []

    class Parser(HTMLParser):
        def handle_starttag(self, tag: str, attrs: object) -> None:
            found.append(tag)

    Parser().feed(text)
    return found + re.findall(r"&#?\w+;|[<>]", text)


def test_the_texts_of_the_source_are_collected(messages: ModuleType) -> None:
    """A text that was changed needs its place in the catalogues, and one that is gone none."""
    written = messages.written(messages.extracted())
    assert messages.TEMPLATE.read_bytes() == written, "run: make messages"


@every_catalogue
def test_a_catalogue_has_the_texts_of_the_source_and_no_others(
    path: Path, messages: ModuleType
) -> None:
    """Neither obsolete ones nor ones that are fuzzy: ``make messages`` would write it as it is."""
    now = messages.read(path)
    assert path.read_bytes() == messages.written(messages.updated(path, messages.extracted())), (
        "run: make messages"
    )
    assert not now.obsolete
    assert not [message.id for message in now if message.fuzzy]


@every_catalogue
def test_what_programs_read_is_what_translators_wrote(path: Path, messages: ModuleType) -> None:
    """The compiled catalogue has exactly the texts of the other one."""
    with path.with_suffix(".mo").open("rb") as file:
        compiled = gettext.GNUTranslations(file)
    read = {id: text for id, text in compiled._catalog.items() if id}
    expected: dict[object, str] = {}
    for message, (one, *many), said in texts(messages.read(path)):
        expected |= {(one, n): text for n, text in enumerate(said)} if many else {one: said[0]}
        assert all(said), f"a form is missing: {message.id}"
    assert read == expected, "run: make messages"


@every_catalogue
def test_a_translation_can_be_filled_as_its_english(path: Path, messages: ModuleType) -> None:
    """The same values, and no markup that the English text has not."""
    for message, english, said in texts(messages.read(path)):
        for text in said:
            assert language._fits(text, *english), (message.id, text)
            assert set(tags(text)) <= set(tags("".join(english))), (message.id, text)
            assert text.strip() == text or english[0].strip() != english[0], (message.id, text)


def test_an_english_text_has_one_kind_of_places(messages: ModuleType) -> None:
    """Those that a translation is checked for: ``%(name)s`` or ``{name}``, and no others."""
    for message in messages.extracted():
        for text in forms(message.id):
            assert not language._rest(text) or not language._PLACE.search(text), text
            assert not ("%(" in text and re.search(r"\{\w*\}", text)), text


@pytest.mark.parametrize("language_name", COMPLETE)
def test_a_language_that_ships_is_complete(language_name: str, messages: ModuleType) -> None:
    """So that no mail and no page is half in another language."""
    said = messages.read(language.FOLDER / language_name / "LC_MESSAGES" / "interaction_mail.po")
    needed = [message for message in messages.extracted() if message.id]
    assert len(needed) > 1000
    missing = [one.id for one in needed if not all(forms(said.get(forms(one.id)[0]).string))]
    assert missing == []


def test_french_signs_are_set_as_french_is_printed(messages: ModuleType) -> None:
    """No line ends before one of ``: ; ? ! »`` or after ``«``, and apostrophes are curved."""
    french = messages.read(language.FOLDER / "fr" / "LC_MESSAGES" / "interaction_mail.po")
    wrong = [text for _, _, said in texts(french) for text in said if FOREIGN.search(text)]
    assert wrong == []
