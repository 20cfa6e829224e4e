"""What the author of a Flask-Mail message wanted to say: such a message as an intent.

Of a message these are not used, because the outbox has its own: ``charset`` (UTF-8 throughout),
``mail_options``, ``rcpt_options``, the envelope sender of ``Connection.send``, and the headers
named in ``_LEFT_OUT``.
"""

from __future__ import annotations

import logging
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
from ..messages import arguments, mime
from ..messages.attachments import attachment, fitting_type, is_type
from ..messages.intent import Attachment, Intent
from ..messages.structured import unfolded
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
log = logging.getLogger("flask_interaction_mail")
_ADDRESS_LIKE: Final = re.compile(r"\S@\S")
# Extra headers that say nothing which the outbox does not say better.
_LEFT_OUT: Final = frozenset(
    {
        "date",
        "message-id",
        "mime-version",
        "return-path",
    }
)


def intent_of(message: flask_mail.Message) -> Intent:
    """What the author of a Flask-Mail message wanted to say, to whom and as whom.

    Raises:
        AddressError: an address is not valid.
        HeaderError: a header's name or value that may not be sent.
        TypeError: an attachment whose data are neither bytes nor text.
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
    # Flask-Mail lets a folded subject pass (RFC 5322 §2.2.3): it is one line, so unfold it.
    # A long one is folded on the wire, so it may have any length.
    return check_line("The subject", _untabbed(re.sub(r"\r\n[ \t]+", " ", _text(subject))))


def _untabbed(text: str) -> str:
    return text.replace("\t", " ")


def _text(given: object) -> str:
    """A text that may be bytes, or lazy as translations are."""
    return flask_mail.force_text("" if given is None else given)


def _parties(field: str, given: Given | Iterable[Given] | None) -> tuple[Party, ...]:
    several = [given] if isinstance(given, str) else given or ()
    return tuple(Party(*_split(field, one)) for one in several if not _is_blank(field, one))


def _is_blank(field: str, given: Any) -> bool:
    """Whether there is no address at all, which is no reason to send nothing to the others."""
    pair = isinstance(given, tuple | list) and len(given) == 2
    if not addresses.is_blank(_text(given[1] if pair else given)):
        return False
    named = f" ({addresses.quoted(_text(given[0]))})" if pair else ""
    log.warning("flask_mail.blank: %s: one has no address%s and is left out", field, named)
    return True


def _split(field: str, given: Any) -> tuple[str, str]:
    """Name and address, written as a pair, as ``Name <address>``, or as an address alone."""
    if isinstance(given, tuple | list) and len(given) == 2:
        name, address = (_text(part) for part in given)
    else:
        name, address = _taken_apart(_text(given))
    name, address = _untabbed(name), address.strip(addresses.PASTED)
    check_line(field, f"{name} <{address}>")
    # Two pairs of brackets are two opinions about which address is meant.
    if not address.strip() or set("<>") & {*name, *address}:
        raise AddressError(
            f"{field}: {addresses.quoted(f'{name} <{address}>')} is no e-mail address."
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
        # Who is meant, the first or the second? Programs differ (CVE-2023-27043).
        raise AddressError(f"{addresses.quoted(text)} is no e-mail address: it names two.")
    return name, address


def _host_sender(sender: Given | None) -> str | None:
    if sender is None or isinstance(sender, DefaultSender):
        return None
    try:
        name, address = _split("sender", sender)
    except AddressError:
        # Routing will find the same fault, and take the default From instead.
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
        return name, value  # RFC 3834 §5: nobody else may say it, but Flask-Mail's callers do
    return name, mime.check_header(name, value)


def message_id_of(message: flask_mail.Message) -> str | None:
    """The Message-ID that the author knows, if it is a well-formed one (RFC 5322 §3.6.4)."""
    given = (_header(message, "message-id"), message.msgId)
    found = next((one for one in given if one), None)
    fits = isinstance(found, str) and len(found) <= _ID_LIMIT and _MESSAGE_ID.fullmatch(found)
    return found if fits else None


def date_of(message: flask_mail.Message) -> datetime | None:
    """The date that the author set, in naive UTC; None where it is only that of the sending."""
    if written := _header(message, "date"):
        with suppress(ValueError, TypeError, OverflowError):
            return to_db(parsedate_to_datetime(written).astimezone(UTC))
    date = message.date
    # Flask-Mail stamps a message that has none just before it hands it over.
    if not isinstance(date, int | float) or abs(time.time() - date) < 1:
        _STAMPED[message] = date
    if date is None or _STAMPED.get(message) == date:
        return None
    try:
        return to_db(datetime.fromtimestamp(date, UTC))
    except (ValueError, OverflowError, OSError):
        return None


def differences(message: flask_mail.Message) -> Iterator[str]:
    """What of ``message`` has no effect here."""
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
    """``content_type`` without tabs and what stands after its last parameter."""
    kind = _untabbed(content_type).strip(" ;")
    if is_type(kind) or not kind.isprintable():
        return kind
    return _NAMED_TYPE.sub(r"\1", kind)  # its parameters are none


def _file_name(given: str | None) -> str:
    """The name of a file, in ASCII where MAIL_ASCII_ATTACHMENTS wants it, and not too long."""
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
