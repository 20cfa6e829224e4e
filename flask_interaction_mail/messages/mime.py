"""The content of a message: header fields and bodies as bytes (RFC 5322, RFC 2045 to 2049).

Pure: identifiers and the date are arguments, so the same intent gives the same bytes.
"""

from __future__ import annotations

import html
import re
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from email.utils import format_datetime
from functools import lru_cache

from .. import addresses
from ..addresses import Mailbox, check_line
from ..errors import HeaderError
from . import encoding, parts, structured
from .intent import Intent
from .sender import SenderHeaders

SUBJECT_LIMIT = 998  # characters
_NAME_LIMIT = 60  # characters of a header name
_NAME = re.compile(r"[!-9;-~]+")  # RFC 5322 §2.2: printable, no colon
_ADDRESSES = ("from", "sender", "reply-to", "to", "cc", "bcc", "apparently-to", "delivered-to")
_OTHERS = ("date", "subject", "message-id", "mime-version", "received", "return-path")
_OURS = ("auto-submitted", "dkim-signature")
_RESERVED = frozenset((*_ADDRESSES, *_OTHERS, *_OURS))
_RESERVED_STARTS = ("content-", "resent-", "arc-")
_BODY_END = re.compile("</body", re.IGNORECASE)


def make_message_id(id: uuid.UUID, domain: str) -> str:
    """The Message-ID of the message ``id``, angle brackets included (RFC 5322 §3.6.4)."""
    return f"<{id}@{domain}>"


def is_reserved(name: str) -> bool:
    """Whether the header ``name`` is written by this package alone."""
    lowered = name.lower()
    return lowered in _RESERVED or lowered.startswith(_RESERVED_STARTS)


def check_header(name: str, value: str) -> str:
    """The value of a header field of the caller's own, in one line if it came folded.

    Raises:
        HeaderError: the name is none or reserved, or the value has a control character or does
            not fit the grammar of that field.
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
    line = check_line(f"The header {name}", structured.unfolded(value))
    structured.formatted(name, line)
    return line


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

    Blind copies are not mentioned, and no header holds an address that needs SMTPUTF8.

    Raises:
        HeaderError: a subject, name or header field that may not be sent.
        ContentError: a text or an attachment that cannot be encoded.
    """
    header, body = parts.tree(_naming(intent, sender.in_text))
    fields = (
        header,
        _date(date.isoformat(timespec="seconds")),
        _mailboxes("From", (sender.from_,)),
        _mailboxes("Sender", (sender.sender,) if sender.sender else ()),
        _mailboxes("Reply-To", sender.reply_to),
        _mailboxes("To", to) or _UNDISCLOSED,
        _mailboxes("Cc", cc),
        _field(
            "Subject", encoding.unstructured("Subject", check_line("The subject", intent.subject))
        ),
        _field("Message-ID", message_id),
        _quiet(intent),
        _thread(intent.in_reply_to),
        *_others(intent),
    )
    return f"{''.join(fields)}\r\n{body}".encode()


def _naming(intent: Intent, whom: Iterable[tuple[str, Mailbox]]) -> Intent:
    """``intent`` with texts that name the addresses of ``whom``, where they do not yet."""
    for field, mailbox in whom:
        line, text, marked_up = f"{field}: {mailbox}", intent.text, intent.html
        if (text is not None or marked_up is None) and mailbox.address not in (text or ""):
            text = f"{text.rstrip()}\n\n{line}\n" if text else f"{line}\n"
        if marked_up is not None and html.escape(mailbox.address) not in marked_up:
            ends = [found.start() for found in _BODY_END.finditer(marked_up)]
            at = ends[-1] if ends else len(marked_up)
            marked_up = f"{marked_up[:at]}<p>{html.escape(line)}</p>{marked_up[at:]}"
        intent = replace(intent, text=text, html=marked_up)
    return intent


def _field(name: str, value: str) -> str:
    # The last line of defence: whatever came in, a value ends only where this module folded it.
    check_line(name, value.replace("\r\n ", ""))
    return f"{name}: {value}\r\n"


@lru_cache(maxsize=1)
def _date(iso: str) -> str:
    # By its text: the same instant in another zone is equal, but written otherwise.
    return _field("Date", format_datetime(datetime.fromisoformat(iso)))


_KIND = "Auto-Submitted"
_AUTOMATIC = _field(_KIND, "auto-generated")
_SUPPRESS = "X-Auto-Response-Suppress"
# Not "All", which would suppress the report of a dead mailbox, too (MS-OXCMAIL 2.1.3.2.20).
_MEANT = "OOF, AutoReply"
_QUIET = _AUTOMATIC + _field(_SUPPRESS, _MEANT)


def _quiet(intent: Intent) -> str:
    """Answering machines keep quiet (RFC 3834 §5), Exchange's as the caller wants or as usual."""
    own = {name.lower(): value for name, value in intent.headers}
    if not own:
        return _QUIET
    automatic = _field(_KIND, own[_KIND.lower()]) if _KIND.lower() in own else _AUTOMATIC
    return automatic + ("" if _SUPPRESS.lower() in own else _field(_SUPPRESS, _MEANT))


# A group without members, for whom only copies are meant (RFC 5322 §3.4, appendix A.1.3).
_UNDISCLOSED = _field("To", "undisclosed-recipients:;")


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
        if name.lower() == _KIND.lower() and intent.source == "flask_mail":
            continue  # stands in its place already; only Flask-Mail's callers can give it
        line = check_header(name, value)
        if intent.in_reply_to and name.lower() in ("in-reply-to", "references"):
            continue  # one of each at most (RFC 5322 §3.6), and the thread knows better
        formatted = structured.formatted(name, line)
        yield _field(name, encoding.unstructured(name, line) if formatted is None else formatted)


def _check_text(what: str, value: object) -> None:
    if not isinstance(value, str):
        raise HeaderError(f"{what} must be a string, not {type(value).__name__}.")
