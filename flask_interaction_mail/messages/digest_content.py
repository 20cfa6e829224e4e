"""What a digest says of the messages in it: the first 20 in full, the subjects of the others.

Pure. Texts are those that were sent; escaping HTML is left to the template.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from ..clock import from_db
from ..language import gettext, mark, speaking
from ..text import one_line
from ..values import Kind, Party
from .attachments import files_of
from .intent import Attachment, Intent
from .plain_text import CONTROLS, plain

IN_FULL: Final = 20  # messages
_SUBJECTS: Final = 100  # different subjects of the others
_TEXT_LIMIT: Final = 4000  # characters of each text
_ATTACHMENTS_LIMIT: Final = 5_000_000  # bytes
_UNREADABLE: Final = mark("(The text of this message can no longer be read.)")


@dataclass(frozen=True, slots=True)
class Content:
    """A stored message; ``created_at`` is naive UTC, ``intent`` is JSON."""

    subject: str
    created_at: datetime
    intent: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A message as a digest shows it; ``at`` is aware UTC.

    ``who`` caused it. ``files`` are the names of attachments that the digest carries, ``missing``
    of those that would make it too large. ``cut`` says that ``text`` is shortened.
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
    """What a digest says; ``others`` are subjects, each with its number of messages."""

    kind: str
    count: int
    entries: tuple[Entry, ...]
    others: tuple[tuple[str, int], ...]
    further: int  # messages whose subjects are not listed either
    attachments: tuple[Attachment, ...]
    locale: str | None  # shared by all recipients, else None

    def context(self) -> dict[str, Any]:
        """The names that a template may use."""
        return {
            "count": self.count,
            "kind": self.kind,
            "messages": self.entries,
            "others": self.others,
            "further": self.further,
        }


def summary_of(
    contents: Sequence[Content],
    names: Sequence[tuple[str, str]],
    translations: Sequence[str] = (),
) -> Summary:
    """The summary of the messages with these ``names`` (subject, kind), oldest first.

    ``contents`` are those of the first ``IN_FULL`` messages, ``translations`` folders with
    catalogues of the host.
    """
    intents = [_read(content.intent) for content in contents]
    others = Counter(subject for subject, _ in names[len(contents) :])
    listed = others.most_common(_SUBJECTS)
    kinds = {kind for _, kind in names}
    locales = {party.locale for intent in intents if intent for party in intent.to}
    locale = locales.pop() if len(locales) == 1 else None
    carried: list[Attachment] = []
    with speaking(locale, *translations):
        entries = tuple(map(_entry, contents, intents, _loaded(intents, carried)))
    return Summary(
        kind=kinds.pop() if len(kinds) == 1 else Kind.NOTIFICATION,
        count=len(names),
        entries=entries,
        others=tuple(listed),
        further=others.total() - sum(number for _, number in listed),
        attachments=tuple(carried),
        locale=locale,
    )


def _read(text: str) -> Intent | None:
    try:
        return Intent.from_json(text)
    except ValueError:  # damaged; its subject can still be shown
        return None


def _entry(content: Content, intent: Intent | None, carries: int) -> Entry:
    text = gettext(_UNREADABLE) if intent is None else _text_of(intent)
    filenames = [attached.filename for attached in files_of(intent)] if intent else []
    return Entry(
        subject=content.subject,
        who=_who(intent.sender or intent.user) if intent else None,
        at=from_db(content.created_at),
        text=text[:_TEXT_LIMIT],
        cut=len(text) > _TEXT_LIMIT,
        files=tuple(filenames[:carries]),
        missing=tuple(filenames[carries:]),
    )


def _who(party: Party | None) -> str | None:
    if party is None:
        return None
    return one_line(party.name) or one_line(party.email or "") or None


def _loaded(intents: Sequence[Intent | None], carried: list[Attachment]) -> Iterator[int]:
    """Add the attachments that fit to ``carried``; yields their number for each message."""
    room = _ATTACHMENTS_LIMIT
    for intent in intents:
        fitting = 0
        for attached in files_of(intent) if intent else ():
            if len(attached.data) > room:
                break
            # The digest shows no HTML that could refer to it, so it is an ordinary attachment.
            carried.append(replace(attached, disposition="attachment", headers=()))
            room -= len(attached.data)
            fitting += 1
        yield fitting


def _text_of(intent: Intent) -> str:
    text = intent.text if intent.text is not None else plain(intent.html or "")
    # HTML can contain references to control characters.
    return CONTROLS.sub(" ", text.replace("\r\n", "\n")).strip()
