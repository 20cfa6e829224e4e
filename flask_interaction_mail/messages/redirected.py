"""A request that has reached nobody, as it goes to the default To. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from markupsafe import escape

from ..language import gettext
from ..text import cut, one_line
from .intent import REDIRECT, Intent

_SHOWN: Final = 20  # recipients
_LONGEST: Final = 500  # characters of a reason
_BODY: Final = re.compile(r"<body\b[^>]*>", re.IGNORECASE)


class Missed(NamedTuple):
    """A recipient who did not get it, and why in the words of a mail server, "" if none are."""

    address: str
    why: str


def redirected(intent: Intent, missed: Sequence[Missed], message_id: str | None) -> Intent:
    """``intent`` for the default To, with the reason first in its texts.

    It answers ``message_id``, the one that reached nobody. The reason is in the language that is
    spoken now.
    """
    lead = gettext(
        "This request has reached nobody, because mail servers have returned or refused it. "
        "It comes to you, so that somebody acts."
    )
    lines = [_line(each) for each in missed[:_SHOWN]]
    return intent._replace(
        source=REDIRECT,
        to=(),
        cc=(),
        bcc=(),
        locations=(),
        in_reply_to=message_id,
        text=None if intent.text is None else _in_text(lead, lines, intent.text),
        html=None if intent.html is None else _in_markup(lead, lines, intent.html),
    )


def _line(missed: Missed) -> str:
    return ": ".join(filter(None, (missed.address, cut(one_line(missed.why), _LONGEST))))


def _in_text(lead: str, lines: Sequence[str], text: str) -> str:
    listed = "".join(f"- {line}\n" for line in lines)
    return f"{lead}\n\n{listed}\n{text}"


def _in_markup(lead: str, lines: Sequence[str], markup: str) -> str:
    listed = "".join(f'<li dir="auto">{escape(line)}</li>' for line in lines)
    top = f"<div><p><strong>{escape(lead)}</strong></p><ul>{listed}</ul></div>"
    body = _BODY.search(markup)
    at = body.end() if body else 0
    return f"{markup[:at]}{top}{markup[at:]}"
