"""Turn a message of Flask-Mail into an intent.

Not used, because the outbox decides about them: ``charset`` (always UTF-8), ``mail_options``,
``rcpt_options``, the envelope sender of ``Connection.send``, and the headers in ``_LEFT_OUT``.
"""

from __future__ import annotations

import re
import time
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final
from weakref import WeakKeyDictionary

import flask_mail
from flask import current_app, has_app_context

from .. import addresses
from ..addresses import check_line
from ..clock import to_db
from ..errors import AddressError
from ..logs import log
from ..messages import arguments
from ..messages.attachments import attachment, fitting_type, is_type
from ..messages.headers import check_header, unfolded
from ..messages.intent import Attachment, Intent
from ..text import NAME_LIMIT
from ..values import Kind, Party
from .takeover import DefaultSender

Given = str | tuple[str, str]  # how Flask-Mail's callers write a mailbox
_AUTOMATIC: Final = re.compile(r"(?:no|auto-[a-z]+)(?: *;[ -~]*)?", re.IGNORECASE)
_ATOM: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_DOTTED: Final = rf"{_ATOM}(?:\.{_ATOM})*"
_MESSAGE_ID: Final = re.compile(rf"<{_DOTTED}@(?:{_DOTTED}|\[[!-Z^-~]*\])>")
_ID_LIMIT: Final = 255
_NAMED_TYPE: Final = re.compile(r"([^;/\s]+/[^;/\s]+) *;.*")
_STAMPED: WeakKeyDictionary[flask_mail.Message, float | None] = WeakKeyDictionary()
_ADDRESS_LIKE: Final = re.compile(r"\S@\S")
# Extra headers that the outbox writes itself.
_LEFT_OUT: Final = ("date", "message-id", "mime-version", "return-path")


def intent_of(message: flask_mail.Message) -> Intent:
    """The intent of a Flask-Mail message: its texts, recipients, sender and attachments.

    Raises:
        AddressError: an address is not valid, or nobody has one.
        HeaderError: a header's name or value may not be sent.
        TypeError: an attachment's data are neither bytes nor text.
    """
    html, headers = message.html, _extra_headers(message.extra_headers)
    to, cc, bcc = (
        _parties(field, getattr(message, field)) for field in ("recipients", "cc", "bcc")
    )
    if not (to or cc or bcc):
        raise AddressError("None of the recipients has an e-mail address.")
    answers = [value for name, value in headers if name.lower() == "reply-to"]
    return Intent(
        kind=Kind.NOTIFICATION,
        source="flask_mail",
        subject=_subject(message.subject),
        text=_text(message.body) if message.body is not None or html is None else None,
        html=None if html is None else _text(html),
        to=to,
        cc=cc,
        bcc=bcc,
        reply_to=_parties("reply_to", [message.reply_to] if message.reply_to else answers),
        host_sender=_host_sender(message.sender),
        headers=_own_headers(headers),
        attachments=tuple(map(_attachment, message.attachments)),
        alternatives=_alternatives(message),
    )


def _subject(subject: object) -> str:
    # Flask-Mail accepts a folded subject (RFC 5322 §2.2.3), which is unfolded here. It may have any
    # length, since a long one is folded when it is sent.
    return check_line("The subject", _untabbed(re.sub(r"\r\n[ \t]+", " ", _text(subject))))


def _untabbed(text: str) -> str:
    return text.replace("\t", " ")


def _text(given: object) -> str:
    """The text ``given``, which may be bytes, a lazy translation or None."""
    return flask_mail.force_text("" if given is None else given)


def _parties(field: str, given: Given | Iterable[Given] | None) -> tuple[Party, ...]:
    mailboxes = [given] if isinstance(given, str) else given or ()
    return tuple(
        Party(*_split(field, mailbox)) for mailbox in mailboxes if not _is_blank(field, mailbox)
    )


def _is_blank(field: str, given: Any) -> bool:
    """Whether there is no address, which is logged: the others still get the message."""
    pair = isinstance(given, tuple | list) and len(given) == 2
    if not addresses.is_blank(_text(given[1] if pair else given)):
        return False
    named = f" ({addresses.quoted(_text(given[0]))})" if pair else ""
    log.warning("flask_mail.blank: %s: a recipient%s has no address and is left out", field, named)
    return True


def _split(field: str, given: Any) -> tuple[str, str]:
    """The name and address of a pair, of ``Name <address>``, or of an address alone."""
    if isinstance(given, tuple | list) and len(given) == 2:
        name, address = (_text(part) for part in given)
    else:
        name, address = _taken_apart(_text(given))
    name, address = _untabbed(name), address.strip(addresses.PASTED)
    check_line(field, f"{name} <{address}>")
    # With two pairs of brackets, programs would not agree about the address.
    if not address.strip() or set("<>") & {*name, *address}:
        raise AddressError(
            f"{field}: {addresses.quoted(f'{name} <{address}>')} is not a valid e-mail address."
        )
    return name, addresses.clean_email(address, own_domains=addresses.bare_domain(address))


