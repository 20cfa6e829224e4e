"""How texts become header values and body lines that every server passes on unchanged.

Seven bits and short lines only, so that neither 8BITMIME nor a relay that folds is needed;
RFC 2045 and 2047 for the encodings, RFC 2231 for file names, RFC 5322 §2.1.1 for the lengths.
"""

from __future__ import annotations

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
# What may stand in a body as it is. The start of our boundaries may not, so none is ever met.
_PLAIN_BODY = re.compile(r"[\t\n\x20-\x7e]*")
_READABLE = re.compile(rb"[\t\n -~]*")
_LONG_LINE = re.compile(r"[^\n]{990}")
BOUNDARY_START = "=_"
_NAMELESS = "A recipient with an international address"


def room_of(name: str) -> int:
    """Characters that the first line of the header ``name`` has for its value."""
    return _LINE - len(name) - 2


def unstructured(name: str, value: str) -> str:
    """``value`` of the header ``name``, folded and encoded as far as needed."""
    room = room_of(name)
    if value.isascii() and "=?" not in value and value == value.strip(" "):
        if len(value) <= room:
            return value
        folded = _folded(value, room)
        if max(map(len, folded.split("\r\n"))) + len(name) + 2 <= _LONGEST:
            return folded
    return _encoded(value, room)


def phrase(name: str, text: str) -> str:
    """A phrase (RFC 5322 §3.2.5) in the header ``name``: as it is, quoted or encoded."""
    return _phrase(text, room_of(name)) if text else ""


def mailboxes(name: str, values: Iterable[Mailbox]) -> str:
    """The address list of the header ``name``, a line each (RFC 5322 §3.4).

    Of who has more than ASCII before the @ the name stands alone, as a group without members
    (RFC 6857 §3.1), so that every server can carry the header.
    """
    room = room_of(name)
    return ",\r\n ".join(_mailbox(value, room) for value in values)


def parameter(name: str, value: str) -> str:
    """``; name=value``, in pieces where it is long or not ASCII (RFC 2231 §3, §4)."""
    if _PLAIN_PARAMETER.fullmatch(value) and len(value) <= _LINE - len(name) - 4:
        return f';\r\n {name}="{value}"'
    pieces = _pieces("utf-8''" + quote(value, safe=""), _LINE - len(name) - 8)
    if len(pieces) == 1:
        return f";\r\n {name}*={pieces[0]}"
    return "".join(f";\r\n {name}*{number}*={piece}" for number, piece in enumerate(pieces))


def body(text: str) -> tuple[str, str]:
    """Transfer encoding and encoded lines of ``text``, which gets a line end at its end.

    Line ends become line feeds; whoever writes them out makes CRLF of them. There is no other
    control character but tab in what is given back, and no line beyond 998 characters.

    Raises:
        UnicodeEncodeError: ``text`` has lone surrogates.
    """
    lines = _LINE_ENDS.sub("\n", text) if "\r" in text else text
    if not lines.endswith("\n"):
        lines += "\n"
    plain = _PLAIN_BODY.fullmatch(lines) and BOUNDARY_START not in lines
    if plain and not _LONG_LINE.search(lines):
        return "7bit", lines
    data = lines.encode()
    printable = binascii.b2a_qp(data, quotetabs=False, istext=True)
    if len(printable) <= len(data) * 4 // 3 + _LINE:
        return "quoted-printable", printable.decode("ascii")
    # Canonical line ends belong to the text before it is encoded (RFC 2049 §4).
    return "base64", base64_lines(data.replace(b"\n", b"\r\n"))


def readable_bytes(data: bytes) -> str | None:
    """``data`` in quoted-printable, each byte kept, if it is a text in ASCII; else None.

    Filters for spam do not like such a text in base64. The line ends of mail stay line ends, bare
    line feeds are encoded, and a text that has both is none.
    """
    lines = data.replace(b"\r\n", b"\n")
    if not _READABLE.fullmatch(lines):
        return None
    bare = lines == data
    if not bare and lines.replace(b"\n", b"\r\n") != data:
        return None
    return binascii.b2a_qp(lines, quotetabs=False, istext=not bare).decode("ascii")


def base64_lines(data: bytes) -> str:
    """``data`` in lines of 76 characters."""
    view = memoryview(data)
    return "".join(
        binascii.b2a_base64(view[start : start + 57]).decode("ascii")
        for start in range(0, len(data), 57)
    )


def _folded(value: str, room: int) -> str:
    """``value`` broken before words; unfolding gives it back, runs of blanks included."""
    lines: list[str] = []
    line, *words = value.split(" ")
    for word in words:
        # Never before a blank: a line of blanks only would be obsolete syntax (§4.2).
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
            end -= 1  # a character may not be torn (§5)
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
    """A display name (RFC 5322 §3.2.5): as it is, quoted or encoded."""
    if not name.isascii() or "=?" in name:
        return _encoded(name, room)
    if _ATOMS.fullmatch(name):
        return name
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _pieces(text: str, size: int) -> list[str]:
    """``text`` in pieces of at most ``size`` characters that tear no ``%41``."""
    return re.findall(rf"(?:%..|[^%]){{1,{size // 3}}}", text)
