"""The only module that reads and writes a socket: commands out, replies in, within time limits."""

from __future__ import annotations

import contextlib
import math
import select
import socket
import ssl
import struct
import sys
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import ClassVar, Final, Literal

from ...errors import TransportError
from ...language import mark
from ...outcome import Fault, Reply, Stage
from . import tls
from .replies import MAX_BYTES, MAX_LINES, ReplyLine, assemble, one_line, parse_line, safe_text
from .timeouts import Until

Transcribe = Callable[[Literal["C", "S"], str], None]  # gets every line, credentials blanked

# On Linux a blocking socket can have a time limit of its own, which saves every other system call.
_KERNEL_WAITS: Final = sys.platform == "linux"
_BLOCK: Final = 64 * 1024
# A server may write each reply by itself, and send the next one only when the last is acknowledged.
# Delayed acknowledgements would then cost 40 ms per message. Linux forgets the option (tcp(7)), and
# sending acknowledges as well, so it is set before each read that follows another.
_QUICKACK: Final[int | None] = getattr(socket, "TCP_QUICKACK", None)
_TICK: Final = 1.0  # s between two looks at the clock: setting a time limit is a system call


class StreamError(TransportError):
    """The connection failed.

    ``unsent`` is how many bytes were not sent; ``complete`` is true if the whole content may have
    arrived nevertheless.
    """

    def __init__(self, stage: Stage, fault: Fault, text: str, *, unsent: int = 0) -> None:
        super().__init__(text, stage=stage, fault=fault)
        self.unsent = unsent
        self.complete = False


