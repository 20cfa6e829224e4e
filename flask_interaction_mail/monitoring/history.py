"""The history of an application's mail: saved settings, tests, and what people did with messages.

Nothing here writes.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Final

from .. import clock
from ..outbox import deeds
from ..outbox.deeds import Deed
from ..settings.store import Revision
from ..state import State
from . import test_history
from .test_history import Tested

PAGE: Final = 30  # entries
WHICH: Final = ("settings", "tests", "messages")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of the history: a saved revision, a test, or a deed; ``at`` is naive UTC."""

    at: datetime
    event: Revision | Tested | Deed


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Entries, newest first; ``older`` is the time that the next page ends with, or None."""

    entries: Sequence[Entry]
    older: datetime | None


def page(state: State, which: str = "", end: datetime | None = None) -> Page:
    """The entries from before ``end`` (naive UTC): of one kind, a word of ``WHICH``, or of all."""
    kinds = (which,) if which in WHICH else WHICH
    limit = PAGE + 1
    found: list[Iterable[Entry]] = []
    if "settings" in kinds:
        revisions = state.settings.history(limit, before=end)
        found.append([Entry(at=clock.to_db(one.at), event=one) for one in revisions])
    with state.database.reading() as connection:
        if "tests" in kinds:
            tests = test_history.before(connection, end, limit)
            found.append([Entry(at=one.at, event=one) for one in tests])
        if "messages" in kinds:
            done = deeds.before(connection, end, limit)
            found.append([Entry(at=one.at, event=one) for one in done])
    merged = heapq.merge(*found, key=lambda entry: entry.at, reverse=True)
    entries = list(islice(merged, limit))
    return Page(entries=entries[:PAGE], older=entries[PAGE - 1].at if len(entries) > PAGE else None)
