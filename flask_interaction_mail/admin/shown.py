"""Small pieces of pages: instants and statuses."""

from __future__ import annotations

from datetime import datetime

from markupsafe import Markup

from .. import clock
from . import wording


def time(instant: datetime) -> Markup:
    """An instant in naive UTC; the script of the page turns it into the reader's zone."""
    aware = clock.from_db(instant)
    return Markup('<time datetime="{}">{} UTC</time>').format(
        aware.isoformat(timespec="seconds"), aware.strftime("%Y-%m-%d %H:%M")
    )


def status(word: str) -> Markup:
    """The status of a message or a recipient, in a word and in plain language."""
    return Markup('<span class="im-status im-status-{}">{}</span> {}').format(
        word, word, wording.gettext(wording.STATUS.get(word, ""))
    )
