"""The shape of a page: its elements and attributes, without what they say."""

from __future__ import annotations

from functools import lru_cache
from html.parser import HTMLParser

LINKS = ("href", "src", "action", "formaction", "data", "poster", "srcdoc", "xlink:href")
# What would do something if it were taken for mark-up, one for each place that text can stand in.
MARKUP = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "</title></textarea></pre></option></select><svg onload=alert(1)>",
    '" onfocus="alert(1)" autofocus x="',
    "' onfocus='alert(1)' autofocus x='",
    "javascript:alert(1)",
    "--><iframe srcdoc='<script>alert(1)</script>'>",
    "{{ 7 * 7 }}{% for x in ().__class__.__base__.__subclasses__() %}",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "<a href='javascript:alert(1)'>x</a>",
    "<style>*{display:none}</style>",
    "<base href='https://evil.example/'>",
    "<meta http-equiv=refresh content='0;url=https://evil.example/'>",
    "<form action='https://evil.example/'><button>",
]

Shape = tuple[tuple[str, tuple[str, ...]], ...]


def shape_of(html: str) -> Shape:
    """Every element with the names of its attributes, in the order of the page."""
    return tuple((tag, tuple(sorted(attributes))) for tag, attributes in _elements(html))


def links_of(html: str) -> list[str]:
    """Where the page leads, without blanks and control characters, in small letters."""
    found = [
        attributes[name]
        for _, attributes in _elements(html)
        for name in LINKS
        if name in attributes
    ]
    return ["".join(link.split()).lower() for link in found]


class _Elements(HTMLParser):
    """Each element with its attributes; a tree of them would take three times as long."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attributes}))


@lru_cache(maxsize=1)
def _elements(html: str) -> list[tuple[str, dict[str, str]]]:
    parser = _Elements()
    parser.feed(html)
    parser.close()
    return parser.found
