"""The parts of a stored message that an administrator sees."""

from __future__ import annotations

import re
from collections.abc import Iterator
from email import errors, message_from_bytes, policy
from email.message import EmailMessage, MIMEPart
from functools import lru_cache
from typing import Final, Literal, NamedTuple

from ..messages.intent import Intent
from ..text import one_line

_FROM: Final = re.compile(rb"^From:([^\r\n]*(?:\r\n[ \t][^\r\n]*)*)", re.MULTILINE)
# What the library raises where it cannot read what others wrote: there are many ways.
_UNREADABLE: Final = (
    *(AttributeError, LookupError, TypeError, ValueError, RecursionError),
    errors.MessageError,
)
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
    return tuple((name, _legible(name, value)) for name, value in _parsed(head).raw_items())


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
    ((name, field),) = _parsed(b"From:%b\r\n\r\n" % value.rstrip()).raw_items()
    return _legible(name, field)


def _legible(name: str, field: str) -> str:
    """The text of a header field, or the field as it is if it cannot be read."""
    try:
        return str(policy.default.header_fetch_parse(name, field))
    except _UNREADABLE:
        return one_line(field.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))


class _Part(EmailMessage):
    """A message or a part of one; another message that is attached is a file, which is not read."""

    def get_content_type(self) -> str:
        """Its type, for such a message that of a file."""
        found = self.declared_type()
        return "application/octet-stream" if found.startswith("message/") else found

    def declared_type(self) -> str:
        """Its type as it says."""
        return super().get_content_type()


_READING: Final = policy.default.clone(message_factory=_Part)


def _parsed(content: bytes) -> EmailMessage:
    return message_from_bytes(content, policy=_READING)


def _part(message: EmailMessage, kind: Literal["plain", "html"]) -> str | None:
    part = message.get_body((kind,))
    if part is None:
        return None
    try:
        return str(part.get_content())
    except _UNREADABLE:  # such as a charset that nobody knows
        return _data(part).decode("utf-8", "replace")


def _files(message: MIMEPart) -> Iterator[File]:
    """The files of a message; another one that is attached is one file, whatever is in it."""
    if message.get_content_type() in _WITH_FILES:
        for file in message.iter_attachments():
            if not file.is_multipart():
                yield File(_name(file), _type(file), _data(file))
    if message.get_content_maintype() == "multipart":
        for part in message.iter_parts():
            yield from _files(part)


def _name(file: MIMEPart) -> str:
    try:
        return one_line(file.get_filename() or "")
    except _UNREADABLE:
        return ""


def _type(file: MIMEPart) -> str:
    return file.declared_type() if isinstance(file, _Part) else file.get_content_type()


def _data(part: MIMEPart) -> bytes:
    data = part.get_payload(decode=True)
    return data if isinstance(data, bytes) else b""
