"""Which catalogue a text comes from, and what no catalogue can do to it."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

from flask_interaction_mail import language
from flask_interaction_mail.admin import texts
from flask_interaction_mail.diagnosis import report
from flask_interaction_mail.language import (
    gettext,
    mark,
    name_of,
    ngettext,
    number,
    recalled,
    speaking,
    spoken,
    translated,
)
from flask_interaction_mail.transport.smtp.replies import Capabilities
from tests.catalogues import write_catalogue

HELLO = mark("Hello %(name)s")


WAITS = str(mark("Waiting for the server: %(why)s"))


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """No catalogue of a test is remembered by the next one."""
    yield
    language._language.cache_clear()


def test_nobody_has_to_choose(tmp_path: Path) -> None:
    """Outside a page and a mail all is English."""
    write_catalogue(tmp_path, "de", {HELLO: "Hallo %(name)s"})
    assert (gettext(HELLO, name="Ada"), spoken()) == ("Hello Ada", "en")
    assert ngettext("%(count)s dog", "%(count)s dogs", 1200) == "1,200 dogs"
    with speaking("de", str(tmp_path)):
        assert (gettext(HELLO, name="Ada"), spoken()) == ("Hallo Ada", "de")
        with speaking(None, str(tmp_path)):
            assert (gettext(HELLO, name="Ada"), spoken()) == ("Hello Ada", "en")
    assert gettext(HELLO, name="Ada") == "Hello Ada"


@pytest.mark.parametrize(
    ("locale", "said", "tag"),
    [
        ("de_AT", "Servus", "de-AT"),
        ("de-at", "Servus", "de-AT"),
        ("de_AT.UTF-8", "Servus", "de-AT"),
        ("de_CH", "Hallo", "de"),
        ("DE", "Hallo", "de"),
        ("zh-hans-TW", "你好", "zh-Hans"),
        ("zh_TW", "Hello", "en"),
        ("it", "Hello", "en"),
        ("../x/de", "Hello", "en"),
        ("german", "Hello", "en"),
        ("de\n", "Hello", "en"),
        ("\0", "Hello", "en"),
        ("", "Hello", "en"),
    ],
)
def test_the_narrowest_catalogue_is_taken(tmp_path: Path, locale: str, said: str, tag: str) -> None:
    """A region's, else the language's, else English; a name that is no locale reads no file."""
    folder = tmp_path / "translations"
    for name, hello in (("de", "Hallo"), ("de_AT", "Servus"), ("zh_Hans", "你好")):
        write_catalogue(folder, name, {"Hello": hello})
    write_catalogue(tmp_path / "x", "de", {"Hello": "outside"})
    with speaking(locale, str(folder)):
        assert (gettext("Hello"), spoken()) == (said, tag)


def test_a_region_takes_from_its_language_what_it_lacks(tmp_path: Path) -> None:
    """And the language from English."""
    write_catalogue(tmp_path, "de_AT", {"Hello": "Servus"})
    write_catalogue(tmp_path, "de", {"Hello": "Hallo", "January": "Januar"})
    with speaking("de_AT", str(tmp_path)):
        assert [gettext(text) for text in ("Hello", "January", "May")] == [
            "Servus",
            "Januar",
            "May",
        ]


def test_a_hosts_catalogue_comes_before_ours(tmp_path: Path) -> None:
    """For single texts, in folders one after the other, in English too."""
    for folder, said in (("first", "Probe"), ("second", "Versuch")):
        write_catalogue(tmp_path / folder, "de", {"Test message": said})
    write_catalogue(tmp_path / "second", "en", {"Test message": "Trial", "(empty)": "–"})
    folders = (str(tmp_path / "first"), str(tmp_path / "second"))
    with speaking("de", *folders):
        assert (gettext("Test message"), gettext("(differs)")) == ("Probe", "(abweichend)")
        assert gettext("(empty)") == "(leer)"
    with speaking("de", folders[1]):
        assert gettext("Test message") == "Versuch"
    with speaking(None, *folders):
        assert (gettext("Test message"), gettext("(empty)"), spoken()) == ("Trial", "–", "en")


@pytest.mark.parametrize(
    "said",
    ["Hallo", "Hallo %(nam)s", "Hallo %(name)d", "Hallo %(name)s %", "%s", "%(name)s %(x)s", ""],
)
def test_a_translation_that_cannot_be_filled_is_not_said(tmp_path: Path, said: str) -> None:
    """English is, as one that lost its value would say less than is known."""
    write_catalogue(tmp_path, "de", {HELLO: said, "No {who} in %(place)s": "Kein {wer}"})
    with speaking("de", str(tmp_path)):
        assert gettext(HELLO, name="Ada") == "Hello Ada"
        assert gettext("No {who} in %(place)s", place="it") == "No {who} in it"


def test_a_hosts_text_that_cannot_be_said_hides_none_of_ours(tmp_path: Path) -> None:
    """Nor does one without a translation, where Babel compiles the English of a plural."""
    messages = ("%(count)s message", "%(count)s messages")
    broken = {"Sent by (Sender)": "%(who)s", ("%(count)s day", "%(count)s days"): ("%d", "%d")}
    write_catalogue(tmp_path, "de", {messages: ("", ""), **broken})
    with speaking("de", str(tmp_path)):
        assert ngettext(*messages, 5) == "5 Nachrichten"
        assert ngettext(*messages, 1) == "1 Nachricht"
        assert ngettext("%(count)s day", "%(count)s days", 2) == "2 Tage"
        assert gettext("Sent by (Sender)") == "Gesendet von (Sender)"


@pytest.mark.parametrize("said", ["Kein {who.__class__}", "Kein {who", "Kein {0} {who}", "Kein {}"])
def test_places_in_braces_are_the_same_as_well(tmp_path: Path, said: str) -> None:
    """A translation of a host cannot reach into the values."""
    write_catalogue(tmp_path, "de", {"No {who}": said, "Yes {who}": "{who}: ja"})
    with speaking("de", str(tmp_path)):
        assert gettext("No {who}") == "No {who}"
        assert gettext("Yes {who}") == "{who}: ja"


def test_plural_forms_are_those_of_the_language(tmp_path: Path) -> None:
    """Polish has three; one that cannot be filled is English, and one may leave out the count."""
    files = ("%(count)s file", "%(count)s files")
    write_catalogue(tmp_path, "pl", {files: ("plik", "%(count)s pliki", "%(count)s plików")})
    write_catalogue(tmp_path, "de", {files: ("eine Datei", "%(counts)s Dateien")})
    with speaking("pl", str(tmp_path)):
        assert [ngettext(*files, n) for n in (1, 2, 5)] == ["plik", "2 pliki", "5 plików"]
    with speaking("de", str(tmp_path)):
        assert [ngettext(*files, n) for n in (1, 2)] == ["eine Datei", "2 files"]


@pytest.mark.parametrize(
    ("part", "other"),
    [
        (b"(n != 1)", b"(n % 0) "),
        (b"(n != 1)", b"n/(n-7) "),
        (b"(n != 1)", b"(((((((("),
        (b"charset=utf-8", b"charset=utf-9"),
        (b"\xde\x12\x04\x95", b"\xde\x12\x04\x96"),
        (b"Probe", b""),
    ],
)
def test_a_file_that_is_no_catalogue_is_left_out(
    tmp_path: Path, part: bytes, other: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever is in it: the next one is asked, and the log names the file."""
    write_catalogue(tmp_path, "de", {"Test message": "Probe"})
    path = tmp_path / "de" / "LC_MESSAGES" / "interaction_mail.mo"
    content = path.read_bytes()
    assert content.count(part) == 1
    path.write_bytes(content.replace(part, other))
    with speaking("de", str(tmp_path)):
        assert gettext("Test message") == "Testnachricht"
        assert ngettext("%(count)s message", "%(count)s messages", 7) == "7 Nachrichten"
    assert str(path) in caplog.text


