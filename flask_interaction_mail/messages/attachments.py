"""Attachments of a message: bytes with a name and a content type, never a path."""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Mapping
from typing import Protocol

from .. import addresses
from ..errors import ArgumentError, HeaderError
from ..text import NAME_LIMIT, resolved
from .intent import Attachment, Intent

_WORD = r"[A-Za-z0-9!#$&^_.+-]+"  # a token, as content types and dispositions use it
_TYPE = re.compile(rf'({_WORD})/({_WORD})((?: *; *{_WORD}=(?:{_WORD}|"[^"\\]*"))*)')
_DISPOSITION = re.compile(_WORD)
# RFC 2045 §7 and §8, RFC 2557; some mail programs look for X-Attachment-Id.
_PART_HEADER = re.compile(
    r"content-(?:id|description|location|language|duration|features|md5)|x-[a-z0-9-]{1,58}",
    re.IGNORECASE,
)
_FREE_TEXT = re.compile("content-description|x-.*", re.IGNORECASE)  # may have encoded words
_PART_FORMS = {
    "content-id": re.compile(r"<[!-;=?-~]{1,900}>"),
    "content-location": re.compile(r"[!-~]{1,900}"),
}
_TYPE_LIMIT = 255  # characters of a content type
_UNKNOWN = "application/octet-stream"
_PACKED = {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}
_MESSAGES = frozenset(
    {"message/rfc822", "message/delivery-status", "message/disposition-notification"}
)
_FIELD = re.compile(rb"[!-9;-~]+[ \t]*:")  # the first of a header (RFC 5322 §2.2)
# What some servers take for a line end. Escape is not among them: Japanese messages need it.
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f]|\r(?!\n)")
_LONG_LINE = re.compile(rb"[^\r\n]{999}")
_CHARSET = re.compile(r' *; *charset=(?:"[^"]*"|[^;" ]+)', re.IGNORECASE)
_METHOD = re.compile(r"^METHOD:([A-Za-z]{1,32})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)


class AttachmentLike(Protocol):
    """An attachment of a caller, such as ``flask_mail.Attachment``.

    It may also have a ``disposition`` and ``headers``, as that has.
    """

    @property
    def filename(self) -> str | None:
        """The name of the file, or None."""
        ...

    @property
    def content_type(self) -> str | None:
        """The content type, such as ``text/csv``; None to guess it from the name."""
        ...

    @property
    def data(self) -> str | bytes:
        """The bytes; a text is refused, since its charset is not known."""
        ...


def attachment(raw: AttachmentLike | tuple[str | None, str | None, bytes]) -> Attachment:
    """Check what a caller attaches, and return it with every field filled in.

    Raises:
        ArgumentError: it is neither an attachment nor a tuple, or its data are not bytes.
        HeaderError: its name, content type, disposition or a header of its own is not valid.
    """
    filename, content_type, data, disposition, headers = _fields(raw)
    name, content = _text("file name", filename, ""), _bytes(filename, data)
    return checked(
        Attachment(
            filename=name,
            content_type=_text("content type", content_type, "") or guessed_type(name, content),
            data=content,
            disposition=_text("disposition", disposition, "attachment"),
            headers=_headers(headers),
        )
    )


def guessed_type(filename: str, data: bytes) -> str:
    """The content type for the extension of ``filename``, if ``data`` can travel as that."""
    found, packed = mimetypes.guess_type(filename, strict=False)
    if packed is not None:
        found = _PACKED.get(packed)
    if found is None or not is_type(found):
        return _UNKNOWN
    return fitting_type(found, data)


def fitting_type(content_type: str, data: object) -> str:
    """``content_type``, or that of any bytes if ``data`` is not the message that it names."""
    kind = content_type.partition(";")[0].strip().lower()
    if not kind.startswith(("message/", "multipart/")) or not isinstance(data, bytes):
        return content_type
    return _UNKNOWN if _fault_of_message(kind, data) else content_type


def checked_alternative(content_type: str, text: str) -> tuple[str, str]:
    """The content type of an alternative, without its charset, and the text.

    The type of a calendar gets the method that its text has (RFC 6047 §2.4).

    Raises:
        HeaderError: the type is not one of text, or does not fit in a header.
    """
    found = _parsed_type(content_type)
    if found is None or found[1].lower() != "text":
        raise HeaderError(
            f"{addresses.quoted(content_type)} cannot be the type of an alternative: write it like "
            "text/calendar. Files are attachments."
        )
    kind = f"text/{found[2].lower()}{_CHARSET.sub('', found[3])}"
    if found[2].lower() == "calendar" and "method=" not in kind.lower():
        method = _METHOD.search(text)
        kind += f"; method={method[1].upper()}" if method else ""
    return kind, text


def files_of(intent: Intent) -> tuple[Attachment, ...]:
    """Everything in ``intent`` beside text and HTML, as files."""
    return (*intent.attachments, *(_as_file(*alternative) for alternative in intent.alternatives))


def _as_file(content_type: str, text: str) -> Attachment:
    end = mimetypes.guess_extension(content_type.partition(";")[0]) or ".txt"
    kind, data = f'{content_type}; charset="utf-8"', text.encode("utf-8", "replace")
    return Attachment(filename=f"alternative{end}", content_type=kind, data=data)


def is_message(attached: Attachment) -> bool:
    """Whether ``attached`` is a message or a report about one, which travels unencoded."""
    return attached.content_type.partition(";")[0].strip().lower() in _MESSAGES


def checked(attached: Attachment) -> Attachment:
    """Return ``attached`` if name, type, disposition and headers are valid; else HeaderError."""
    name = addresses.quoted(attached.filename)
    addresses.check_line(f"The file name {name}", attached.filename)
    if len(attached.filename) > NAME_LIMIT:
        raise HeaderError(f"The file name {name} is longer than {NAME_LIMIT} characters.")
    if not _DISPOSITION.fullmatch(attached.disposition):
        raise HeaderError(
            f"{addresses.quoted(attached.disposition)} is not a disposition for the attachment "
            f"{name}: use 'attachment' or 'inline'."
        )
    for header, value in attached.headers:
        _check_part_header(name, header, value)
    type_of(attached)
    return attached


def is_type(content_type: str) -> bool:
    """Whether ``content_type`` is valid in a header."""
    return _parsed_type(content_type) is not None


def type_of(attached: Attachment) -> tuple[str, str, str]:
    """The main type, subtype and parameters (``; name=value…``) of its content type.

    Raises:
        HeaderError: it is not valid, or the data could not travel unchanged as this type.
    """
    found = _parsed_type(attached.content_type)
    if found is None:
        raise HeaderError(
            f"{addresses.quoted(attached.content_type)} is not a content type for the attachment "
            f"{addresses.quoted(attached.filename)}: write it like application/pdf."
        )
    main, subtype, parameters = found.groups()
    if main.lower() in ("multipart", "message") and (
        fault := _fault_of_message(f"{main}/{subtype}", attached.data)
    ):
        raise HeaderError(
            f"The attachment {addresses.quoted(attached.filename)} cannot be {main}/{subtype}: "
            f"{fault}. Attach it as application/octet-stream."
        )
    return main, subtype, parameters


def _fault_of_message(kind: str, data: bytes) -> str:
    """Why ``data`` cannot travel as ``kind``, which may not be encoded; "" if it can."""
    if kind.lower() not in _MESSAGES:
        return "it may not be encoded (RFC 2045 §6.4)"
    if not data.isascii():
        return "it has bytes beyond ASCII, and may not be encoded (RFC 2046 §5.2.1)"
    if not _FIELD.match(data):
        return "it does not begin with a header"
    if _CONTROL.search(data):
        return "it has a bare carriage return or another control character"
    return "it has a line of more than 998 characters" if _LONG_LINE.search(data) else ""


def _parsed_type(content_type: str) -> re.Match[str] | None:
    if len(content_type) > _TYPE_LIMIT or not content_type.isascii():
        return None
    return _TYPE.fullmatch(content_type) if content_type.isprintable() else None


def _bytes(filename: object, data: object) -> bytes:
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data)
    raise ArgumentError(
        f"The data of the attachment {filename!r:.80} must be bytes, not {type(data).__name__}."
    )


