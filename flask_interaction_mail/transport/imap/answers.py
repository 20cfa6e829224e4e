"""What an IMAP server answers, as values (RFC 3501 §7), and what we say, as it wants it."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ...text import answered

# The name of a part of a message may have blanks and parentheses in its brackets.
_PART: Final = rb"BODY\[[^\]]{0,200}\](?:<[0-9]+>)?"
_TOKEN: Final = re.compile(
    rb'"((?:[^"\\]|\\.)*)"|([()])|(' + _PART + rb'|[^\s()"]+)|\s+', re.DOTALL | re.IGNORECASE
)
_ESCAPED: Final = re.compile(rb"\\(.)", re.DOTALL)
_CODE: Final = re.compile(r"\[([A-Z0-9.-]+)(?: ([^\]]*))?\]\s*", re.IGNORECASE)
_STATUS: Final = (b"delivery-status", b"global-delivery-status")
THREAD: Final = "BODY.PEEK[HEADER.FIELDS (REFERENCES)]"  # which no ENVELOPE has
_FIELDS: Final = "BODY[HEADER.FIELDS"  # how an answer names them
_IN_REPLY_TO: Final = 8  # its place in an ENVELOPE (RFC 3501 §7.4.2)
_MOST_IDS: Final = 10  # that one message may answer to

Value = Any  # an atom is a str, a string bytes, a list a list


@dataclass(frozen=True, slots=True)
class Found:
    """A message of the mailbox: whether it has the part of a report, and what it answers to."""

    uid: int
    is_report: bool
    answers_to: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Status:
    """The end of an answer: OK, NO or BAD, its code (RFC 5530) with an argument, and its text."""

    word: str
    code: str
    argument: str
    text: str

    @property
    def ok(self) -> bool:
        return self.word == "OK"

    def __str__(self) -> str:
        return " ".join(filter(None, (self.word, self.code and f"[{self.code}]", self.text)))


def status(line: str) -> Status:
    """The status in ``line``, which begins with its word."""
    word, _, rest = line.partition(" ")
    code = _CODE.match(rest)
    text = rest[code.end() :] if code else rest
    name, argument = (code[1].upper(), code[2] or "") if code else ("", "")
    return Status(word.upper(), name, argument.strip(), text.strip())


def values(pieces: Sequence[bytes]) -> list[Value]:
    """The values of an answer in ``pieces``: text and literals by turns, text first.

    Raises:
        ValueError: parentheses do not fit each other.
    """
    outer: list[Value] = []
    open_: list[list[Value]] = [outer]
    for at, piece in enumerate(pieces):
        if at % 2:
            open_[-1].append(piece)
            continue
        for token in _TOKEN.finditer(piece):
            quoted, bracket, atom = token.groups()
            if quoted is not None:
                open_[-1].append(_ESCAPED.sub(rb"\1", quoted) if b"\\" in quoted else quoted)
            elif atom is not None:
                open_[-1].append(atom.decode("ascii", "replace"))
            elif bracket == b"(":
                inner: list[Value] = []
                open_[-1].append(inner)
                open_.append(inner)
            elif bracket == b")":
                if len(open_) == 1:
                    raise ValueError("a parenthesis too many")
                open_.pop()
    if len(open_) > 1:
        raise ValueError("a parenthesis is missing")
    return outer


def fetched(pieces: Sequence[bytes]) -> dict[str, Value]:
    """What a FETCH answer has, by the names of its items in upper case; {} for other answers."""
    told = values(pieces)
    if len(told) < 3 or told[1] != "FETCH" or not isinstance(told[2], list):
        return {}
    items = told[2]
    pairs = zip(items[::2], items[1::2], strict=False)
    return {name.upper(): value for name, value in pairs if isinstance(name, str)}


def found(items: dict[str, Value]) -> Found | None:
    """The message that ``items`` of a FETCH tell of; None if they do not name it."""
    uid = items.get("UID")
    if not isinstance(uid, str) or not uid.isdigit():
        return None
    structure, envelope = items.get("BODYSTRUCTURE"), items.get("ENVELOPE")
    parent = envelope[_IN_REPLY_TO] if isinstance(envelope, list) and len(envelope) > 8 else b""
    thread = next((value for name, value in items.items() if name.startswith(_FIELDS)), b"")
    ids = answered(_text(parent), _text(thread))[:_MOST_IDS]
    return Found(int(uid), any(map(_is_status, _parts(structure))), ids)


def _text(value: Value) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else ""


def _parts(structure: Value) -> Iterator[list[Value]]:
    """All lists in ``structure``, however deep; not by recursion, since a stranger wrote it."""
    waiting = [structure]
    while waiting:
        part = waiting.pop()
        if isinstance(part, list):
            yield part
            waiting.extend(part)


def _is_status(part: list[Value]) -> bool:
    if len(part) < 2 or not all(isinstance(name, bytes) for name in part[:2]):
        return False
    return bool(part[0].lower() == b"message" and part[1].lower() in _STATUS)


def quoted(text: str) -> bytes:
    """``text``, which has no line ends, as a quoted string; folders are in modified UTF-7."""
    plain = folder_name(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{plain}"'.encode("ascii")


def folder_name(text: str) -> str:
    """``text`` in modified UTF-7 (RFC 3501 §5.1.3)."""
    return re.sub(r"&|[^\x20-\x7e]+", lambda part: _shifted(part[0]), text)


def _shifted(text: str) -> str:
    if text == "&":
        return "&-"
    coded = base64.b64encode(text.encode("utf-16-be", "surrogatepass")).rstrip(b"=")
    return f"&{coded.decode('ascii').replace('/', ',')}-"


def uid_set(uids: Sequence[int]) -> str:
    """``uids``, which ascend, as a set with ranges (RFC 3501 §9)."""
    ranges: list[list[int]] = []
    for uid in uids:
        if ranges and uid == ranges[-1][1] + 1:
            ranges[-1][1] = uid
        else:
            ranges.append([uid, uid])
    return ",".join(f"{a}" if a == b else f"{a}:{b}" for a, b in ranges)