def test_a_rule_that_fails_for_some_counts_leaves_those_to_ours(tmp_path: Path) -> None:
    """It divides by zero above what was tried when the file was read."""
    catalogue = """msgid ""
msgstr ""
"Content-Type: text/plain; charset=utf-8\\n"
"Plural-Forms: nplurals=2; plural=n%(1001-n)>0;\\n"

msgid "%(count)s message"
msgid_plural "%(count)s messages"
msgstr[0] "keine"
msgstr[1] "%(count)s Stück"
"""
    path = tmp_path / "de" / "LC_MESSAGES" / "interaction_mail.mo"
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        write_mo(file, read_po(io.StringIO(catalogue)))
    with speaking("de", str(tmp_path)):
        said = [ngettext("%(count)s message", "%(count)s messages", n) for n in (7, 1001)]
    assert said == ["7 Stück", "1.001 Nachrichten"]


def test_numbers_have_the_separators_of_the_language() -> None:
    """In counts as well; a catalogue that does not say which has the English ones."""
    with speaking("de"):
        assert (number(1234.5, ",.1f"), number(12)) == ("1.234,5", "12")
        assert ngettext("%(count)s message", "%(count)s messages", 12345) == "12.345 Nachrichten"
    with speaking("fr"):
        assert number(1234.5, ",.1f") == "1\u202f234,5"
    assert number(1234567.25, ",.2f") == "1,234,567.25"


def test_none_of_a_thing_is_singular_in_french() -> None:
    """Its rule differs from that of English and German."""
    with speaking("fr"):
        said = [ngettext("%(count)s day", "%(count)s days", count) for count in (0, 1, 2)]
    assert said == ["0 jour", "1 jour", "2 jours"]