def _fields(raw: object) -> tuple[object, object, object, object, object]:
    if isinstance(raw, tuple) and len(raw) == 3:
        return (*raw, None, None)
    names = ("filename", "content_type", "data")
    if isinstance(raw, str | bytes | tuple) or not all(hasattr(raw, name) for name in names):
        raise ArgumentError(
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
        return tuple(_header(name, value) for name, value in headers.items())
    raise ArgumentError(
        f"The headers of an attachment must be a mapping, not {type(headers).__name__}."
    )


def _header(name: object, value: object) -> tuple[str, str]:
    field, text = _text("header", name, ""), _text("header", value, "")
    bare = field.lower() == "content-id" and re.fullmatch(r"[^<>\s]+", text)
    return field, f"<{text}>" if bare else text  # RFC 2392


def _check_part_header(name: str, header: str, value: str) -> None:
    free = _FREE_TEXT.fullmatch(header) is not None
    if _PART_HEADER.fullmatch(header) and (free or value.isascii()):
        addresses.check_line(f"{header} of the attachment {name}", value)
        form = _PART_FORMS.get(header.lower())
        if form is None or form.fullmatch(value):
            return
        raise HeaderError(
            f"{header} of the attachment {name} cannot be {addresses.quoted(value)}: "
            "write <logo> for an id, and a URL without spaces for a location."
        )
    raise HeaderError(
        f"The header {addresses.quoted(header)} cannot be set on the attachment {name}: "
        "Content-Description and X-… can, and in ASCII Content-ID, Content-Language and "
        "Content-Location."
    )


def _text(what: str, value: object, default: str) -> str:
    text = resolved(value)
    if text is None or isinstance(text, str):
        return text or default
    raise ArgumentError(
        f"The {what} of an attachment must be a string, not {type(value).__name__}."
    )
