"""Reads what came back: bytes in, what they report out.

A report has a part ``message/delivery-status`` (RFC 3464) or ``message/global-delivery-status``
(RFC 6533 §3); nothing else makes one, whatever its text, subject or sender say. Everything in it
may be forged, so nothing here decides whom it concerns: ``matching`` does, beside the message that
it names.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import itertools
import quopri
import re
from collections.abc import Sequence
from dataclasses import dataclass
from email.errors import MissingHeaderBodySeparatorDefect
from email.message import Message
from email.parser import BytesHeaderParser, BytesParser
from email.policy import Compat32
from typing import Final, NamedTuple

from ..errors import UnreadableReport
from ..text import answered, message_ids
from ..values import Status
from .state import reason_code, state_of

LIMIT: Final = 256 * 1024  # bytes that are read of one message
# What Python's parser, and asking what it has made, may raise.
UNREADABLE: Final = (LookupError, RecursionError, TypeError, ValueError, AttributeError)

_STATUS: Final = ("message/delivery-status", "message/global-delivery-status")
_RETURNED: Final = (
    *("message/rfc822", "message/global", "text/rfc822-headers", "message/global-headers"),
    "message/partial",  # how some servers return a message that was too long
)
_MOST: Final = 1000  # recipients that are read of one report
_MOST_IDS: Final = 50  # messages that one may name
ENCODED: Final = ("base64", "quoted-printable")
DEEPEST: Final = 20  # parts within parts
_BOUNDARIES: Final = 100  # of all parts together
_TEXT: Final = 1000  # characters of a text that are kept
_TEXT_READ: Final = 16 * 1024  # bytes of a text in which a reason is looked for
_TYPED: Final = re.compile(r"\s*[\w-]{1,40}\s*;\s*")  # rfc822; before an address
_BLANK_LINES: Final = re.compile(rb"\n(?:[ \t\r]*\n)+")
_PARAGRAPH: Final = re.compile(r"\n\s*\n")
_ADDRESS_FIRST: Final = re.compile(r"\s*<?[^\s<>@]{1,64}@[^\s<>@]+>?[:\s]")
_CHARSET: Final = re.compile(r";\s*charset(?=[*0-9]*\s*=)", re.IGNORECASE)
_NO_DIGIT: Final = re.compile(rb"[^A-Za-z0-9+/=]")
_XTEXT: Final = re.compile(r"\+([0-9A-F]{2})")  # RFC 3461 §4
_UTF8_XTEXT: Final = re.compile(r"\\x\{([0-9A-F]{2,6})\}")  # RFC 6533 §3


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What a report says of one recipient.

    ``original`` and ``final`` are the spellings that Original-Recipient and Final-Recipient may
    mean, the likeliest first. ``state`` is None where the report tells none. ``code`` is an
    enhanced status (RFC 3463) such as ``5.1.1``, or a reply code, or "". ``stated`` is the same of
    the report's own fields, whatever its text says.
    """

    original: tuple[str, ...]
    final: tuple[str, ...]
    state: Status | None
    action: str
    code: str
    stated: str
    diagnostic: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Returned:
    """A report, an automatic reply (which has no ``notes``), or neither.

    ``references`` are Message-IDs with their angle brackets, the best evidence first;
    ``envelope_ids`` what a server calls our ENVID. ``digest`` is the same for each copy of it,
    whichever way that came. ``server`` is the one that reports.
    """

    references: tuple[str, ...]
    envelope_ids: tuple[str, ...]
    server: str
    notes: tuple[Note, ...]
    automatic: bool
    digest: str


class _Raw(Compat32):
    """Gives headers as text: UTF-8 where they have eight bits, whatever they should be.

    Hides what character set a part says it has: Python would decode by it what is thrown away
    then, and some decoders take seconds for what was made for that.
    """

    def header_fetch_parse(self, name: str, value: str) -> str:
        text = value.encode("ascii", "surrogateescape").decode("utf-8", "replace")
        return _CHARSET.sub("; x-charset", text) if name.lower() == "content-type" else text


_POLICY: Final = _Raw()
_HEADERS: Final = BytesHeaderParser(policy=_POLICY)


def read(content: bytes) -> Returned:
    """What the first 256 KiB of the message ``content`` report.

    Raises:
        UnreadableReport: it is not a message, or one that was made to be hard to read.
    """
    try:
        return _read(parsed(content))
    except UNREADABLE as error:
        raise UnreadableReport("This is no message that can be read.") from error


def parsed(content: bytes) -> Message:
    """The message that the first 256 KiB of ``content`` are; may raise ``UNREADABLE``."""
    return BytesParser(policy=_POLICY).parsebytes(_bounded(content))


