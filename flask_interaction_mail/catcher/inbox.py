"""Delivered messages as files in a folder: a stand-in for everybody's mailbox.

One message is one ``.eml`` file that any mail program opens. Two lines are put before what came
over SMTP: ``X-Envelope-From`` and ``X-Envelope-To``.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from email import message_from_bytes, policy
from email.header import decode_header, make_header
from email.message import EmailMessage
from pathlib import Path
from typing import cast

ENVELOPE_FROM = "X-Envelope-From"
ENVELOPE_TO = "X-Envelope-To"


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One delivered message."""

    key: str
    message: EmailMessage

    def header(self, name: str) -> str:
        """A header's text, empty if there is none; one that cannot be decoded stays raw."""
        return _decoded(str(self.message.get(name, "")))

    @property
    def headers(self) -> list[tuple[str, str]]:
        """All headers in their order."""
        return [(name, _decoded(str(value))) for name, value in self.message.items()]

    @property
    def text(self) -> str:
        """The plain text body."""
        return self._body("plain")

    @property
    def html(self) -> str:
        """The HTML body: never to be put into a page, it may hold anything."""
        return self._body("html")

    def _body(self, subtype: str) -> str:
        for part in self.message.walk():
            if part.get_content_type() == f"text/{subtype}" and not part.is_attachment():
                payload = cast("bytes | None", part.get_payload(decode=True)) or b""
                return payload.decode(_charset(part), "replace")
        return ""


class Inbox:
    """A folder of messages; several threads and processes may use it at once."""

    def __init__(self, folder: str | Path) -> None:
        self.folder: Path = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)

    def store(
        self,
        content: bytes,
        *,
        sender: str,
        recipients: Sequence[str],
        ago: timedelta = timedelta(0),
    ) -> str:
        """Keep a message, which came ``ago``, and return its key."""
        envelope = f"{ENVELOPE_FROM}: {sender}\r\n{ENVELOPE_TO}: {', '.join(recipients)}\r\n"
        key = f"{time.time_ns() - ago // timedelta(microseconds=1) * 1000:020d}"
        draft = self.folder / f"{key}.part"
        draft.write_bytes(envelope.encode() + content)
        os.replace(draft, self._path(key))  # a reader sees all of it or nothing
        return key

    def __iter__(self) -> Iterator[Letter]:
        """Every message, newest first."""
        for path in sorted(self.folder.glob("*.eml"), reverse=True):
            yield _letter(path)

    def get(self, key: str) -> Letter | None:
        """The message of that key, None if there is none."""
        path = self._path(key)
        return _letter(path) if re.fullmatch(r"\d{20}", key) and path.is_file() else None

    def find(self, message_id: str) -> Letter | None:
        """The message with that Message-ID, None if it has not arrived."""
        return next((mail for mail in self if mail.header("Message-ID") == message_id), None)

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.eml"


# compat32 answers every header as it came, where newer policies raise on some hostile ones.
PARSING = policy.compat32.clone(message_factory=EmailMessage)


def _letter(path: Path) -> Letter:
    message = message_from_bytes(path.read_bytes(), policy=PARSING)
    return Letter(key=path.stem, message=cast("EmailMessage", message))


def _decoded(raw: str) -> str:
    unfolded = re.sub(r"\r?\n(?=[ \t])", "", raw)
    try:
        return str(make_header(decode_header(unfolded)))
    except (ValueError, LookupError):  # a broken encoded word, an unknown character set
        return unfolded


def _charset(part: EmailMessage) -> str:
    charset = part.get_content_charset("utf-8")
    try:
        "".encode(charset)
    except (LookupError, ValueError):
        return "utf-8"
    return charset
