"""What a server has stored, as lines of JSON in a file."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_MESSAGE_ID = re.compile(rb"^Message-ID:\s*(<[^>]+>)", re.IGNORECASE | re.MULTILINE)

Copies = Counter[tuple[str, str]]  # by Message-ID and recipient


@dataclass(frozen=True)
class Stored:
    """One message as it lies there; ``body`` is a digest of what follows the header."""

    message_id: str
    recipients: tuple[str, ...]
    body: str


def stored(content: bytes, recipients: Iterable[str]) -> Stored:
    """Describe ``content`` that was taken for ``recipients``."""
    head = content.replace(b"\r\n", b"\n").partition(b"\n\n")[0]
    found = _MESSAGE_ID.search(head)
    name = found.group(1).decode() if found else "none"
    return Stored(name, tuple(recipients), digest(content))


def digest(content: bytes) -> str:
    """Tell one body from another, whatever its line ends and the empty lines behind it are."""
    body = content.replace(b"\r\n", b"\n").partition(b"\n\n")[2]
    return hashlib.sha256(body.rstrip(b"\n")).hexdigest()


def write(path: Path, one: Stored) -> None:
    """Add ``one`` to the file at ``path``."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps([one.message_id, one.recipients, one.body]) + "\n")


def read(path: Path) -> list[Stored]:
    """All that is in the file at ``path``; a line that is being written is not there yet."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    found = (json.loads(line) for line in lines)
    return [Stored(name, tuple(recipients), body) for name, recipients, body in found]


def copies(found: Iterable[Stored]) -> Copies:
    """How many copies each recipient has of each message."""
    return Counter((one.message_id, to.lower()) for one in found for to in one.recipients)
