"""Parses what a server says: pure functions from bytes to values (RFC 5321 §4.2, RFC 2034)."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ...outcome import Reply

MAX_LINES: Final = 100
MAX_BYTES: Final = 64 * 1024
MAX_TEXT: Final = 1000  # characters of a reply that are kept

_LINE = re.compile(rb"([2-5][0-9][0-9])(?:([ -])(.*))?", re.DOTALL)
_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?:\s+|$)")
# Characters that can move a cursor, reorder a line or hide text: always escaped.
_UNPRINTABLE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


@dataclass(frozen=True, slots=True)
class ReplyLine:
    """One line of a reply; ``last`` is false while more are to follow."""

    code: int
    last: bool
    text: bytes


def parse_line(line: bytes) -> ReplyLine | None:
    """The parts of ``line``, given without its line end; None if it is not a line of a reply."""
    found = _LINE.fullmatch(line)
    if found is None:
        return None
    code, mark, text = found.groups()
    return ReplyLine(int(code), mark != b"-", text or b"")


def assemble(lines: Sequence[ReplyLine]) -> Reply:
    """The reply that ``lines`` make together; the last line's code counts."""
    code = lines[-1].code
    texts = [safe_text(line.text) for line in lines]
    enhanced = None
    for at, text in enumerate(texts):
        found = _ENHANCED.match(text)
        if found and found[1][0] == str(code)[0]:
            enhanced = enhanced or found[1]
            texts[at] = text[found.end() :]
    return Reply(code, enhanced, " ".join(filter(None, texts))[:MAX_TEXT])


@functools.lru_cache(maxsize=128)  # a server repeats a few replies
def one_line(line: bytes) -> Reply | None:
    """The reply that ``line`` is by itself; None if more lines follow, or it is not a reply."""
    parsed = parse_line(line.removesuffix(b"\r"))
    return assemble([parsed]) if parsed is not None and parsed.last else None


def safe_text(raw: bytes | str) -> str:
    """``raw`` as one line that is safe to store, log and show; at most 1,000 characters."""
    # More than is kept, as spaces are cut off at the ends; little work even for a hostile line.
    text = raw[: 4 * MAX_TEXT]
    if isinstance(text, bytes):
        text = text.decode("utf-8", "backslashreplace")
    if not (text.isascii() and text.isprintable()):
        text = "".join(map(_visible, text))
    return text.strip()[:MAX_TEXT]


def _visible(character: str) -> str:
    if unicodedata.category(character) in _UNPRINTABLE:
        return character.encode("unicode_escape", "surrogatepass").decode("ascii")
    return character


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a server offers in its answer to EHLO (RFC 5321 §4.1.1.1); nothing after HELO.

    ``size`` is the largest message in bytes that it announces (RFC 1870), None without limit;
    ``auth`` are mechanisms in capitals (RFC 4954).
    """

    starttls: bool = False
    pipelining: bool = False
    smtputf8: bool = False
    eight_bit: bool = False
    announces_size: bool = False
    dsn: bool = False  # reports on demand (RFC 3461)
    size: int | None = None
    auth: tuple[str, ...] = ()


def capabilities(lines: Sequence[ReplyLine]) -> Capabilities:
    """The extensions that the ``lines`` of an answer to EHLO offer."""
    offered: dict[str, list[str]] = {}
    for line in lines[1:]:
        # "AUTH=LOGIN PLAIN" is how some old servers spell it.
        words = line.text.decode("ascii", "replace").upper().replace("AUTH=", "AUTH ").split()
        if words:
            offered.setdefault(words[0], []).extend(words[1:])
    return Capabilities(
        starttls="STARTTLS" in offered,
        pipelining="PIPELINING" in offered,
        smtputf8="SMTPUTF8" in offered,
        eight_bit="8BITMIME" in offered,
        announces_size="SIZE" in offered,
        dsn="DSN" in offered,
        size=_limit(offered.get("SIZE", [])),
        auth=tuple(dict.fromkeys(offered.get("AUTH", []))),
    )


def _limit(words: Sequence[str]) -> int | None:
    if words and words[0].isdecimal() and words[0].isascii() and len(words[0]) < 20:
        return int(words[0]) or None  # 0: no limit
    return None