def _read(message: Message) -> Returned:
    parts = _Parts([], [], [])
    _collect(message, parts)
    blocks = [block for status in parts.statuses for block in _blocks(status)]
    about = [block for block in blocks if _is_of_recipient(block)]
    of_all = [block for block in blocks if not _is_of_recipient(block)]
    text = "\n\n".join(parts.texts)
    return Returned(
        references=_references(message, parts.returned if parts.statuses else ()),
        envelope_ids=_envelope_ids(of_all),
        server=next((untyped(text) for text in _all(of_all, "Reporting-MTA")), ""),
        notes=tuple(_note(block, text) for block in about[:_MOST]),
        automatic=not parts.statuses and _is_automatic(message),
        digest=_digest(message, parts.statuses),
    )


def _bounded(content: bytes) -> bytes:
    """What is read of ``content``: the parser compares each line with every boundary so far."""
    bounded = content[:LIMIT]
    if bounded.lower().count(b"boundary=") > _BOUNDARIES:
        raise ValueError("too many parts within parts")
    return bounded


class _Parts(NamedTuple):
    """The parts of reports: what they say, the messages that they return, and their texts."""

    statuses: list[bytes]
    returned: list[Message]
    texts: list[str]


def _collect(part: Message, found: _Parts, depth: int = 0, *, beside_status: bool = False) -> None:
    """Put ``part``, and what is in it, where it belongs in ``found``.

    A message that a report returns is not looked into: what somebody has attached to it reports
    nothing.
    """
    if depth > DEEPEST:
        raise ValueError("too many parts within parts")
    kind, payload = part.get_content_type(), part.get_payload()
    if kind in _STATUS:
        found.statuses.append(content_of(part))
    elif beside_status and kind in _RETURNED:
        found.returned.append(_headers_of(part))
    elif isinstance(payload, list):
        inner = [one for one in payload if isinstance(one, Message)]
        beside_status = any(one.get_content_type() in _STATUS for one in inner)
        if beside_status and found.statuses:
            raise ValueError("reports about several messages")  # somebody has sent them on together
        for one in inner:
            _collect(one, found, depth + 1, beside_status=beside_status)
    elif beside_status and kind == "text/plain":
        found.texts.append(content_of(part)[:_TEXT_READ].decode("utf-8", "replace"))


def content_of(part: Message) -> bytes:
    """The decoded bytes of a part, also where the parser has made messages of them."""
    payload, encoding = part.get_payload(), encoding_of(part)
    if isinstance(payload, list):
        raw = b"\n".join(map(_as_it_stood, payload))
    elif encoding == "base64":
        raw = str(payload).encode("ascii", "replace")
    else:
        decoded = part.get_payload(decode=True)
        return decoded if isinstance(decoded, bytes) else b""
    match encoding:
        case "base64":
            return from_base64(raw)
        case "quoted-printable":
            return quopri.decodestring(raw)
    return raw


def _as_it_stood(block: Message) -> bytes:
    """The bytes that the parser has made ``block`` of.

    Where it took an encoded line that goes on for the end of the fields, a blank line comes back.
    """
    raw = block.as_bytes()
    if any(isinstance(one, MissingHeaderBodySeparatorDefect) for one in block.defects):
        return raw.replace(b"\n\n", b"\n", 1)
    return raw


def encoding_of(part: Message) -> str:
    """The Content-Transfer-Encoding of ``part`` in small letters, "" where it has none."""
    return str(part.get("Content-Transfer-Encoding", "")).strip().lower()


def from_base64(coded: bytes) -> bytes:
    """What ``coded`` means, as far as it goes: the end may be cut off."""
    digits = _NO_DIGIT.sub(b"", coded)
    try:
        return base64.b64decode(digits[: len(digits) - (len(digits) % 4 == 1)] + b"==")
    except binascii.Error:
        return b""


def _headers_of(part: Message) -> Message:
    """The headers of the message that ``part`` returns."""
    payload = part.get_payload()
    if isinstance(payload, list) and encoding_of(part) not in ENCODED:
        first = payload[0] if payload else None
        return first if isinstance(first, Message) else Message(_POLICY)
    return _HEADERS.parsebytes(content_of(part).lstrip())


def _blocks(status: bytes) -> list[Message]:
    """The groups of fields of a delivery-status (RFC 3464 §2.1)."""
    texts = _BLANK_LINES.split(status.replace(b"\r\n", b"\n").strip(), _MOST)
    return [_HEADERS.parsebytes(text) for text in texts if text.strip()]


def _is_of_recipient(block: Message) -> bool:
    return any(name in block for name in ("Final-Recipient", "Original-Recipient", "Action"))


