"""Transports for a developer, who looks at the mail that leaves: on a terminal, or as files."""

from __future__ import annotations

import email
import os
import secrets
import sys
import threading
from collections.abc import Iterator
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Final

from .. import clock
from ..errors import TransportError
from ..outcome import Reply, Result, Stage
from .base import Envelope, TransportResult
from .stand_in import StandIn, taken

_RULE: Final = "-" * 78


class ConsoleTransport(StandIn):
    """Prints what it is given, readable, on standard error; for any number of threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def deliver(self, envelope: Envelope) -> TransportResult:
        """Print ``envelope``.

        Raises:
            TransportError: standard error is closed.
        """
        result = taken(envelope, said=Reply(250, "2.0.0", "printed"))
        if result.result is Result.ACCEPTED:
            try:
                with self._lock:
                    _print("\n".join(_in_words(envelope)))
            except (OSError, ValueError) as error:
                raise TransportError(f"Cannot print: {error}", stage=Stage.CONTENT) from error
        return result


def _print(text: str) -> None:
    # Not on standard output, where commands write JSON.
    encoding = sys.stderr.encoding or "ascii"
    sys.stderr.write(f"{text.encode(encoding, 'backslashreplace').decode(encoding)}\n")
    sys.stderr.flush()


def _in_words(envelope: Envelope) -> Iterator[str]:
    message = email.message_from_bytes(envelope.content, policy=default)
    yield _RULE
    yield _harmless(f"Envelope: {envelope.sender} to {', '.join(envelope.recipients)}")
    for name, value in message.items():
        yield _harmless(f"{name}: {value}")
    for file in message.iter_attachments():
        size = len(file.get_payload(decode=True) or b"")
        yield _harmless(f"Attached: {file.get_filename()} ({file.get_content_type()}, {size:,} B)")
    yield ""
    yield from map(_harmless, _text(message).splitlines())
    yield _RULE


def _text(message: EmailMessage) -> str:
    body = message.get_body(("plain", "html"))
    return "" if body is None else str(body.get_content())


def _harmless(line: str) -> str:
    """``line`` without what moves a terminal's cursor or turns the direction of its text."""
    return "".join(letter if letter.isprintable() else " " for letter in line)


class FilesTransport(StandIn):
    """Writes each message into a folder as an ``.eml`` file; for any number of processes.

    Two lines come before its header: ``X-Envelope-From`` and ``X-Envelope-To``, which has Bcc.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def deliver(self, envelope: Envelope) -> TransportResult:
        """Write ``envelope``.

        Raises:
            TransportError: the file cannot be written.
        """
        name = f"{clock.now():%Y%m%d-%H%M%S-%f}-{secrets.token_hex(4)}.eml"
        result = taken(envelope, said=Reply(250, "2.0.0", f"written to {name}"))
        if result.result is Result.ACCEPTED:
            try:
                self._write(name, envelope)
            except OSError as error:
                raise TransportError(
                    f"Cannot write {name}: {error}", stage=Stage.CONTENT
                ) from error
        return result

    def _write(self, name: str, envelope: Envelope) -> None:
        whom = ", ".join(envelope.recipients)
        lines = f"X-Envelope-From: {envelope.sender}\r\nX-Envelope-To: {whom}\r\n"
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # mail may let somebody in
        draft = self._folder / f"{name}.part"
        with open(draft, "xb", opener=_for_its_owner) as file:
            file.write(lines.encode() + envelope.content)
        draft.replace(self._folder / name)  # a reader sees all of it or nothing


def _for_its_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
