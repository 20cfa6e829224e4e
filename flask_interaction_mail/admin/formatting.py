"""Small pieces of pages: instants and statuses."""

from __future__ import annotations

from datetime import datetime

from markupsafe import Markup

from .. import clock
from ..values import Reason, Status
from . import texts


def time(instant: datetime) -> Markup:
    """An instant in naive UTC; the script of the page turns it into the reader's zone."""
    aware = clock.from_db(instant)
    return Markup('<time datetime="{}">{} UTC</time>').format(
        aware.isoformat(timespec="seconds"), aware.strftime("%Y-%m-%d %H:%M")
    )


def status(word: str, reason: str | None = None) -> Markup:
    """The status of a message or a recipient, in a word and in plain language."""
    waiting = leaves_by_itself(word, reason)
    text = texts.STATUS.get(word, "")
    if word == Status.HELD:
        text = texts.GATHERED if waiting else texts.UNDECIDED
    return Markup('<span class="im-status im-status-{}">{}</span> {}').format(
        "queued" if waiting else word, word, texts.gettext(text)
    )


def leaves_by_itself(word: str, reason: str | None) -> bool:
    """Whether a message is held for its rate alone: nobody has to do anything."""
    return word == Status.HELD and reason == Reason.RATE
