"""The content of a message: header fields and bodies as bytes (RFC 5322, RFC 2045 to 2049).

Pure: identifiers and the date are arguments, so the same intent gives the same bytes.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Sequence
from datetime import datetime
from email.message import Message
from email.mime.base import MIMEBase
from email.mime.nonmultipart import MIMENonMultipart
from email.utils import format_datetime
from functools import cache, lru_cache

from . import addresses, encoding
from .addresses import Mailbox
from .addresses import check_line as check_line
from .attachments import attachment as attachment
from .attachments import checked, type_of
from .errors import ContentError, HeaderError
from .intent import Attachment, Intent
from .sender import SenderHeaders

SUBJECT_LIMIT = 998  # characters
_NAME_LIMIT = 60  # characters of a header name
_NAME = re.compile(r"[!-9;-~]+")  # RFC 5322 §2.2: printable, no colon
_ADDRESSES = ("from", "sender", "reply-to", "to", "cc", "bcc", "apparently-to", "delivered-to")
_OTHERS = ("date", "subject", "message-id", "mime-version", "received", "return-path")
_OURS = ("auto-submitted", "x-auto-response-suppress", "dkim-signature")
_RESERVED = frozenset((*_ADDRESSES, *_OTHERS, *_OURS))
_RESERVED_STARTS = ("content-", "resent-", "arc-")

_Part = tuple[str, str]  # header and body, with the line ends of RFC 5322


def make_message_id(id: uuid.UUID, domain: str) -> str:
    """The Message-ID of the message ``id``, angle brackets included (RFC 5322 §3.6.4)."""
    return f"<{id}@{domain}>"


def is_reserved(name: str) -> bool:
    """Whether the header ``name`` is written by this package alone."""
    lowered = name.lower()
    return lowered in _RESERVED or lowered.startswith(_RESERVED_STARTS)


def check_header(name: str, value: str) -> None:
    """Accept a header field of the caller's own.

    Raises:
        HeaderError: the name is none or reserved, or the value has a control character.
    """
    _check_text("a header name", name)
    if not _NAME.fullmatch(name) or len(name) > _NAME_LIMIT:
        raise HeaderError(
            f"{addresses.quoted(name)} is no header name: use ASCII letters, digits and hyphens, "
            f"at most {_NAME_LIMIT}."
        )
    if is_reserved(name):
        raise HeaderError(
            f"The header {name} is written for you and cannot be set. "
            "Recipients, sender, subject and attachments have arguments of their own."
        )
    _check_text(f"The header {name}", value)
    check_line(f"The header {name}", value)


def check_subject(subject: str) -> str:
    """``subject``, fit for a header.

    Raises:
        HeaderError: it has a control character, or more than 998 characters.
    """
    _check_text("The subject", subject)
    if len(subject) > SUBJECT_LIMIT:
        raise HeaderError(
            f"The subject has {len(subject)} characters; {SUBJECT_LIMIT} are the most."
        )
    return check_line("The subject", subject)


def build(
    intent: Intent,
    *,
    sender: SenderHeaders,
    to: Sequence[Mailbox],
    cc: Sequence[Mailbox] = (),
    message_id: str,
    date: datetime,
) -> bytes:
    """The content of the message, ready for DATA but for dot-stuffing: CRLF, seven bits.

    Only a non-ASCII local part brings in more than seven bits. Blind copies are not mentioned.

    Raises:
        HeaderError: a subject, name or header field that may not be sent.
        ContentError: a text or an attachment that cannot be encoded.
    """
    header, body = _root(intent)
    fields = (
        header,
        _date(date.isoformat(timespec="seconds")),
        _mailboxes("From", (sender.from_,)),
        _mailboxes("Sender", (sender.sender,) if sender.sender else ()),
        _mailboxes("Reply-To", sender.reply_to),
        _mailboxes("To", to),
        _mailboxes("Cc", cc),
        _field("Subject", encoding.unstructured("Subject", check_subject(intent.subject))),
        _field("Message-ID", message_id),
        _QUIET,
        _thread(intent.in_reply_to),
        *_others(intent),
    )
    # Not ASCII only where a local part is not, which needs SMTPUTF8 anyway (RFC 6532).
    return f"{''.join(fields)}\r\n{body}".encode()


def _root(intent: Intent) -> _Part:
    text = _text_part(intent.text, "plain") if intent.text is not None else None
    html = _text_part(intent.html, "html") if intent.html is not None else None
    content: _Part
    if text is not None and html is not None:
        content = _multipart("alternative", (text, html))
    else:
        content = text or html or _text_part("", "plain")
    if not intent.attachments:
        return content
    parts = (content, *map(_attached_part, intent.attachments))
    return _multipart("mixed", parts)


def _multipart(subtype: str, parts: Sequence[_Part]) -> _Part:
    boundary = _boundary(subtype)
    inner = [f"--{boundary}\r\n{header}\r\n{body}\r\n" for header, body in parts]
    return _multipart_header(subtype), f"{''.join(inner)}--{boundary}--\r\n"


def _boundary(subtype: str) -> str:
    # Encoded lines never hold its start, and no part is a message, so any end will do that
    # tells the one multipart from the other (RFC 2046 §5.1.1).
    return f"{encoding.BOUNDARY_START}{subtype}"


@cache
def _multipart_header(subtype: str) -> str:
    return _written(MIMEBase("multipart", subtype, boundary=_boundary(subtype)))


def _text_part(text: str, subtype: str) -> _Part:
    try:
        transfer, lines = encoding.body(text)
    except UnicodeEncodeError as error:
        name = "text" if subtype == "plain" else subtype
        raise ContentError(
            f"{name} has half a surrogate pair at character {error.start}, which no mail can "
            "carry. Take it out."
        ) from error
    return _text_header(subtype, transfer), lines.replace("\n", "\r\n")


@cache
def _text_header(subtype: str, transfer: str) -> str:
    part = MIMENonMultipart("text", subtype, charset="utf-8")
    part["Content-Transfer-Encoding"] = transfer
    return _written(part)


def _attached_part(attached: Attachment) -> _Part:
    checked(attached)
    main, subtype, parameters = type_of(attached)
    part = MIMEBase(main, subtype)
    if parameters:
        part.replace_header("Content-Type", f"{main}/{subtype}{parameters}")
    part["Content-Transfer-Encoding"] = "base64"
    name = encoding.parameter("filename", attached.filename) if attached.filename else ""
    part["Content-Disposition"] = attached.disposition + name
    for header, value in attached.headers:
        part[header] = value
    return _written(part), encoding.base64_lines(attached.data).replace("\n", "\r\n")


def _written(part: Message) -> str:
    """The header of ``part``, its fields folded already where they have to be."""
    return "".join([f"{name}: {value}\r\n" for name, value in part.items()])


def _field(name: str, value: str) -> str:
    # The last line of defence: whatever came in, a value ends only where this module folded it.
    check_line(name, value.replace("\r\n ", ""))
    return f"{name}: {value}\r\n"


@lru_cache(maxsize=1)
def _date(iso: str) -> str:
    # By its text: the same instant in another zone is equal, but written otherwise.
    return _field("Date", format_datetime(datetime.fromisoformat(iso)))


# Answering machines keep quiet (RFC 3834 §5), Exchange's as well.
_QUIET = _field("Auto-Submitted", "auto-generated") + _field("X-Auto-Response-Suppress", "All")


def _mailboxes(name: str, values: Sequence[Mailbox]) -> str:
    for one in values:
        check_line(name, one.name)
        check_line(name, one.address)
    return _field(name, encoding.mailboxes(name, values)) if values else ""


def _thread(in_reply_to: str | None) -> str:
    if not in_reply_to:
        return ""
    return _field("In-Reply-To", in_reply_to) + _field("References", in_reply_to)


def _others(intent: Intent) -> Iterator[str]:
    for name, value in intent.headers:
        check_header(name, value)
        if intent.in_reply_to and name.lower() in ("in-reply-to", "references"):
            continue  # one of each at most (RFC 5322 §3.6), and the thread knows better
        yield _field(name, encoding.unstructured(name, value))


def _check_text(what: str, value: object) -> None:
    if not isinstance(value, str):
        raise HeaderError(f"{what} must be a string, not {type(value).__name__}.")