def _note(block: Message, text: str) -> Note:
    action = _field(block, "Action").split("(")[0].split()
    word = action[0].casefold()[:32] if action else ""
    status, diagnostic = _field(block, "Status"), untyped(_field(block, "Diagnostic-Code"))
    code = reason_code(status, diagnostic)
    retried = bool(_field(block, "Will-Retry-Until"))
    final = _spellings(_field(block, "Final-Recipient"))
    # What stands in a text is told, and decides nothing.
    told = diagnostic or status.partition(" ")[2].strip("() ") or _in_text(text, final)
    return Note(
        original=_spellings(_field(block, "Original-Recipient")),
        final=final,
        state=state_of(word, code, retried=retried, explained=bool(diagnostic)),
        action=word,
        code=reason_code(code, told),
        stated=code,
        diagnostic=told[:_TEXT],
    )


def _in_text(text: str, spellings: Sequence[str]) -> str:
    """What the report's own text says behind the address, up to the next blank line."""
    for address in spellings:
        _, found, behind = text.partition(address)
        if found:
            paragraph = _PARAGRAPH.split(behind[:_TEXT], maxsplit=1)[0]
            lines = paragraph.strip().splitlines()
            # The next line with an address at its beginning is about somebody else.
            own = itertools.takewhile(lambda line: not _ADDRESS_FIRST.match(line), lines[1:])
            return printable(" ".join([*lines[:1], *own])).strip(" :>().")
    return ""


def _field(block: Message, name: str) -> str:
    """The first such field on one line, without control characters."""
    return printable(str(block.get(name, "")))


def printable(text: str) -> str:
    words = " ".join(text.split())
    return "".join(character for character in words if character.isprintable())


def _all(blocks: Sequence[Message], name: str) -> tuple[str, ...]:
    texts = (_field(block, name)[:_TEXT] for block in blocks)
    return tuple(dict.fromkeys(text for text in texts if text))[:_MOST_IDS]


def _envelope_ids(blocks: Sequence[Message]) -> tuple[str, ...]:
    found = (id for text in _all(blocks, "Original-Envelope-Id") for id in _spellings(text))
    return tuple(dict.fromkeys(found))


def untyped(text: str) -> str:
    """``text`` without the name of its kind, such as ``smtp;``."""
    return _TYPED.sub("", text, count=1) if _TYPED.match(text) else text


def _spellings(text: str) -> tuple[str, ...]:
    """What an address may mean: as it stands, or decoded, because servers forget to (RFC 3461)."""
    address = untyped(text).strip(" <>\"'")[:_TEXT]
    return tuple(filter(None, meanings(address)))


def meanings(text: str) -> tuple[str, ...]:
    """``text`` as it stands, and as it reads if it is xtext or what RFC 6533 has in place of it."""
    meant = (text, _XTEXT.sub(_character, text), _UTF8_XTEXT.sub(_character, text))
    return tuple(dict.fromkeys(meant))


def _character(found: re.Match[str]) -> str:
    number = int(found[1], 16)
    return chr(number) if number < 0x110000 and chr(number).isprintable() else ""


def _references(message: Message, returned: Sequence[Message]) -> tuple[str, ...]:
    """The Message-IDs that may be of ours: what was returned first, what answers point to last."""
    texts = [_joined(headers, "Message-ID") for headers in returned]
    texts += [_joined(message, "X-Microsoft-Original-Message-ID")]
    texts += [_joined(headers, "X-Microsoft-Original-Message-ID") for headers in returned]
    found = [id for text in texts for id in message_ids(text)]
    if not found:  # else they may be of the thread in which somebody answered mail of ours
        found += answered(_joined(message, "In-Reply-To"), _joined(message, "References"))
    return tuple(dict.fromkeys(found))[:_MOST_IDS]


def _joined(headers: Message, name: str) -> str:
    return " ".join(str(text) for text in headers.get_all(name, ()))


def _is_automatic(message: Message) -> bool:
    """Whether a program answered (RFC 3834 §5), as far as it says so."""
    submitted = _field(message, "Auto-Submitted").casefold()
    if submitted:
        return not submitted.startswith("no")
    precedence = _field(message, "Precedence").casefold()
    return precedence in ("auto_reply", "auto-reply") or any(
        name in message for name in ("X-Autoreply", "X-Autorespond")
    )


def _digest(message: Message, statuses: Sequence[bytes]) -> str:
    """Names this report; what servers on its way add to it is left out."""
    named = [_field(message, name) for name in ("Message-ID", "Date", "In-Reply-To", "Subject")]
    told = hashlib.sha256("\n".join(named).encode())
    for status in statuses:
        told.update(b"\0" + b"\n".join(status.split()))
    return told.hexdigest()
