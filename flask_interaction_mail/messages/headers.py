"""Header fields of callers: which names they may use, and how their values are written.

Some fields have a grammar in which an encoded word (RFC 2047 §5) is an error. Their values are
folded where the grammar allows, or refused with a reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final
from urllib.parse import quote, urlsplit

from .. import addresses
from ..errors import AddressError, HeaderError
from ..text import display_name
from . import encoding

SUBJECT_LIMIT = 998  # characters
_NAME_LIMIT = 60  # characters of a header name
_NAME = re.compile(r"[!-9;-~]+")  # RFC 5322 §2.2: printable, no colon
_ADDRESSES = ("from", "sender", "reply-to", "to", "cc", "bcc", "apparently-to", "delivered-to")
_OTHERS = ("date", "subject", "message-id", "mime-version", "received", "return-path")
_OURS = ("auto-submitted", "dkim-signature")
_RESERVED = frozenset((*_ADDRESSES, *_OTHERS, *_OURS))
_RESERVED_STARTS = ("content-", "resent-", "arc-")

_FOLD = re.compile(r"\r?\n[ \t]+(?=[^ \t\r\n])")
_COMMENT = r"(\([^()]*\))?"
_ITEM = re.compile(
    rf" ?{_COMMENT} ?"
    r"(?:<(?P<framed>[^<>]*)> ?|(?P<bare>[^\s<>,(][^\s<>,]*)(?: |$|(?=,)))"
    rf"{_COMMENT} ?"
)
_ID = re.compile(r"<([!-;=?-~]+)>")
_BARE_ID = re.compile(r"[!-;=?-~]+@[!-;=?-~]+")
_LIST_ID = re.compile(r"(?P<phrase>[^<>]*?)\s*<(?P<id>[!-;=?-~]+)>")
_BARE_LIST_ID = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)+")
_MAILBOX = re.compile(r'((?:[^,"]|"(?:[^"\\]|\\.)*")*)(?:,|$)')
_SINGLE_BLANK = re.compile(r"(?<! ) (?! )")  # a run of blanks can be part of a text in quotes
_ASCII = "".join(map(chr, range(0x21, 0x7F)))
_LONGEST = 990  # characters of a piece that cannot be folded


class _Wrong(ValueError):
    """Why a value may not be sent, and what to write instead."""


def is_reserved(name: str) -> bool:
    """Whether only this package writes the header ``name``."""
    lowered = name.lower()
    return lowered in _RESERVED or lowered.startswith(_RESERVED_STARTS)


def check_header(name: str, value: str) -> str:
    """Return the value of a header field of the caller's own, unfolded.

    Raises:
        HeaderError: the name is not valid or reserved, or the value has a control character or
            does not fit the grammar of the field.
    """
    _check_text("a header name", name)
    if not _NAME.fullmatch(name) or len(name) > _NAME_LIMIT:
        raise HeaderError(
            f"{addresses.quoted(name)} is not a header name: use at most {_NAME_LIMIT} "
            "ASCII letters, digits and hyphens."
        )
    if is_reserved(name):
        raise HeaderError(
            f"The header {name} is written for you and cannot be set. "
            "Recipients, sender, subject and attachments have arguments of their own."
        )
    _check_text(f"The header {name}", value)
    line = addresses.check_line(f"The header {name}", unfolded(value))
    formatted(name, line)
    return line


def check_subject(subject: str) -> str:
    """Return ``subject`` if it fits in a header.

    Raises:
        HeaderError: it has a control character, or more than 998 characters.
    """
    _check_text("The subject", subject)
    if len(subject) > SUBJECT_LIMIT:
        raise HeaderError(
            f"The subject has {len(subject)} characters; at most {SUBJECT_LIMIT} are allowed."
        )
    return addresses.check_line("The subject", subject)


def _check_text(what: str, value: object) -> None:
    if not isinstance(value, str):
        raise HeaderError(f"{what} must be a string, not {type(value).__name__}.")


def unfolded(value: str) -> str:
    """``value`` in one line, as it may be folded (RFC 5322 §2.2.3) in another message."""
    return _FOLD.sub(" ", value) if "\n" in value else value


def formatted(name: str, value: str) -> str | None:
    """The one-line ``value`` of a structured field, folded with CRLF; None for any other field.

    Raises:
        HeaderError: it does not fit the grammar of the field; the text says what does.
    """
    write = _WRITERS.get(name.lower())
    if write is None:
        return None
    try:
        if written := write(name, value.strip()):
            return written
        raise _Wrong("it has no value. Leave it out.")
    except (_Wrong, AddressError) as error:
        raise HeaderError(
            f"The header {name} cannot be {addresses.quoted(value)}: {error}"
        ) from error


def _words(name: str, value: str) -> str:
    """Words and parameters, in ASCII (RFC 2045 §5.1, RFC 2156, RFC 8058)."""
    if not value.isascii():
        raise _Wrong("it may have only ASCII characters.")
    return _lines(name, _SINGLE_BLANK.split(value), " ")


def _urls(name: str, value: str) -> str:
    """URLs in angle brackets, separated by commas (RFC 2369 §2)."""
    value = " ".join(value.split())
    items: list[str] = []
    at = 0
    while at < len(value):
        found = _ITEM.match(value, at)
        if found is None or (found.end() < len(value) and value[found.end()] != ","):
            raise _Wrong("it takes URLs like <https://firm.example/leave>, separated by commas.")
        before, framed, bare, behind = found.groups()
        pieces = (_comment(before), _url(framed, bare), _comment(behind))
        items.append(" ".join(filter(None, pieces)))
        at = found.end() + 1
    return _lines(name, items, ", ")


def _comment(comment: str | None) -> str:
    if comment is not None and not comment.isascii():
        raise _Wrong("a comment in it may have only ASCII characters.")
    return comment or ""


def _url(framed: str | None, bare: str | None) -> str:
    if framed is None and (bare or "").upper() == "NO":  # List-Post (RFC 2369 §3.4)
        return "NO"
    url = (framed if framed is not None else bare or "").strip()
    if " " in url:
        raise _Wrong("a URL has no space: write %20.")
    if not re.match(r"[A-Za-z][A-Za-z0-9+.-]*:.", url):
        raise _Wrong(
            "it takes URLs, which begin with https: or mailto: and the like; "
            "put one with a comma between < and >."
        )
    return f"<{_uri(url)}>"


def _uri(iri: str) -> str:
    """The URI of an IRI (RFC 3987 §3.1)."""
    if iri.isascii():
        return iri
    try:
        host = urlsplit(iri).hostname or ""
    except ValueError as error:
        raise _Wrong("it is not a URL.") from error
    if not host.isascii():
        iri = re.sub(
            re.escape(host), addresses.clean_domain(host), iri, count=1, flags=re.IGNORECASE
        )
    return quote(iri, safe=_ASCII)


def _ids(name: str, value: str) -> str:
    """Message-IDs, separated by spaces (RFC 5322 §3.6.4)."""
    if _BARE_ID.fullmatch(value):
        value = f"<{value}>"
    ids = _ID.findall(value)
    if not ids or _ID.sub("", value).strip(" ,"):
        raise _Wrong("it takes Message-IDs like <1@firm.example>, in ASCII, separated by spaces.")
    return _lines(name, [f"<{id}>" for id in ids], " ")


def _list_id(name: str, value: str) -> str:
    """Any name, and an id (RFC 2919 §3)."""
    if _BARE_LIST_ID.fullmatch(value):
        value = f"<{value}>"
    found = _LIST_ID.fullmatch(" ".join(value.split()))
    if found is None:
        raise _Wrong('it takes an id like <news.firm.example>, or "Our news" and the id.')
    phrase = encoding.phrase(name, display_name(found["phrase"].strip('"')))
    pieces = phrase.split("\r\n ") if phrase else []
    return _lines(name, [*pieces, f"<{found['id']}>"], " ")


def _people(name: str, value: str) -> str:
    """Mailboxes with full addresses, separated by commas (RFC 5322 §3.4)."""
    mailboxes = [addresses.parse(text) for text in _between_commas(value) if text.strip()]
    for mailbox in mailboxes:
        if addresses.is_short(mailbox.address):
            raise _Wrong(f"{mailbox.address} is not a full address.")
        if addresses.needs_smtputf8(mailbox.address):
            raise _Wrong(f"{mailbox.address} has letters before the @ that only some servers take.")
    return encoding.mailboxes(name, mailboxes)


def _between_commas(value: str) -> Iterator[str]:
    at = 0
    while at < len(value):
        found = _MAILBOX.match(value, at)
        if found is None:
            raise _Wrong("a quotation mark in it has no partner.")
        yield found[1]
        at = found.end()


def _phrases(name: str, value: str) -> str:
    """Phrases, separated by commas (RFC 5322 §3.6.5); each may be encoded."""
    phrases = [encoding.phrase(name, text.strip()) for text in value.split(",") if text.strip()]
    return ",\r\n ".join(phrases)


def _lines(name: str, pieces: Sequence[str], between: str) -> str:
    """``pieces`` in lines of at most 76 characters, if they fit."""
    if any(len(piece) > _LONGEST for piece in pieces):
        raise _Wrong(f"it has a piece of more than {_LONGEST} characters, which cannot be folded.")
    return "\r\n ".join(_filled(pieces, between, encoding.room_of(name)))


def _filled(pieces: Iterable[str], between: str, room: int) -> list[str]:
    lines: list[str] = []
    for piece in pieces:
        if lines and len(lines[-1]) + len(between) + len(piece) <= room:
            lines[-1] += between + piece
        else:
            if lines:
                lines[-1] += between.rstrip()
                room = encoding.room_of("")
            lines.append(piece)
    return lines or [""]


_PAGES: Final = ("archived-at", "list-archive", "list-help", "list-owner", "list-post",
                 "list-subscribe", "list-unsubscribe")  # fmt: skip
_MESSAGES: Final = ("in-reply-to", "obsoletes", "original-message-id", "references", "supersedes")
_MAILBOXES: Final = ("disposition-notification-to", "errors-to", "mail-followup-to",
                     "mail-reply-to", "return-receipt-to")  # fmt: skip
_PLAIN: Final = (
    *("accept-language", "autocrypt", "deferred-delivery", "disposition-notification-options"),
    *("expires", "expiry-date", "feedback-id", "importance", "list-unsubscribe-post"),
    *("original-recipient", "precedence", "priority", "reply-by", "sensitivity", "tls-required"),
    *("x-auto-response-suppress", "x-mailgun-variables", "x-msmail-priority", "x-priority"),
    "x-smtpapi",
)
_WRITERS: Final[dict[str, Callable[[str, str], str]]] = {
    "list-id": _list_id,
    "keywords": _phrases,
    **dict.fromkeys(_PAGES, _urls),
    **dict.fromkeys(_MESSAGES, _ids),
    **dict.fromkeys(_MAILBOXES, _people),
    **dict.fromkeys(_PLAIN, _words),
}
