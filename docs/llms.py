"""Writes ``llms.txt``: all pages with what they are about, for programs (https://llmstxt.org).

It has the pages of the index, in its order and under its captions. Its links lead to the Markdown,
which stands beside it in the repository and in the built site alike.

    python docs/llms.py     write the file
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
PAGE = HERE / "llms.txt"
_TREE = re.compile(r"^```{toctree}\n:caption: (.+)\n:maxdepth: \d\n\n((?:\S+\n)+)```", re.MULTILINE)
_INCLUDE = re.compile(r"^```{include} (\S+)\n```$", re.MULTILINE)
_LINK = re.compile(r"\[([^\]]*)\]\(([^)]+)\)")


def page() -> str:
    """The text of ``llms.txt``."""
    title, about = _head(text_of("index"))
    return "\n".join([f"# {title}", "", f"> {about}", *_sections()]) + "\n"


def names() -> list[str]:
    """The pages of the index, without their suffix."""
    return [name for _, pages in _trees() for name in pages]


def text_of(name: str) -> str:
    """The Markdown of a page; that of another file of the repository if the page only shows it."""
    path = HERE / f"{name}.md"
    text = path.read_text("utf-8")
    shown = _INCLUDE.search(text)
    return (HERE / shown[1]).read_text("utf-8") if shown else text


def _trees() -> Iterator[tuple[str, list[str]]]:
    for caption, pages in _TREE.findall((HERE / "index.md").read_text("utf-8")):
        yield caption, pages.split()


def _sections() -> Iterator[str]:
    for caption, pages in _trees():
        yield f"\n## {caption}\n"
        for name in pages:
            title, about = _head(text_of(name))
            yield f"- [{title}]({name}.md): {about}"


def _head(text: str) -> tuple[str, str]:
    """The title of a page, and its first paragraph in one line, without links."""
    title, _, rest = text.partition("\n")
    paragraphs = rest.strip().split("\n\n")
    paragraph = next(one for one in paragraphs if one.startswith("`") or one[0].isalpha())
    return title.removeprefix("# "), _LINK.sub(_words, " ".join(paragraph.split()))


def _words(link: re.Match[str]) -> str:
    """The words of a link; the title of the page where it has none, as Sphinx shows it."""
    words, target = link.groups()
    name = target.partition("#")[0].removesuffix(".md")
    return words or text_of(name).partition("\n")[0].removeprefix("# ")


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
