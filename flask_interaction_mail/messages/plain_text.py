"""The text of HTML, for those who read mail without it. Pure."""

from __future__ import annotations

import re
from functools import cache
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")


def from_html(html: str) -> str:
    """The text of ``html`` with the addresses of its links, ending in a line end.

    Inscriptis lays it out, tables and lists included. Without it (extra ``html``) each block is a
    line.
    """
    text = (_inscriptis() or plain)(html)
    # HTML can contain references to control characters.
    lines = (line.rstrip() for line in CONTROLS.sub(" ", text).splitlines())
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n") + "\n"


@cache
def _inscriptis() -> Callable[[str], str] | None:
    try:  # late: most messages bring their text
        from inscriptis import get_text  # type: ignore[import-not-found, import-untyped, unused-ignore]  # extra
        from inscriptis.model.config import ParserConfig  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError:
        return None
    config: Any = ParserConfig(display_links=True)
    return lambda html: str(get_text(html, config))


def plain(html: str) -> str:
    """The text of ``html``, roughly: enough to recognise a message in a digest."""
    parser = _Text()
    parser.feed(html)
    parser.close()
    lines = (" ".join(line.split()) for line in "".join(parser.pieces).splitlines())
    return "\n".join(line for line in lines if line)


class _Text(HTMLParser):
    """Collects the visible text; a link's address follows its words."""

    _HIDDEN = ("script", "style", "title")
    _INLINE = ("a", "b", "i", "em", "strong", "span", "code", "small", "u", "font", "img")

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self._hidden = 0
        self._links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in self._HIDDEN:
            self._hidden += 1
        elif tag == "a":
            self._links.append(dict(attrs).get("href") or "")
        elif tag not in self._INLINE:
            self.pieces.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in self._HIDDEN:
            self._hidden = max(0, self._hidden - 1)
        elif tag == "a" and self._links:
            if (link := self._links.pop()) and not link.startswith("#"):
                self.pieces.append(f" <{link}>")
        elif tag not in self._INLINE:
            self.pieces.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.pieces.append(data)
