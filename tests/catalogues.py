"""Catalogues of a host's own, written into a folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

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
