"""The language of our texts: GNU gettext, in a domain of our own.

A text is English in the source and is looked up where somebody reads it: ``gettext`` and
``ngettext`` for a text that is said now, ``mark`` for one that stands in a table until then.
What is stored or logged is never translated.
"""

from __future__ import annotations

import gettext as library
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any, Final

DOMAIN: Final = "interaction_mail"
SOURCE: Final = "en"
_FOLDER: Final = Path(__file__).parent / "translations"
_ENGLISH: Final = library.NullTranslations()
_spoken: ContextVar[library.NullTranslations] = ContextVar("interaction_mail_language")


def mark(text: str, **values: Any) -> str:
    """``text`` itself, which `make messages` finds: whoever shows it calls ``gettext`` with it.

    With ``values`` in the places of its ``%(name)s``, it is shown by ``translated``. A value may be
    an error, or marked itself.
    """
    return Marked(text, {name: _as_text(value) for name, value in values.items()})


def gettext(text: str, **values: Any) -> str:
    """``text`` in the reader's language, with ``values`` in the places of its ``%(name)s``."""
    said = _spoken.get(_ENGLISH).gettext(text) if text else text
    return said % values if values else said


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
    """A marked text, or what an error says, in the reader's language; anything else as it is."""
    text = _as_text(said)
    if not isinstance(text, Marked):
        return str(text)
    values = {name: translated(value) for name, value in text.values.items()}
    return gettext(text.template, **values)


def ngettext(one: str, many: str, count: int, **values: Any) -> str:
    """The form of a text for ``count``, which ``%(count)s`` shows."""
    return _spoken.get(_ENGLISH).ngettext(one, many, count) % {"count": f"{count:,}", **values}


@contextmanager
def speaking(locale: str | None, *folders: str) -> Iterator[None]:
    """Say texts in ``locale`` meanwhile, such as ``de`` or ``pt_BR``; None is English.

    The catalogues of a host in ``folders`` come before ours. A language without a catalogue is
    English.
    """
    token = _spoken.set(_catalogues(locale or SOURCE, folders))
    try:
        yield
    finally:
        _spoken.reset(token)


@cache
def _catalogues(locale: str, folders: tuple[str, ...]) -> library.NullTranslations:
    first = library.NullTranslations()
    for folder in (*folders, str(_FOLDER)):
        first.add_fallback(
            library.translation(DOMAIN, folder, [locale.replace("-", "_")], fallback=True)
        )
    return first
