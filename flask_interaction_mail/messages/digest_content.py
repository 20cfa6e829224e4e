"""What a digest tells of the messages in it: the first of them in full, of the others the subjects.

Pure. Texts are as they were sent; that HTML is escaped is the template's to do.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from html.parser import HTMLParser
from typing import Any, Final

from ..clock import from_db
from ..text import one_line
from ..values import Kind, Party
from .attachments import files_of
from .intent import Attachment, Intent

IN_FULL: Final = 20  # messages
_LINES: Final = 100  # different subjects of the others
_LETTERS: Final = 4000  # characters of each text
_CARRIED: Final = 5_000_000  # bytes of attachments
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
_UNREADABLE: Final = "(Its text cannot be read any more.)"


@dataclass(frozen=True, slots=True)
class Content:
    """A message as it is stored; ``created_at`` is naive UTC."""

    subject: str
    created_at: datetime
    intent: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A message as a digest shows it.

    ``who`` caused it, ``at`` is aware UTC; ``files`` are names of attachments that travel with
    the digest, ``missing`` of those that would make it too large.
    """

    subject: str
    who: str | None
    at: datetime
    text: str
    cut: bool
    files: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a digest says; ``others`` are subjects with how many messages have it."""

    kind: str
    count: int
    entries: tuple[Entry, ...]
    others: tuple[tuple[str, int], ...]
    further: int  # messages whose subjects are not listed either
    attachments: tuple[Attachment, ...]
    locale: str | None  # that all recipients share

    def context(self) -> dict[str, Any]:
        """The names that a template may use."""
        return {
            "count": self.count,
            "kind": self.kind,
            "messages": self.entries,
            "others": self.others,
            "further": self.further,
            "locale": self.locale,
        }


def summary_of(contents: Sequence[Content], names: Sequence[tuple[str, str]]) -> Summary:
    """The summary of messages with these ``names`` (subject and kind), oldest first.

    ``contents`` are those of the first ``IN_FULL``.
    """
    intents = [_read(one.intent) for one in contents]
    others = Counter(subject for subject, _ in names[len(contents) :])
    listed = others.most_common(_LINES)
    kinds = {kind for _, kind in names}
    locales = {party.locale for intent in intents if intent for party in intent.to}
    carried: list[Attachment] = []
    return Summary(
        kind=kinds.pop() if len(kinds) == 1 else Kind.NOTIFICATION,
        count=len(names),
        entries=tuple(map(_entry, contents, intents, _loaded(intents, carried))),
        others=tuple(listed),
        further=others.total() - sum(number for _, number in listed),
        attachments=tuple(carried),
        locale=locales.pop() if len(locales) == 1 else None,
    )


def _read(text: str) -> Intent | None:
    try:
        return Intent.from_json(text)
    except ValueError:  # damaged; its subject is still worth something
        return None


def _entry(content: Content, intent: Intent | None, carries: int) -> Entry:
    text = _UNREADABLE if intent is None else _text_of(intent)
    attached = [one.filename for one in files_of(intent)] if intent else []
    return Entry(
        subject=content.subject,
        who=_who(intent.sender or intent.user) if intent else None,
        at=from_db(content.created_at),
        text=text[:_LETTERS],
        cut=len(text) > _LETTERS,
        files=tuple(attached[:carries]),
        missing=tuple(attached[carries:]),
    )


def _who(party: Party | None) -> str | None:
    if party is None:
        return None
    return one_line(party.name) or one_line(party.email or "") or None


def _loaded(intents: Sequence[Intent | None], carried: list[Attachment]) -> Iterator[int]:
    """How many attachments of each message find room; they are added to ``carried``."""
    room = _CARRIED
    for intent in intents:
        fitting = 0
        for one in files_of(intent) if intent else ():
            if len(one.data) > room:
                break
            # What HTML refers to is not shown in its place here.
            carried.append(replace(one, disposition="attachment", headers=()))
            room -= len(one.data)
            fitting += 1
        yield fitting


def _text_of(intent: Intent) -> str:
    text = intent.text if intent.text is not None else plain(intent.html or "")
    # HTML can name characters that no text may contain.
    return _CONTROLS.sub(" ", text.replace("\r\n", "\n")).strip()


def plain(html: str) -> str:
    """The text of ``html``, roughly: what a reader of a digest needs to recognise a message."""
    parser = _Text()
    parser.feed(html)
    parser.close()
    lines = (" ".join(line.split()) for line in "".join(parser.pieces).splitlines())
    return "\n".join(line for line in lines if line)


class _Text(HTMLParser):
    """Collects what is shown; links are kept behind their words."""

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
