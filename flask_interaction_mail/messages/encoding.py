"""Encode header values and bodies so that every server passes them on unchanged.

Only seven bits and short lines, so 8BITMIME is not needed and no relay has to fold. RFC 2045 and
2047 define the encodings, RFC 2231 that of file names, RFC 5322 §2.1.1 the lengths.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from urllib.parse import quote

from ..addresses import Mailbox

_LINE = 76  # characters a header line should have at most
_LONGEST = 998  # characters a line may have at most
_WORD = 75  # characters an encoded word may have at most
_FRAME = len("=?utf-8?b??=")
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?: [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_PLAIN_PARAMETER = re.compile(r"\w(?:[\w !#$&()+,.=@^~-]*[\w)])?", re.ASCII)
_LINE_ENDS = re.compile(r"\r\n|\r|\n")
_READABLE = re.compile(rb"[\t\n -~]*")
_VISIBLE = bytes((0x09, 0x0A, *range(0x20, 0x7F)))  # what a body may have unencoded
_LONG = 990  # characters that a line of an unencoded body must not have
BOUNDARY_START = "=_"
_NAMELESS = "A recipient with an international address"


def room_of(name: str) -> int:
    """Characters of the value that fit on the first line of the header ``name``."""
    return _LINE - len(name) - 2


def unstructured(name: str, value: str) -> str:
    """The ``value`` of the header ``name``, folded and encoded if necessary."""
    room = room_of(name)
    if value.isascii() and "=?" not in value and value == value.strip(" "):
        if len(value) <= room:
            return value
        folded = _folded(value, room)
        if max(map(len, folded.split("\r\n"))) + len(name) + 2 <= _LONGEST:
            return folded
    return _encoded(value, room)


def phrase(name: str, text: str) -> str:
    """A phrase (RFC 5322 §3.2.5) in the header ``name``: unchanged, quoted or encoded."""
    return _phrase(text, room_of(name)) if text else ""


def mailboxes(name: str, values: Iterable[Mailbox]) -> str:
    """The address list of the header ``name``, one mailbox a line (RFC 5322 §3.4).

    A mailbox with more than ASCII before the @ is written as its name only, an empty group
    (RFC 6857 §3.1), so that every server can carry the header.
    """
    room = room_of(name)
    return ",\r\n ".join(_mailbox(value, room) for value in values)


def parameter(name: str, value: str) -> str:
    """``; name=value``, in pieces if it is long or not ASCII (RFC 2231 §3, §4)."""
    if _PLAIN_PARAMETER.fullmatch(value) and len(value) <= _LINE - len(name) - 4:
        return f';\r\n {name}="{value}"'
    pieces = _pieces("utf-8''" + quote(value, safe=""), _LINE - len(name) - 8)
    if len(pieces) == 1:
        return f";\r\n {name}*={pieces[0]}"
    return "".join(f";\r\n {name}*{number}*={piece}" for number, piece in enumerate(pieces))


def body(text: str) -> tuple[str, str]:
    """The transfer encoding and the encoded lines of ``text``, ending in a line end.

    Line ends are line feeds, to be written as CRLF. The result has no other control character than
    tab, and no line of more than 998 characters.

    Raises:
        UnicodeEncodeError: ``text`` has half a surrogate pair.
    """
    lines = _LINE_ENDS.sub("\n", text) if "\r" in text else text
    if not lines.endswith("\n"):
        lines += "\n"
    if _is_plain(lines):
        return "7bit", lines
    data = lines.encode()
    printable = binascii.b2a_qp(data, quotetabs=False, istext=True)
    if len(printable) <= len(data) * 4 // 3 + _LINE:
        return "quoted-printable", printable.decode("ascii")
    # A text gets canonical line ends before it is encoded (RFC 2049 §4).
    return "base64", base64_lines(data.replace(b"\n", b"\r\n"))


def _is_plain(lines: str) -> bool:
    """Whether the body ``lines`` may be sent unencoded, and cannot be taken for a boundary."""
    if not lines.isascii() or BOUNDARY_START in lines:
        return False
    controls = lines.encode("ascii").translate(None, _VISIBLE)
    return not controls and (len(lines) < _LONG or max(map(len, lines.split("\n"))) < _LONG)


def readable_bytes(data: bytes) -> str | None:
    """ASCII text as quoted-printable that keeps every byte; None if ``data`` is anything else.

    Spam filters distrust such text in base64. CRLF stays a line end, bare line feeds are encoded,
    and None is returned for a mixture of both.
    """
    lines = data.replace(b"\r\n", b"\n")
    if not _READABLE.fullmatch(lines):
        return None
    bare = lines == data
    if not bare and lines.replace(b"\n", b"\r\n") != data:
        return None
    return binascii.b2a_qp(lines, quotetabs=False, istext=not bare).decode("ascii")


def base64_lines(data: bytes) -> str:
    """``data`` in base64, in lines of 76 characters."""
    return base64.encodebytes(data).decode("ascii")


def _folded(value: str, room: int) -> str:
    """``value`` with line breaks before words; unfolding restores it, runs of blanks included."""
    lines: list[str] = []
    line, *words = value.split(" ")
    for word in words:
        # Never before a blank: a line of only blanks is obsolete syntax (RFC 5322 §4.2).
        if word and len(line) + 1 + len(word) > room:
            lines.append(line)
            line, room = word, _WORD
        else:
            line = f"{line} {word}"
    return "\r\n ".join((*lines, line))


def _encoded(text: str, room: int) -> str:
    """``text`` as encoded words, the first of at most ``room`` characters (RFC 2047 §2)."""
    data = text.encode()
    words: list[str] = []
    start = 0
    room = max(room, _FRAME + 8)
    while start < len(data):
        end = start + (min(room, _WORD) - _FRAME) // 4 * 3
        while end < len(data) and data[end] & 0xC0 == 0x80:
            end -= 1  # a character may not be split (RFC 2047 §5)
        coded = binascii.b2a_base64(data[start:end], newline=False).decode("ascii")
        words.append(f"=?utf-8?b?{coded}?=")
        start, room = end, _WORD
    return "\r\n ".join(words)


def _mailbox(value: Mailbox, room: int) -> str:
    if not value.address.isascii():
        return f"{_phrase(value.name or _NAMELESS, room - len(':;'))}:;"
    if not value.name:
        return value.address
    phrase = _phrase(value.name, room)
    blank = " " if len(phrase) + len(value.address) + 3 <= room else "\r\n "
    return f"{phrase}{blank}<{value.address}>"


def _phrase(name: str, room: int) -> str:
    if not name.isascii() or "=?" in name:
        return _encoded(name, room)
    if _ATOMS.fullmatch(name):
        return name
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _pieces(text: str, size: int) -> list[str]:
    """``text`` in pieces of at most ``size`` characters that split no ``%41``."""
    return re.findall(rf"(?:%..|[^%]){{1,{size // 3}}}", text)
