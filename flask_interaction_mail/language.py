"""The language of our texts: GNU gettext, in a domain of our own.

A text is English in the source and is looked up where somebody reads it: ``gettext`` and
``ngettext`` for a text that is said now, ``mark`` for one that stands in a table until then.
What is stored or logged is never translated.
"""

from __future__ import annotations

import gettext as library
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, NamedTuple

log: Final = logging.getLogger(__package__)

DOMAIN: Final = "interaction_mail"
SOURCE: Final = "en"
FOLDER: Final = Path(__file__).parent / "translations"
_FILE: Final = f"LC_MESSAGES/{DOMAIN}.mo"
# Such as de, de-AT, zh_Hans_TW; what follows in a POSIX name, as in de_DE.UTF-8, is left out.
_LOCALE: Final = re.compile(r"([A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8}){0,3})(?:[.@].*)?", re.DOTALL)
_PLACE: Final = re.compile(r"%\(\w+\)s|\{\w*\}")
_FORMATTING: Final = re.compile("[%{}]")
_VALUE: Final = re.compile(r"%\((\w+)\)s")
_TELLING: Final = 12  # characters of its own by which a stored text with values is known again
_REPLY: Final = re.compile(r"\d{3} ")  # how the words of a mail server begin, where we kept them
_QUOTED: Final = "answer"  # the value that holds words of a server without such a beginning


class _Language(NamedTuple):
    tag: str
    catalogues: tuple[library.NullTranslations, ...]  # the first that has a text says it
    texts: frozenset[str] = frozenset()  # in English, without plural ones


_ENGLISH: Final = _Language(SOURCE, (library.NullTranslations(),))
_spoken: ContextVar[_Language] = ContextVar("interaction_mail_language", default=_ENGLISH)


def mark(text: str, **values: Any) -> str:
    """``text`` itself, which `make messages` finds: whoever shows it calls ``gettext`` with it.

    With ``values`` in the places of its ``%(name)s``, it is shown by ``translated``. A value may be
    an error, or marked itself.
    """
    return Marked(text, {name: _as_text(value) for name, value in values.items()})


def gettext(text: str, **values: Any) -> str:
    """``text`` in the reader's language, with ``values`` in the places of its ``%(name)s``."""
    said = _translation(text)
    return said % values if values else said


def _translation(text: str) -> str:
    for catalogue in _spoken.get().catalogues if text else ():
        said = catalogue.gettext(text)
        if said is not text and _fits(said, text):
            return said
    return text


class Marked(str):
    """An English text, made of others, that ``translated`` can say in another language.

    Whatever else is done with it, such as storing it, takes the plain English.
    """

    __slots__ = ("template", "values")
    template: str
    values: dict[str, Any]

    def __new__(cls, text: str, values: dict[str, Any] | None = None) -> Marked:
        """Put ``values`` in the places of the ``%(name)s`` of ``text``."""
        marked = super().__new__(cls, text % values if values else text)
        marked.template, marked.values = text, values or {}
        return marked


def said_by(error: BaseException) -> str:
    """The text of ``error``, still marked if it was."""
    text = error.args[0] if error.args else ""
    return text if isinstance(text, Marked) else str(error)


def _as_text(value: Any) -> Any:
    return said_by(value) if isinstance(value, BaseException) else value


def translated(said: object) -> str:
    """A marked text, or what an error says, in the reader's language; anything else as it is.

    In a marked text a fraction has the separators of the language.
    """
    text = number(said) if isinstance(said, float) else _as_text(said)
    if not isinstance(text, Marked):
        return str(text)
    values = {name: translated(value) for name, value in text.values.items()}
    return gettext(text.template, **values)


def recalled(text: str) -> str:
    """A text of ours that was stored, in English, in the reader's language; any other as it is.

    What stands in its places is recalled, too, since one text may quote another. Words of a server
    stay as they are, even if they sound like ours.
    """
    if _REPLY.match(text):
        return text
    if text in _spoken.get().texts:
        return gettext(text)
    for pattern, template in _patterns(_spoken.get()):
        if found := pattern.fullmatch(text):
            values = {name: _recalled(name, value) for name, value in found.groupdict().items()}
            return gettext(template, **values)
    return text


def _recalled(name: str, value: str) -> str:
    return value if name == _QUOTED else recalled(value)


@lru_cache(maxsize=8)
def _patterns(language: _Language) -> list[tuple[re.Pattern[str], str]]:
    """What texts with values look like in English.

    Those that begin with words of their own come first, then those with most of them.
    """
    found = []
    for template in language.texts:
        parts = _VALUE.split(template)
        own = sum(map(len, parts[::2]))
        if len(set(parts[1::2])) == len(parts[1::2]) > 0 and own >= _TELLING:
            parts[::2] = map(re.escape, parts[::2])
            parts[1::2] = [f"(?P<{name}>.+?)" for name in parts[1::2]]
            order = not parts[0], -own
            found.append((order, re.compile("".join(parts), re.DOTALL), template))
    found.sort(key=itemgetter(0))
    return [(pattern, template) for _, pattern, template in found]


def labelled(name: str, text: str) -> str:
    """``name: text``, with the colon as the reader's language sets it."""
    # Translators: between a name and what is said of it, as in “Port: 25”.
    colon = gettext(": ")
    return f"{name}{colon}{text}"