class Stream:
    """A connected socket that sends commands and reads replies.

    Each operation ends at ``until``, and raises StreamError with its ``stage``: the connection was
    lost, or the server took too long.
    """

    __slots__ = ("_heard", "_limit", "_lines", "_rest", "_socket", "_transcribe")

    longest: ClassVar[int] = 8 * 1024  # of a line; RFC 5321 §4.5.3.1.5 says 512, some send more
    nonsense: ClassVar[Fault] = Fault.NOT_SMTP  # what answers in another way

    def __init__(self, connected: socket.socket, transcribe: Transcribe | None = None) -> None:
        self._socket = connected
        self._limit = math.inf  # the socket's own time limit in seconds, as last set
        self._lines: deque[bytes] = deque()
        self._rest = b""
        self._heard = False  # whether something was read since the last write
        self._transcribe = transcribe

    @property
    def local_address(self) -> str:
        """The numeric address of our end."""
        return str(self._socket.getsockname()[0])

    @property
    def encrypted(self) -> bool:
        return isinstance(self._socket, ssl.SSLSocket)

    def send(self, data: bytes, stage: Stage, until: Until) -> None:
        """Send commands."""
        if self._transcribe is not None:
            self._note("C", data)
        if error := self._push(data, stage, until):
            raise error

    def send_secret(self, render: Callable[[], bytes], shown: str, until: Until) -> None:
        """Send a login that ``render`` gives; transcript and tracebacks show only ``shown``."""
        if self._transcribe is not None:
            self._transcribe("C", shown)
        # The bytes live in the frame of _push alone, which is gone before anything is raised.
        if error := self._push_rendered(render, until):
            raise error

    def send_content(self, data: bytes, seconds: float, until: Until) -> None:
        """Send content with its final dot in blocks of 64 KiB, each within ``seconds``.

        Raises:
            StreamError: ``complete`` tells whether the final dot may have been sent.
        """
        if self._transcribe is not None:
            self._transcribe("C", f"({len(data)} bytes of content)")
        view = data if len(data) <= _BLOCK else memoryview(data)
        for start in range(0, len(data), _BLOCK):
            block = view[start : start + _BLOCK]
            if error := self._push(block, Stage.CONTENT, until.step(seconds)):
                # What a plain socket has not taken was not sent; TLS may have sent it all.
                unsent = 0 if self.encrypted else error.unsent
                error.complete = len(data) <= start + len(block) - unsent
                raise error

    def waiting(self) -> Reply | None:
        """The next reply if it is here already and has one line; does not wait."""
        lines = self._lines
        if not lines or (reply := one_line(lines[0])) is None:
            return None
        line = lines.popleft()
        if self._transcribe is not None:
            self._note("S", line)
        return reply

    def read(self, stage: Stage, until: Until) -> Reply:
        """The next reply; raises what ``read_lines`` raises."""
        self._fill(stage, until)
        return self.waiting() or self.read_lines(stage, until)[0]

    def read_lines(self, stage: Stage, until: Until) -> tuple[Reply, list[ReplyLine]]:
        """The next reply, and the lines that it came in.

        Raises:
            StreamError: lost, silent, not SMTP, or more than 100 lines or 64 KiB.
        """
        lines: list[ReplyLine] = []
        size = 0
        while not lines or not lines[-1].last:
            raw = self._line(stage, until)
            size += len(raw)
            if (line := parse_line(raw)) is None:
                text = mark(
                    "The answer is not that of a mail server: %(answer)s.",
                    answer=repr(safe_text(raw)),
                )
                raise StreamError(stage, Fault.NOT_SMTP, text)
            lines.append(line)
            if len(lines) > MAX_LINES or size > MAX_BYTES:
                raise StreamError(stage, Fault.NOT_SMTP, mark("The server's answer does not end."))
        return assemble(lines), lines

    def encrypt(self, host: str, context: ssl.SSLContext, until: Until) -> None:
        """Start TLS.

        Raises:
            StreamError: data arrived before the encryption, or the handshake failed.
        """
        if self._lines or self._rest:
            text = mark(
                "Data arrived before the encryption, as an attacker in between would send it."
            )
            raise StreamError(Stage.ENCRYPTION, Fault.TLS_INJECTION, text)
        try:
            self._limit = max(until.left, 0.001)
            self._socket.settimeout(self._limit)
            self._socket = context.wrap_socket(
                self._socket, server_hostname=host, do_handshake_on_connect=False
            )
            self._socket.do_handshake()
        except (OSError, ValueError) as error:
            raise StreamError(Stage.ENCRYPTION, *tls.explain(error)) from error

    def facts(self) -> tls.TlsFacts | None:
        """The facts about the encryption; None without."""
        return tls.facts(self._socket) if isinstance(self._socket, ssl.SSLSocket) else None

    def certificate(self) -> bytes | None:
        """The server's certificate in DER, verified or not; None without encryption."""
        return self._socket.getpeercert(True) if isinstance(self._socket, ssl.SSLSocket) else None

    @property
    def unread(self) -> bool:
        """Whether data was read that nobody has asked for yet."""
        return bool(self._lines or self._rest)

    def idle(self) -> bool:
        """Whether nothing came in unasked, such as a reply 421 or the end of the connection."""
        try:
            return not (self.unread or readable(self._socket))
        except (OSError, ValueError):
            return False

    def abort(self) -> None:
        """End the connection from any thread; who waits on it gets a StreamError at once."""
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the socket back. Never raises."""
        with contextlib.suppress(OSError):
            self._socket.close()

    def _push_rendered(self, render: Callable[[], bytes], until: Until) -> StreamError | None:
        return self._push(render(), Stage.AUTHENTICATION, until)

    def _push(self, data: bytes | memoryview, stage: Stage, until: Until) -> StreamError | None:
        # Returns the error instead of raising it: see send_secret.
        view = data
        self._heard = False
        while view:
            try:
                self._wait(until)
                if (sent := self._socket.send(view)) == len(view):
                    return None
                view = memoryview(view)[sent:]
            except (TimeoutError, BlockingIOError):
                if not until.left:
                    text = mark("The server stopped reading what is sent to it.")
                    return StreamError(stage, Fault.SILENT, text, unsent=len(view))
            except (OSError, ValueError) as error:
                text = mark("The connection was lost (%(why)s).", why=_reason(error))
                return StreamError(stage, Fault.LOST, text, unsent=len(view))
        return None

    def _line(self, stage: Stage, until: Until) -> bytes:
        self._fill(stage, until)
        line = self._lines.popleft().removesuffix(b"\r")
        self._note("S", line)
        return line

    def _fill(self, stage: Stage, until: Until) -> None:
        while not self._lines:
            if len(self._rest) > self.longest:
                text = mark("The server sent a line that does not end.")
                raise StreamError(stage, self.nonsense, text)
            lines = (self._rest + self._receive(stage, until)).split(b"\n")
            self._rest = lines.pop()
            self._lines.extend(lines)

    def _receive(self, stage: Stage, until: Until) -> bytes:
        received: bytes | None = None
        while received is None:
            try:
                self._wait(until)
                if self._heard and _QUICKACK is not None:
                    self._socket.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
                received = self._socket.recv(_BLOCK)
                self._heard = True
            except (TimeoutError, BlockingIOError) as error:
                if not until.left:
                    text = mark("The server does not answer in time.")
                    raise StreamError(stage, Fault.SILENT, text) from error
            except (OSError, ValueError) as error:
                text = mark("The connection was lost (%(why)s).", why=_reason(error))
                raise StreamError(stage, Fault.LOST, text) from error
        if not received:
            raise StreamError(stage, Fault.LOST, mark("The server ended the connection."))
        return received

    def _wait(self, until: Until) -> None:
        # The next operation ends at the next tick, or at ``until`` if that comes first.
        left = until - monotonic()
        limit = left if left < _TICK else _TICK
        if limit != self._limit:
            self._set_limit(limit)

    def _set_limit(self, limit: float) -> None:
        if limit <= 0:
            raise TimeoutError
        self._limit = limit
        if _KERNEL_WAITS and not self.encrypted:
            _limit_in_kernel(self._socket, limit)
        else:
            self._socket.settimeout(limit)

    def _note(self, who: Literal["C", "S"], data: bytes) -> None:
        if self._transcribe is not None:
            for line in data.rstrip(b"\r\n").split(b"\r\n"):
                self._transcribe(who, safe_text(line))


def _limit_in_kernel(connected: socket.socket, seconds: float) -> None:
    whole = int(seconds)
    limit = struct.pack("@ll", whole, max(1, int((seconds - whole) * 1_000_000)))
    connected.settimeout(None)
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)


def readable(connected: socket.socket) -> bool:
    """Whether something can be read now: data, or the end."""
    if not hasattr(select, "poll"):  # Windows
        return bool(select.select([connected], [], [], 0)[0])
    poll = select.poll()  # unlike select, works with any number of open files
    poll.register(connected, select.POLLIN)
    return bool(poll.poll(0))


def _reason(error: Exception) -> str:
    return safe_text(getattr(error, "strerror", None) or type(error).__name__)
