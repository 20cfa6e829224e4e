"""The content of a message: header fields and bodies as bytes (RFC 5322, RFC 2045 to 2049).

Pure: identifiers and the date are arguments, so the same intent gives the same bytes.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Sequence
from datetime import datetime
from email.message import Message
from email.mime.base import MIMEBase
from email.mime.nonmultipart import MIMENonMultipart
from email.utils import format_datetime

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
    message = _root(intent, message_id)
    _set(message, "Date", format_datetime(date))
    _set_mailboxes(message, "From", (sender.from_,))
    _set_mailboxes(message, "Sender", (sender.sender,) if sender.sender else ())
    _set_mailboxes(message, "Reply-To", sender.reply_to)
    _set_mailboxes(message, "To", to)
    _set_mailboxes(message, "Cc", cc)
    _set(message, "Subject", encoding.unstructured("Subject", check_subject(intent.subject)))
    _set(message, "Message-ID", message_id)
    # Answering machines keep quiet (RFC 3834 §5), Exchange's as well.
    _set(message, "Auto-Submitted", "auto-generated")
    _set(message, "X-Auto-Response-Suppress", "All")
    _set_threads(message, intent.in_reply_to)
    _set_others(message, intent)
    # Not ASCII only where a local part is not, which needs SMTPUTF8 anyway (RFC 6532).
    return _written(message).replace("\n", "\r\n").encode()


def _written(part: Message) -> str:
    """``part`` with bare line feeds; the standard library's generator writes line by line."""
    lines = [f"{name}: {value}\n" for name, value in part.raw_items()]
    header = "".join(lines).replace("\r\n", "\n")  # folds
    return f"{header}\n{part.get_payload()}"


def _root(intent: Intent, message_id: str) -> Message:
    # Encoded lines never hold the start of a boundary, so any end will do.
    ending = hashlib.sha256(message_id.encode()).hexdigest()[:24]
    text = _text_part(intent.text, "plain") if intent.text is not None else None
    html = _text_part(intent.html, "html") if intent.html is not None else None
    content: Message
    if text is not None and html is not None:
        content = _multipart("alternative", f"{encoding.BOUNDARY_START}a{ending}", (text, html))
    else:
        content = text or html or _text_part("", "plain")
    if not intent.attachments:
        return content
    parts = (content, *map(_attached_part, intent.attachments))
    return _multipart("mixed", f"{encoding.BOUNDARY_START}m{ending}", parts)


def _multipart(subtype: str, boundary: str, parts: Sequence[Message]) -> MIMEBase:
    multipart = MIMEBase("multipart", subtype, boundary=boundary)
    inner = [f"--{boundary}\n{_written(part)}\n" for part in parts]
    multipart.set_payload(f"{''.join(inner)}--{boundary}--\n")
    return multipart


def _text_part(text: str, subtype: str) -> MIMENonMultipart:
    try:
        transfer, lines = encoding.body(text)
    except UnicodeEncodeError as error:
        name = "text" if subtype == "plain" else subtype
        raise ContentError(
            f"{name} has half a surrogate pair at character {error.start}, which no mail can "
            "carry. Take it out."
        ) from error
    part = MIMENonMultipart("text", subtype, charset="utf-8")
    part["Content-Transfer-Encoding"] = transfer
    part.set_payload(lines)
    return part


def _attached_part(attached: Attachment) -> MIMEBase:
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
    part.set_payload(encoding.base64_lines(attached.data))
    return part


def _set(message: Message, name: str, value: str) -> None:
    # The last line of defence: whatever came in, a value ends only where this module folded it.
    check_line(name, value.replace("\r\n ", ""))
    message[name] = value


def _set_mailboxes(message: Message, name: str, values: Sequence[Mailbox]) -> None:
    for one in values:
        check_line(name, one.name)
        check_line(name, one.address)
    if values:
        _set(message, name, encoding.mailboxes(name, values))


def _set_threads(message: Message, in_reply_to: str | None) -> None:
    if in_reply_to:
        _set(message, "In-Reply-To", in_reply_to)
        _set(message, "References", in_reply_to)


def _set_others(message: Message, intent: Intent) -> None:
    for name, value in intent.headers:
        check_header(name, value)
        if intent.in_reply_to and name.lower() in ("in-reply-to", "references"):
            continue  # one of each at most (RFC 5322 §3.6), and the thread knows better
        _set(message, name, encoding.unstructured(name, value))


def _check_text(what: str, value: object) -> None:
    if not isinstance(value, str):
        raise HeaderError(f"{what} must be a string, not {type(value).__name__}.")
