"""What may be attached to a message: bytes with a name and a type, never a path."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Protocol

from . import addresses
from .errors import HeaderError
from .intent import Attachment

_WORD = r"[A-Za-z0-9!#$&^_.+-]+"  # a token, as far as types and dispositions use them
_TYPE = re.compile(rf'({_WORD})/({_WORD})((?: *; *{_WORD}=(?:{_WORD}|"[^"\\]*"))*)')
_DISPOSITION = re.compile(_WORD)
# RFC 2045 §7 and §8, RFC 2557; X-Attachment-Id is what some mailbox programs look for.
_PART_HEADER = re.compile(r"content-(?:id|description|location)|x-[a-z0-9-]{1,58}", re.IGNORECASE)
_TYPE_LIMIT = 255  # characters of a content type


class AttachmentLike(Protocol):
    """What ``flask_mail.Attachment`` is, and what else may be attached."""

    filename: str | None
    content_type: str | None
    data: str | bytes
    disposition: str | None


def attachment(raw: AttachmentLike | tuple[str, str, bytes]) -> Attachment:
    """What a caller attaches, checked.

    Raises:
        TypeError: it is a path or something else that is neither an attachment nor a tuple, or
            its data are not bytes.
        HeaderError: its name, content type or disposition cannot stand in a header.
    """
    filename, content_type, data, disposition, headers = _fields(raw)
    return checked(
        Attachment(
            filename=_text("file name", filename, ""),
            content_type=_text("content type", content_type, "application/octet-stream"),
            data=_bytes(filename, data),
            disposition=_text("disposition", disposition, "attachment"),
            headers=_headers(headers),
        )
    )


def checked(attached: Attachment) -> Attachment:
    """``attached``, if its name, type and disposition may stand in a header; else HeaderError."""
    name = addresses.quoted(attached.filename)
    addresses.check_line(f"The file name {name}", attached.filename)
    if len(attached.filename) > addresses.NAME_LIMIT:
        raise HeaderError(f"The file name {name} is longer than {addresses.NAME_LIMIT} characters.")
    if not _DISPOSITION.fullmatch(attached.disposition):
        raise HeaderError(
            f"{addresses.quoted(attached.disposition)} is no disposition for the attachment "
            f"{name}: use 'attachment' or 'inline'."
        )
    for header, value in attached.headers:
        _check_part_header(name, header, value)
    type_of(attached)
    return attached


def type_of(attached: Attachment) -> tuple[str, str, str]:
    """Main type, subtype and parameters (``; name=value…``) of its content type.

    Raises:
        HeaderError: it is none, or one whose data could not travel unchanged.
    """
    content_type = attached.content_type
    found = _TYPE.fullmatch(content_type) if len(content_type) <= _TYPE_LIMIT else None
    if found is None or not (content_type.isascii() and content_type.isprintable()):
        raise HeaderError(
            f"{addresses.quoted(attached.content_type)} is no content type for the attachment "
            f"{addresses.quoted(attached.filename)}: write it like application/pdf."
        )
    main, subtype, parameters = found.groups()
    if main.lower() in ("multipart", "message"):
        # They may not be base64 (RFC 2045 §6.4), and nothing else carries every byte.
        raise HeaderError(
            f"The attachment {addresses.quoted(attached.filename)} cannot be {main}/{subtype}: "
            "attach it as application/octet-stream."
        )
    return main, subtype, parameters


def _bytes(filename: object, data: object) -> bytes:
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data)
    raise TypeError(
        f"The data of the attachment {filename!r:.80} must be bytes, not {type(data).__name__}."
    )


def _fields(raw: object) -> tuple[object, object, object, object, object]:
    if isinstance(raw, tuple) and len(raw) == 3:
        return (*raw, None, None)
    names = ("filename", "content_type", "data")
    if isinstance(raw, str | bytes | tuple) or not all(hasattr(raw, name) for name in names):
        raise TypeError(
            "An attachment is a flask_mail.Attachment or a tuple (file name, content type, "
            f"bytes), never a path; this is {type(raw).__name__}."
        )
    filename, content_type, data = (getattr(raw, name) for name in names)
    others = (getattr(raw, name, None) for name in ("disposition", "headers"))
    return (filename, content_type, data, *others)


def _headers(headers: object) -> tuple[tuple[str, str], ...]:
    if headers is None:
        return ()
    if isinstance(headers, Mapping):
        return tuple((_text("header", n, ""), _text("header", v, "")) for n, v in headers.items())
    raise TypeError(
        f"The headers of an attachment must be a mapping, not {type(headers).__name__}."
    )


def _check_part_header(name: str, header: str, value: str) -> None:
    if _PART_HEADER.fullmatch(header) and value.isascii():
        addresses.check_line(f"{header} of the attachment {name}", value)
        return
    raise HeaderError(
        f"The header {addresses.quoted(header)} cannot be set on the attachment {name}: "
        "Content-ID, Content-Description, Content-Location and X-… can, in ASCII."
    )


def _text(what: str, value: object, default: str) -> str:
    if isinstance(value, str | None):
        return value or default
    raise TypeError(f"The {what} of an attachment must be a string, not {type(value).__name__}.")
