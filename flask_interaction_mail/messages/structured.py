"""Header fields with a grammar of their own, in which an encoded word (RFC 2047 §5) is an error.

Such a value is folded at the places that its grammar has, or refused with a reason.
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

_FOLD = re.compile(r"\r?\n[ \t]+(?=[^ \t\r\n])")
_REMARK = r"(\([^()]*\))?"
_ITEM = re.compile(
    rf" ?{_REMARK} ?(?:<(?P<framed>[^<>]*)> ?|(?P<bare>[^\s<>,(][^\s<>,]*)(?: |$|(?=,))){_REMARK} ?"
)
_ID = re.compile(r"<([!-;=?-~]+)>")
_BARE_ID = re.compile(r"[!-;=?-~]+@[!-;=?-~]+")
_LIST_ID = re.compile(r"(?P<phrase>[^<>]*?)\s*<(?P<id>[!-;=?-~]+)>")
_BARE_LIST_ID = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)+")
_MAILBOX = re.compile(r'((?:[^,"]|"(?:[^"\\]|\\.)*")*)(?:,|$)')
_SINGLE_BLANK = re.compile(r"(?<! ) (?! )")  # a run of blanks can be part of a text in quotes
_ASCII = "".join(map(chr, range(0x21, 0x7F)))
_LONGEST = 990  # characters of what cannot be folded


class _Wrong(ValueError):
    """Why a value may not be sent, and what belongs there."""


def unfolded(value: str) -> str:
    """``value`` in one line, if it was folded (RFC 5322 §2.2.3) as it came from another message."""
    return _FOLD.sub(" ", value) if "\n" in value else value


def formatted(name: str, value: str) -> str | None:
    """``value`` as it stands behind the name of a structured field; None for any other field.

    Lines end in CRLF and a blank. ``value`` is one line.

    Raises:
        HeaderError: it does not fit the grammar of the field; the text says what does.
    """
    shape = _SHAPES.get(name.lower())
    if shape is None:
        return None
    try:
        return _something(shape(name, value.strip()))
    except (_Wrong, AddressError) as error:
        raise HeaderError(
            f"The header {name} cannot be {addresses.quoted(value)}: {error}"
        ) from error


def _something(value: str) -> str:
    if not value:
        raise _Wrong("it has no value. Leave it out.")
    return value


def _words(name: str, value: str) -> str:
    """Words and parameters, in ASCII (RFC 2045 §5.1, RFC 2156, RFC 8058)."""
    if not value.isascii():
        raise _Wrong("only ASCII may stand in it.")
    return _lines(name, _SINGLE_BLANK.split(value), " ")


def _addresses_of_pages(name: str, value: str) -> str:
    """URLs in angle brackets, with commas between them (RFC 2369 §2)."""
    value = " ".join(value.split())
    items: list[str] = []
    at = 0
    while at < len(value):
        found = _ITEM.match(value, at)
        if found is None or (found.end() < len(value) and value[found.end()] != ","):
            raise _Wrong(
                "it takes URLs like <https://firm.example/leave>, with commas between them."
            )
        before, framed, bare, behind = found.groups()
        pieces = (_remark(before), _page(framed, bare), _remark(behind))
        items.append(" ".join(filter(None, pieces)))
        at = found.end() + 1
    return _lines(name, items, ", ")


def _remark(comment: str | None) -> str:
    if comment is not None and not comment.isascii():
        raise _Wrong("a remark in it may be in ASCII only.")
    return comment or ""


def _page(framed: str | None, bare: str | None) -> str:
    if framed is None and (bare or "").upper() == "NO":  # List-Post (RFC 2369 §3.4)
        return "NO"
    url = (framed if framed is not None else bare or "").strip()
    if " " in url:
        raise _Wrong("a URL has no blank: write %20.")
    if not re.match(r"[A-Za-z][A-Za-z0-9+.-]*:.", url):
        raise _Wrong(
            "it takes URLs, which begin with https: or mailto: and the like; "
            "one with a comma belongs in < and >."
        )
    return f"<{_uri(url)}>"


def _uri(iri: str) -> str:
    """The URI of an IRI (RFC 3987 §3.1)."""
    if iri.isascii():
        return iri
    try:
        host = urlsplit(iri).hostname or ""
    except ValueError as error:
        raise _Wrong("it is no URL.") from error
    if not host.isascii():
        iri = re.sub(
            re.escape(host), addresses.clean_domain(host), iri, count=1, flags=re.IGNORECASE
        )
    return quote(iri, safe=_ASCII)


def _ids(name: str, value: str) -> str:
    """Message-IDs, with blanks between them (RFC 5322 §3.6.4)."""
    if _BARE_ID.fullmatch(value):
        value = f"<{value}>"
    ids = _ID.findall(value)
    if not ids or _ID.sub("", value).strip(" ,"):
        raise _Wrong(
            "it takes Message-IDs like <1@firm.example>, in ASCII, with blanks between them."
        )
    return _lines(name, [f"<{id}>" for id in ids], " ")


def _list_id(name: str, value: str) -> str:
    """A name, which may be anything, and an id (RFC 2919 §3)."""
    if _BARE_LIST_ID.fullmatch(value):
        value = f"<{value}>"
    found = _LIST_ID.fullmatch(" ".join(value.split()))
    if found is None:
        raise _Wrong('it takes an id like <news.firm.example>, or "Our news" and the id.')
    phrase = encoding.phrase(name, display_name(found["phrase"].strip('"')))
    return _lines(
        name, [*phrase.split("\r\n "), f"<{found['id']}>"] if phrase else [f"<{found['id']}>"], " "
    )


def _people(name: str, value: str) -> str:
    """Mailboxes, with commas between them (RFC 5322 §3.4); of each the full address."""
    mailboxes = [addresses.parse(one) for one in _between_commas(value) if one.strip()]
    for one in mailboxes:
        if addresses.is_short(one.address):
            raise _Wrong(f"{one.address} is no full address.")
        if addresses.needs_smtputf8(one.address):
            raise _Wrong(f"{one.address} has letters before the @ that only some servers take.")
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
    """Names of things, with commas between them (RFC 5322 §3.6.5); each may be encoded."""
    words = [encoding.phrase(name, one.strip()) for one in value.split(",") if one.strip()]
    return ",\r\n ".join(words)


def _lines(name: str, pieces: Sequence[str], between: str) -> str:
    """``pieces`` in lines of 78 characters where they fit."""
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
_SHAPES: Final[dict[str, Callable[[str, str], str]]] = {
    "list-id": _list_id,
    "keywords": _phrases,
    **dict.fromkeys(_PAGES, _addresses_of_pages),
    **dict.fromkeys(_MESSAGES, _ids),
    **dict.fromkeys(_MAILBOXES, _people),
    **dict.fromkeys(_PLAIN, _words),
}
