"""Collects our texts, brings the catalogues up to date, and compiles them.

python docs/messages.py
"""

from __future__ import annotations

import io
import re
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

from babel.messages import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

PACKAGE: Final = Path(__file__).resolve().parents[1] / "flask_interaction_mail"
FOLDER: Final = PACKAGE / "translations"
TEMPLATE: Final = FOLDER / "interaction_mail.pot"

_READ: Final = [("**.py", "python"), ("**.html", "jinja2"), ("**.txt", "jinja2")]
_STRICT: Final = {pattern: {"silent": "false"} for pattern, method in _READ if method == "jinja2"}
_KEYWORDS: Final[dict[str, Any]] = {
    **dict.fromkeys(("mark", "gettext", "_gettext")),
    **dict.fromkeys(("ngettext", "_ngettext"), (1, 2)),
}
# Of the header only what programs need: dates and versions would make each change a large one.
_HEADER: Final = frozenset(
    ("MIME-Version", "Content-Type", "Content-Transfer-Encoding", "Language", "Plural-Forms")
)
_AT: Final = datetime(2026, 1, 1, tzinfo=UTC)  # a date has to be given for compiled ones


def extracted(*folders: str) -> Catalog:
    """The texts of the package; with ``folders``, only those of files whose paths begin so."""
    catalog = Catalog(charset="utf-8", fuzzy=False)
    for path, _, text, comments, _ in _found():
        if path.startswith(folders or ""):
            catalog.add(text, auto_comments=comments)
    return catalog


@cache
def _found() -> list[tuple[Any, ...]]:
    return list(
        extract_from_dir(
            PACKAGE, _READ, _STRICT, _KEYWORDS, ["Translators:"], strip_comment_tags=True
        )
    )


def updated(path: Path, template: Catalog) -> Catalog:
    """The catalogue at ``path`` with the texts of ``template``, and without others."""
    catalog = read(path)
    catalog.update(template, no_fuzzy_matching=True)
    catalog.obsolete.clear()
    for message in catalog:
        if message.fuzzy:  # it has got plural forms, or lost them
            message.flags.discard("fuzzy")
            message.string = ("",) * catalog.num_plurals if message.pluralizable else ""
    return catalog


def read(path: Path) -> Catalog:
    """The catalogue in the file ``path``, named after its language."""
    with path.open("rb") as file:
        catalog = read_po(file, locale=path.parents[1].name)
    catalog.creation_date = catalog.revision_date = _AT
    return catalog


def _translated(catalog: Catalog) -> Catalog:
    """``catalog`` without untranslated texts: of plural ones Babel would write the English."""
    for message in list(catalog):
        forms = message.string if message.pluralizable else (message.string,)
        if message.id and not all(forms):
            catalog.delete(message.id)
    return catalog


def catalogues() -> list[Path]:
    """The files of all languages."""
    return sorted(FOLDER.glob("*/LC_MESSAGES/interaction_mail.po"))


def written(catalog: Catalog) -> bytes:
    """``catalog`` as a file: sorted, without lines and dates."""
    file = io.BytesIO()
    catalog.header_comment = ""
    write_po(file, catalog, width=100, no_location=True, sort_output=True, ignore_obsolete=True)
    head, _, texts = file.getvalue().decode().partition("\n\n")
    said = [line for line in head.strip().splitlines() if _is_said(line)]
    return "\n".join([*said, "", texts.rstrip()]).encode() + b"\n"


def _is_said(line: str) -> bool:
    field = re.match(r'"([\w-]+): ', line)
    return field is None or field[1] in _HEADER


def main() -> None:
    """Write all files."""
    template = extracted()
    TEMPLATE.write_bytes(written(template))
    for path in catalogues():
        path.write_bytes(written(updated(path, template)))
        with path.with_suffix(".mo").open("wb") as file:
            write_mo(file, _translated(read(path)))


if __name__ == "__main__":
    main()
