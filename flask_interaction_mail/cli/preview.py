"""``preview``: how the messages look."""

from __future__ import annotations

import tempfile
from typing import Final, Literal

import click

from ..monitoring import previews
from ..monitoring.previews import Preview
from ..state import state_of
from .output import as_json, dump, fail, main, say

Part = Literal["text", "html", "headers", "page"]
_UNKNOWN: Final = "There is no template {name!r}. There are: {names}."


@main.command()
@click.argument("template", required=False)
@click.option("--text", "part", flag_value="text", default=True, help="Show the text (default).")
@click.option("--html", "part", flag_value="html", help="Show the HTML.")
@click.option("--open", "part", flag_value="page", help="Open the HTML in a browser.")
@click.option("--headers", "part", flag_value="headers", help="Show the header fields.")
@click.option("--locale", help="The language, such as de.")
@as_json
def preview(template: str | None, part: Part, locale: str | None, as_json: bool) -> None:
    """Show a message with sample data; without TEMPLATE, list the templates.

    Nothing is sent.
    """
    state = state_of()
    names = [listed.name for listed in previews.listed(state)]
    if template is None:
        dump(names) if as_json else say("\n".join(names))
        return
    found = previews.find(state, template)
    if found is None:
        fail(_UNKNOWN.format(name=template, names=", ".join(names)))
    shown = previews.preview(state, found, locale=locale)
    if as_json:
        dump(_told(shown))
    else:
        say(_part(shown, part))


def _part(shown: Preview, part: Part) -> str:
    if part == "headers":
        return "\n".join(f"{name}: {value}" for name, value in shown.headers)
    if part in ("html", "page"):
        html = shown.html or fail(f"{shown.template.name} has no HTML.")
        return html if part == "html" else _opened(html)
    return f"{shown.subject}\n\n{shown.text}".rstrip()


def _opened(html: str) -> str:
    """Open ``html`` in a browser; gives the name of its file, which stays for it to be read."""
    with tempfile.NamedTemporaryFile("w", suffix=".html", delete=False, encoding="utf-8") as file:
        file.write(html)
    click.launch(file.name)
    return file.name


def _told(shown: Preview) -> dict[str, object]:
    return {
        "name": shown.template.name,
        "own": shown.template.own,
        "subject": shown.subject,
        "text": shown.text,
        "html": shown.html,
        "headers": dict(shown.headers),
    }
