"""Whether what came back names an address, in whatever encoding it stands there."""

from __future__ import annotations

import contextlib
import quopri
import re
import unicodedata
from collections.abc import Iterator
from email.message import Message
from typing import Final

from .reading import (
    DEEPEST,
    ENCODED,
    UNREADABLE,
    content_of,
    encoding_of,
    from_base64,
    meanings,
    parsed,
)

_WORD: Final = re.compile(rb"=\?[^?\s]{1,80}\?([bBqQ])\?([^?\s]*)\?=")  # RFC 2047 §2
_SIGNS: Final = re.compile(r"[+=]")
_LETTERS: Final = re.compile(r"[^\x00-\x7f]")
_BETWEEN: Final = re.compile(rb"\?=\s+=\?")  # two words are one text (§6.2)


def names(content: bytes, address: str) -> bool:
    """Whether ``content``, of which 256 KiB are parsed, has ``address`` anywhere.

    What cannot be parsed is looked through as it stands.
    """
    # Both forms are looked for: to bring a stranger's text into one may take seconds.
    wanted = {
        unicodedata.normalize(form, one).casefold()
        for one in spellings(address)
        for form in ("NFC", "NFD")
    }
    return any(one in text for text in _texts(content) for one in wanted)


def spellings(address: str) -> tuple[str, ...]:
    """How servers write a clean ``address``: as it is, or escaped (RFC 3461 §4, RFC 6533 §3).

    The domain may have its own letters instead of A-labels.
    """
    local, _, domain = address.rpartition("@")
    plain = (address, f"{local}@{'.'.join(map(_label, domain.split('.')))}")
    xtext = (_SIGNS.sub(lambda sign: f"+{ord(sign[0]):X}", one) for one in plain)
    unicode = (_LETTERS.sub(lambda sign: f"\\x{{{ord(sign[0]):X}}}", one) for one in plain)
    return tuple(dict.fromkeys([*plain, *xtext, *unicode]))


def _label(label: str) -> str:
    if not label.startswith("xn--"):
        return label
    with contextlib.suppress(UnicodeError):
        return label.removeprefix("xn--").encode().decode("punycode")
    return label


def _texts(content: bytes, depth: int = 0) -> Iterator[str]:
    """All that ``content`` may say, in small letters: as it stands, then each part decoded."""
    yield from _readings(content)
    with contextlib.suppress(*UNREADABLE):
        for part in _parts(parsed(content)):
            decoded = content_of(part)
            if part.get_content_maintype() == "message" and depth < DEEPEST:
                yield from _texts(decoded, depth + 1)
            else:
                yield from _readings(decoded)


def _parts(message: Message) -> Iterator[Message]:
    """The parts of ``message`` that say something else when they are decoded.

    Not by recursion, since a stranger wrote it.
    """
    waiting = [message]
    while waiting:
        part = waiting.pop()
        payload = part.get_payload()
        if encoding_of(part) in ENCODED:
            yield part
        elif isinstance(payload, list):
            waiting.extend(inner for inner in payload if isinstance(inner, Message))


def _readings(content: bytes) -> Iterator[str]:
    """What ``content`` may mean: words of headers decoded, in UTF-8 or Latin-1, escapes or not.

    What a part says of its character set is not believed, so that nobody chooses the decoder.
    """
    for data in {content, _WORD.sub(_decoded, _BETWEEN.sub(b"?==?", content))}:
        for text in {data.decode("utf-8", "replace"), data.decode("latin-1")}:
            yield from map(str.casefold, meanings(text))


def _decoded(word: re.Match[bytes]) -> bytes:
    coding, data = word.groups()
    return quopri.decodestring(data, header=True) if coding in b"qQ" else from_base64(data)
