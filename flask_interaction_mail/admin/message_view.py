"""The parts of a stored message that an administrator sees."""

from __future__ import annotations

import re
from collections.abc import Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage, Message, MIMEPart
from functools import lru_cache
from typing import Final, Literal, NamedTuple

from ..messages.intent import Intent
from ..text import one_line

_FROM: Final = re.compile(rb"^From:([^\r\n]*(?:\r\n[ \t][^\r\n]*)*)", re.MULTILINE)
# Fields that are folded anew are read before that, which fails with some from outside.
_AS_IT_IS: Final = policy.compat32.clone(max_line_length=None, linesep="\r\n")
_WITH_FILES: Final = ("multipart/mixed", "multipart/related")


# For srcdoc, which works where a host forbids all frames. The sandbox, and this policy ahead of
# the message, keep the message from loading or running anything. Its links would open new
# windows, which the sandbox does not allow, so that they lead nowhere.
_FRAMED: Final = (
    "<!DOCTYPE html><meta http-equiv=Content-Security-Policy content=\"default-src 'none'; "
    "style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'\"><base target=_blank>"
)


class File(NamedTuple):
    """A file in a message, under a name in one line."""

    name: str
    content_type: str
    data: bytes


class Body(NamedTuple):
    """The texts of a message, both None after they were purged, and its files."""

    text: str | None
    html: str | None
    files: tuple[File, ...] = ()

    @property
    def framed(self) -> str:
        """The HTML text as the ``srcdoc`` of a frame."""
        return _FRAMED + (self.html or "")


def headers_of(content: bytes | None) -> tuple[tuple[str, str], ...]:
    """The header fields of the message that is sent, in order."""
    if not content:
        return ()
    head = content.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    return tuple((name, str(value)) for name, value in _parsed(head).items())


def from_of(head: bytes | None) -> str:
    """The From field in the first bytes of a message; "" if there is none."""
    field = _FROM.search((head or b"").partition(b"\r\n\r\n")[0])
    return _decoded(field[1]) if field else ""


def body_of(content: bytes | None, intent: str) -> Body:
    """What is in the message that is sent; in its intent if routing has not succeeded."""
    if content:
        message = _parsed(content)
        files = tuple(_files(message))
        return Body(text=_part(message, "plain"), html=_part(message, "html"), files=files)
    try:
        intended = Intent.from_json(intent)
    except ValueError:
        return Body(text=None, html=None)
    attached = (
        File(one_line(file.filename), file.content_type, file.data) for file in intended.attachments
    )
    return Body(text=intended.text, html=intended.html, files=tuple(attached))


@lru_cache(maxsize=256)  # thousands of messages have a few senders
def _decoded(value: bytes) -> str:
    return str(_parsed(b"From:%b\r\n\r\n" % value.rstrip())["From"])


def _parsed(content: bytes) -> EmailMessage:
    return message_from_bytes(content, policy=policy.default)


def _part(message: EmailMessage, kind: Literal["plain", "html"]) -> str | None:
    part = message.get_body((kind,))
    return str(part.get_content()) if part is not None else None


def _files(message: MIMEPart) -> Iterator[File]:
    """The files of a message; another one that is attached is one file, whatever is in it."""
    if message.get_content_type() in _WITH_FILES:
        for file in message.iter_attachments():
            yield File(one_line(file.get_filename() or ""), file.get_content_type(), _data(file))
    if message.get_content_maintype() == "multipart":
        for part in message.iter_parts():
            yield from _files(part)


def _data(part: MIMEPart) -> bytes:
    data = part.get_payload(decode=True)
    if isinstance(data, bytes):
        return data
    inner = part.get_payload()  # a message, or several parts
    return b"".join(map(_bytes, inner)) if isinstance(inner, list) else b""


def _bytes(part: object) -> bytes:
    return part.as_bytes(policy=_AS_IT_IS) if isinstance(part, Message) else str(part).encode()
