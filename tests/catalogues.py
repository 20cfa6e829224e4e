"""Languages of a host: catalogues of its own, and what chooses for its visitors."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from babel import Locale
from babel.messages import Catalog
from babel.messages.mofile import write_mo

from flask_interaction_mail import language

Text = str | tuple[str, str]  # two: one and many


def write_catalogue(folder: Path, locale: str, texts: Mapping[Text, str | tuple[str, ...]]) -> None:
    """Write ``texts`` as the catalogue of ``locale``, in ``folder``."""
    language._language.cache_clear()  # a process reads a catalogue once
    catalog = Catalog(locale=locale, fuzzy=False)
    for text, said in texts.items():
        catalog.add(text, said)
    path = folder / locale / "LC_MESSAGES" / "interaction_mail.mo"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        write_mo(file, catalog)


def chooser(app: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A function that sets the language which Flask-Babel chooses for visitors of ``app``.

    Where it is installed that is Flask-Babel itself. Elsewhere a stand-in has what is used of it,
    because the other tests run without: only installed, it breaks the pages of Flask-Admin.
    """
    locales = ["en"]
    try:
        from flask_babel import Babel
    except ImportError:
        stand_in = ModuleType("flask_babel")
        stand_in.get_locale = lambda: Locale.parse(locales[-1])  # type: ignore[attr-defined]
        stand_in.force_locale = lambda _: nullcontext()  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "flask_babel", stand_in)
        app.extensions["babel"] = stand_in
    else:
        Babel(app, locale_selector=lambda: locales[-1])
    return locales.append
