"""A stored message, taken apart for the eyes of an administrator."""

from __future__ import annotations

import re
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from functools import lru_cache
from typing import Final, Literal

from ..messages.intent import Intent

_FROM: Final = re.compile(rb"^From:([^\r\n]*(?:\r\n[ \t][^\r\n]*)*)", re.MULTILINE)


# A document within the page: a host that refuses all frames does not refuse this one. What the
# message loads or runs is refused by its sandbox, and by a policy that stands before all else.
_FRAMED: Final = (
    "<!DOCTYPE html><meta http-equiv=Content-Security-Policy content=\"default-src 'none'; "
    "style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'\">"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """The texts of a message; both None where they have been removed."""

    text: str | None
    html: str | None

    @property
    def framed(self) -> str:
        """The HTML text as the ``srcdoc`` of a frame."""
        return _FRAMED + (self.html or "")


def headers_of(content: bytes | None) -> tuple[tuple[str, str], ...]:
    """The header fields that leave with the message, in their order."""
    if not content:
        return ()
    head = content.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    return tuple((name, str(value)) for name, value in _parsed(head).items())


def from_of(head: bytes | None) -> str:
    """Whom the From field in the first bytes of a message names, "" where there is none."""
    found = _FROM.search((head or b"").partition(b"\r\n\r\n")[0])
    return _read_from(found[1]) if found else ""


def body_of(content: bytes | None, intent: str) -> Body:
    """The texts of what left, or of what was meant where routing has not succeeded."""
    if content:
        message = _parsed(content)
        return Body(text=_part(message, "plain"), html=_part(message, "html"))
    try:
        meant = Intent.from_json(intent)
    except ValueError:
        return Body(text=None, html=None)
    return Body(text=meant.text, html=meant.html)


@lru_cache(maxsize=256)  # of thousands of messages most have one of a few senders
def _read_from(value: bytes) -> str:
    return str(_parsed(b"From:%b\r\n\r\n" % value.rstrip())["From"])


def _parsed(content: bytes) -> EmailMessage:
    return message_from_bytes(content, policy=policy.default)


def _part(message: EmailMessage, kind: Literal["plain", "html"]) -> str | None:
    part = message.get_body((kind,))
    return str(part.get_content()) if part is not None else None