def _taken_apart(text: str) -> tuple[str, str]:
    text = text.strip(addresses.PASTED)
    if not text.endswith(">"):
        return "", text
    name, _, address = text[:-1].rpartition("<")
    name = name.strip(" ")
    if len(name) > 1 and name[0] == name[-1] == '"':
        name = re.sub(r"\\(.)", r"\1", name[1:-1])
    elif _ADDRESS_LIKE.search(name) and name.casefold() != address.casefold():
        # Programs do not agree about which of the two is meant (CVE-2023-27043).
        raise AddressError(f"{addresses.quoted(text)} is not a valid e-mail address: it names two.")
    return name, address


def _host_sender(sender: Given | None) -> str | None:
    if sender is None or isinstance(sender, DefaultSender):
        return None
    try:
        name, address = _split("sender", sender)
    except AddressError:
        # Routing will find the same mistake and use the default From instead.
        return sender if isinstance(sender, str) else "{} <{}>".format(*map(_text, sender))
    quotable = re.sub(r'(["\\])', r"\\\1", name)
    return f'"{quotable}" <{address}>' if name else address


def _extra_headers(headers: dict[str, str] | None) -> list[tuple[str, str]]:
    given = (headers or {}).items()
    items = [(_text(name), _untabbed(unfolded(_text(value)))) for name, value in given]
    for name, value in items:
        check_line(f"The header {addresses.quoted(name)}", value)
    return items


def _own_headers(headers: list[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    own = (item for item in headers if item[0].lower() not in (*_LEFT_OUT, "reply-to"))
    return tuple(map(_own_header, own))


def _own_header(header: tuple[str, str]) -> tuple[str, str]:
    name, value = header
    if name.lower() == "auto-submitted" and _AUTOMATIC.fullmatch(value):
        return name, value  # RFC 3834 §5; reserved elsewhere, but Flask-Mail's callers set it
    return name, check_header(name, value)


def message_id_of(message: flask_mail.Message) -> str | None:
    """The Message-ID of the message, if it is valid (RFC 5322 §3.6.4); else None."""
    found: Any = _header(message, "message-id") or message.msgId
    fits = isinstance(found, str) and len(found) <= _ID_LIMIT and _MESSAGE_ID.fullmatch(found)
    return found if fits else None


def date_of(message: flask_mail.Message) -> datetime | None:
    """The date that the author set, in naive UTC; None if it is only the time of sending."""
    if written := _header(message, "date"):
        with suppress(ValueError, TypeError, OverflowError):
            return to_db(parsedate_to_datetime(written).astimezone(UTC))
    date = message.date
    # Flask-Mail sets a missing date just before it hands the message over.
    if not isinstance(date, int | float) or abs(time.time() - date) < 1:
        _STAMPED[message] = date
    if date is None or _STAMPED.get(message) == date:
        return None
    try:
        return to_db(datetime.fromtimestamp(date, UTC))
    except (ValueError, OverflowError, OSError):
        return None


def differences(message: flask_mail.Message) -> Iterator[str]:
    """What in ``message`` has no effect here, a sentence each."""
    for name in ("mail_options", "rcpt_options"):
        if getattr(message, name, None):
            yield f"{name} has no effect"
    if (message.charset or "utf-8").lower().replace("_", "-") not in ("utf-8", "us-ascii", "ascii"):
        yield f"charset {message.charset!r:.40} has no effect, mail is in UTF-8"
    for name in message.extra_headers or ():
        if (lowered := _text(name).lower()) in ("mime-version", "return-path"):
            yield f"the extra header {lowered} has no effect"


def _header(message: flask_mail.Message, wanted: str) -> str:
    headers = (message.extra_headers or {}).items()
    found = (_text(value) for name, value in headers if _text(name).lower() == wanted)
    return next(found, "").strip()


def _alternatives(message: flask_mail.Message) -> tuple[tuple[str, str], ...]:
    others = {f"text/{subtype}": _text(text) for subtype, text in message.alts.items()}
    others.pop("text/html", None)
    return arguments.alternatives(others)


def _attachment(given: flask_mail.Attachment) -> Attachment:
    data = given.data.encode() if isinstance(given.data, str) else given.data
    kind = _tidy_type(_text(given.content_type))
    with_bytes: Any = flask_mail.Attachment(
        _file_name(given.filename),
        fitting_type(kind, data),
        data,
        given.disposition,
        dict(_extra_headers(given.headers)),
    )
    return attachment(with_bytes)


def _tidy_type(content_type: str) -> str:
    """``content_type`` without tabs and wrong parameters."""
    kind = _untabbed(content_type).strip(" ;")
    if is_type(kind) or not kind.isprintable():
        return kind
    return _NAMED_TYPE.sub(r"\1", kind)


def _file_name(given: str | None) -> str:
    """The name of a file, not too long, and in ASCII if MAIL_ASCII_ATTACHMENTS is set."""
    name = _untabbed(_text(given))
    if has_app_context() and getattr(
        current_app.extensions.get("mail"), "ascii_attachments", False
    ):
        plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode("ascii")
        name = " ".join(plain.split())
    start, dot, end = name.rpartition(".")
    if len(name) <= NAME_LIMIT or not dot or len(end) > 20:
        return name[:NAME_LIMIT]
    return f"{start[: NAME_LIMIT - len(end) - 1]}.{end}"