def ngettext(one: str, many: str, count: int, **values: Any) -> str:
    """The form of a text for ``count``, which ``%(count)s`` shows."""
    return plural(one, many, count) % {"count": number(count), **values}


def plural(one: str, many: str, count: int) -> str:
    """The form of a text for ``count``, with the places of its values.

    Babel compiles English forms into a catalogue where a plural has none, so those do not count.
    """
    english = one if count == 1 else many
    for catalogue in _spoken.get().catalogues:
        try:
            said = catalogue.ngettext(one, many, count)
        except ArithmeticError:  # a rule of the host that divides by zero for some counts
            continue
        if said != english and _fits(said, one, many):
            return said
    return english


def is_known(text: str) -> bool:
    """Whether the reader's language has a text of its own for ``text``."""
    return any(each.gettext(text) is not text for each in _spoken.get().catalogues)


def number(value: float, form: str = ",") -> str:
    """``value`` with the separators of the reader's language; ``form`` is that of ``format``."""
    # Translators: a number as your language writes it, with its separators.
    pattern = re.fullmatch(r"1(.?)234(.)5", gettext("1,234.5"))
    written = format(value, form)
    if pattern is None or pattern[0] == "1,234.5":
        return written
    return written.translate({ord(","): pattern[1], ord("."): pattern[2]})


def spoken() -> str:
    """The language in which texts are said, as HTML names it: ``de``, ``pt-BR``."""
    return _spoken.get().tag


@contextmanager
def speaking(locale: str | None, *folders: str) -> Iterator[None]:
    """Say texts in ``locale`` meanwhile, such as ``de`` or ``pt_BR``; None is English.

    The catalogues of a host in ``folders`` come before ours. A text without a translation is said
    as in the language without its region, at last in English.
    """
    token = _spoken.set(_language(locale or SOURCE, folders))
    try:
        yield
    finally:
        _spoken.reset(token)


def available(*folders: str) -> list[str]:
    """The languages that there are catalogues for in ``folders`` and ours, English among them."""
    found = {
        path.parents[1].name
        for folder in (*folders, str(FOLDER))
        for path in Path(folder).glob(f"*/{_FILE}")
    }
    return sorted({SOURCE, *(name.replace("_", "-") for name in found if _forms(name))})


def name_of(locale: str, *folders: str) -> str:
    """The name of the language in the language itself, such as ``Deutsch``; else ``locale``."""
    with speaking(locale, *folders):
        # Translators: the name of your language, in your language.
        name = gettext("English")
        return name if spoken() == SOURCE or is_known("English") else locale


@lru_cache(maxsize=64)  # locales may come from anywhere
def _language(locale: str, folders: tuple[str, ...]) -> _Language:
    found = [
        (form, catalogue)
        for form in dict.fromkeys((*_forms(locale), SOURCE))
        for folder in (*folders, str(FOLDER))
        if (catalogue := _read(Path(folder, form, _FILE))) is not None
    ]
    catalogues = [catalogue for _, catalogue in found]
    texts = frozenset(text for catalogue in catalogues for text in _texts_of(catalogue))
    tag = found[0][0].replace("_", "-") if found else SOURCE
    return _Language(tag, (*catalogues, *_ENGLISH.catalogues), texts)


def _texts_of(catalogue: library.GNUTranslations) -> list[str]:
    # The library has no other way to ask what a catalogue holds.
    return [text for text in catalogue._catalog if isinstance(text, str)]  # type: ignore[attr-defined]


def _forms(locale: str) -> list[str]:
    """The names of its folders, from the narrowest: ``de_AT``, ``de``; none if it is no locale."""
    if (found := _LOCALE.fullmatch(locale)) is None:
        return []
    language, *others = found[1].replace("-", "_").split("_")
    parts = [language.lower(), *map(_part, others)]
    return ["_".join(parts[:end]) for end in range(len(parts), 0, -1)]


def _part(text: str) -> str:
    """A region is in capitals, a script begins with one (RFC 5646 §2.1.1)."""
    return text.title() if len(text) == 4 else text.upper()


def _read(path: Path) -> library.GNUTranslations | None:
    try:
        with path.open("rb") as file:
            catalogue = library.GNUTranslations(file)
        for count in range(1000):
            catalogue.plural(count)  # type: ignore[attr-defined]  # its rule may divide by zero
        return catalogue
    except FileNotFoundError:
        return None
    except Exception:  # whatever is in a file of the host, its pages and mails are needed
        log.exception("language.unreadable: %s is no catalogue; its texts are English", path)
        return None


@lru_cache(maxsize=4096)
def _fits(said: str, *english: str) -> bool:
    """Whether a translation has the places of its English text, so that it can be filled, too.

    A form of several may leave some out: "one message".
    """
    places = {place for text in english for place in _PLACE.findall(text)}
    own = set(_PLACE.findall(said))
    if not said or own - places or (len(english) == 1 and places - own):
        return False
    return not places or _rest(said) <= {sign for text in english for sign in _rest(text)}


def _rest(text: str) -> set[str]:
    """The signs of formatting beside the places."""
    return set(_FORMATTING.findall(_PLACE.sub("", text).replace("%%", "")))