def test_sizes_of_files_are_written_as_other_numbers() -> None:
    """With the units of the language, too."""
    with speaking("de"):
        assert [texts.size(count) for count in (1, 1023, 6246, 1024**2 * 3 // 2)] == [
            "1 Byte",
            "1.023 Bytes",
            "6,1 KiB",
            "1,5 MiB",
        ]
    with speaking("fr"):
        assert texts.size(6246) == "6,1\xa0Kio"
    assert [texts.size(count) for count in (6246, 1024**3, 1024**4)] == [
        "6.1 KiB",
        "1.0 GiB",
        "1,024.0 GiB",
    ]


def test_what_a_server_offers_is_told_in_the_readers_language() -> None:
    """But not the words of the server, even if they sound like ours."""
    offers = report._in_words(Capabilities(size=33_554_432, auth=("none",)))
    with speaking("de"):
        told = {gettext(name): translated(value) for name, value in offers.items()}
    assert told["größte Nachricht"] == "33,6 MB"
    assert told["Verschlüsselung auf Anfrage (STARTTLS)"] == "nein"
    assert told["Anmeldeverfahren (AUTH)"] == "none"
    assert offers["largest message"] == "33.6 MB"


def test_the_languages_there_are(tmp_path: Path) -> None:
    """Ours and the host's, each by its own name; folders that are no languages do not count."""
    write_catalogue(tmp_path, "nl", {"English": "Nederlands"})
    write_catalogue(tmp_path, "pt_BR", {"Hello": "Olá"})
    (tmp_path / "nl").rename(tmp_path / "x y")
    write_catalogue(tmp_path, "nl", {"English": "Nederlands"})
    folders = (str(tmp_path), str(tmp_path / "missing"))
    found = language.available(*folders)
    assert found == ["de", "en", "fr", "nl", "pt-BR"]
    names = [name_of(tag, *folders) for tag in found]
    assert names == ["Deutsch", "English", "Français", "Nederlands", "pt-BR"]


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        ("It is over.", "Es ist vorbei."),
        ("Waiting for the server: 451 later", "Wartet auf den Server: 451 later"),
        # A text that quotes another; the one with more words of its own is meant.
        ("Waiting for the server: It is over.", "Wartet auf den Server: Es ist vorbei."),
        ("Waiting for the server: nobody answers at smtp:25", "Niemand antwortet auf smtp:25"),
        (
            "Waiting for the server: two\nlines (%s) {x}",
            "Wartet auf den Server: two\nlines (%s) {x}",
        ),
        # What is not ours, and what is ours with nothing in its place.
        ("550 5.1.1 No such user", "550 5.1.1 No such user"),
        ("Waiting for the server: ", "Waiting for the server: "),
        # A text with too few words of its own to be known by them.
        ("Hello Ada", "Hello Ada"),
        ("", ""),
    ],
)
def test_a_stored_text_is_told_in_the_readers_language(
    tmp_path: Path, stored: str, said: str
) -> None:
    """With its values, although only the English text was kept."""
    texts = {
        "It is over.": "Es ist vorbei.",
        WAITS: "Wartet auf den Server: %(why)s",
        "Waiting for the server: nobody answers at %(server)s": "Niemand antwortet auf %(server)s",
        HELLO: "Hallo %(name)s",
    }
    write_catalogue(tmp_path, "de", texts)
    with speaking("de", str(tmp_path)):
        assert recalled(stored) == said
    assert recalled(stored) == stored


def test_the_reason_why_a_message_waits_is_told_in_german() -> None:
    """As the shipped catalogue says it, from what delivery has stored."""
    trouble = "Waiting for the server: The server does not accept the connection: 421 4.3.2 Later"
    with speaking("de"):
        told = recalled(trouble)
    assert told.startswith("Wartet auf den Mailserver: Der Server ")
    assert told.endswith(": 421 4.3.2 Later")


@pytest.mark.parametrize(
    ("stored", "quoted"),
    [
        ("%s", "450 4.1.1 mx.example did not answer in time."),
        ("%s", "550 5.1.1 Ada has no e-mail address."),
        ("Waiting for the server: %s", "421 mx.example did not answer in time."),
        ("The server does not accept this: %s", "554 The server ended the connection."),
        ("The answer is not that of a mail server: %s.", "'Ada has no e-mail address.'"),
        ("The answer is not that of a mail server: %s.", "It is empty."),
    ],
)
def test_what_a_server_said_is_never_translated(stored: str, quoted: str) -> None:
    """Even if it sounds like a text of ours: an administrator shows it to the people who run it."""
    with speaking("de"):
        told = recalled(stored % quoted)
    assert quoted in told
    assert (told == quoted) is (stored == "%s")


NEARLY_OURS = "550 " + "x sent again It was resent on x" * 6 + " by : " * 120


@pytest.mark.parametrize("stored", ["%s", "The server does not accept this: %s"])
def test_no_server_makes_a_list_slow(stored: str) -> None:
    """By words that nearly fit many of our texts: a list has up to 100 of them."""
    with speaking("de"):
        recalled("")
        begun = time.process_time()
        for _ in range(20):
            recalled(stored % NEARLY_OURS)
        assert time.process_time() - begun < 0.5
