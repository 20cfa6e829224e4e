"""A connection to an IMAP server: lines with literals in, within limits (RFC 3501 §4.3)."""

from __future__ import annotations

import re
from typing import ClassVar, Final

from ...language import mark
from ...outcome import Fault, Stage
from ..smtp.stream import Stream, StreamError
from ..smtp.timeouts import Until

MOST: Final = 1024 * 1024  # bytes of an answer that are kept; what is larger is left out
_ENDLESS: Final = 64 * 1024 * 1024  # bytes of one answer after which nobody listens any more
_LITERAL: Final = re.compile(rb"~?\{([0-9]+)\+?\}$")


class ImapStream(Stream):
    """Reads the answers of a server that may be hostile."""

    __slots__ = ()

    longest: ClassVar[int] = 8 * 1024 * 1024  # the numbers of a million messages
    nonsense: ClassVar[Fault] = Fault.NOT_IMAP

    def answer(self, stage: Stage, until: Until) -> list[bytes] | None:
        """The next answer: text and literals by turns, text first; None if it is too large to keep.

        Raises:
            StreamError: lost, silent, or an answer of more than 64 MiB.
        """
        pieces: list[bytes] = []
        size = 0
        while True:
            line = self._line(stage, until)
            literal = _LITERAL.search(line[-32:])
            if literal is None:
                # A line without literals may be a long list of numbers: ``longest`` bounds it.
                return [*pieces, line] if not size or size + len(line) <= MOST else None
            wanted = int(literal[1])
            size += len(line) + wanted
            if size > _ENDLESS:
                raise StreamError(stage, self.nonsense, mark("The server's answer does not end."))
            found = self._exactly(wanted, stage, until, keep=size <= MOST)
            text = line[: line.rindex(b"{")].removesuffix(b"~")
            pieces = [*pieces, text, found] if size <= MOST else []

    def _exactly(self, size: int, stage: Stage, until: Until, *, keep: bool) -> bytes:
        """The next ``size`` bytes; b"" if they are not to be kept."""
        parts: list[bytes] = []
        while size:
            piece = self._piece(size, stage, until)
            size -= len(piece)
            if keep:
                parts.append(piece)
        if not self._lines:
            lines = self._rest.split(b"\n")
            self._rest = lines.pop()
            self._lines.extend(lines)
        return b"".join(parts)

    def _piece(self, most: int, stage: Stage, until: Until) -> bytes:
        if self._lines:
            line = self._lines.popleft() + b"\n"
            if len(line) > most:
                self._lines.appendleft(line[most:-1])
            return line[:most]
        if not self._rest:
            self._rest = self._receive(stage, until)
        piece, self._rest = self._rest[:most], self._rest[most:]
        return piece
