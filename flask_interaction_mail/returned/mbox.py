"""A file of the format mbox with returned mail in it (RFC 4155), which is read and never changed.

To take messages out of it, the whole file would have to be written anew, while a mail server may
want to add to it.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Final

from ..errors import InteractionMailError
from .reading import LIMIT

if sys.platform != "win32":
    import fcntl

_PATIENCE: Final = 30.0  # s for others who write
_GLANCE: Final = 0.2
_FROM: Final = b"From "
_LINE: Final = 64 * 1024  # bytes that are read at once where a line does not end


def messages(path: Path) -> Iterator[bytes]:
    """The first 256 KiB of each message in ``path``, with the file locked until the last one.

    Raises:
        InteractionMailError: it is no such file, cannot be read, or stays locked for 30 seconds.
    """
    try:
        with path.open("rb") as file, _locked(file, path):
            yield from _split(file, path)
    except OSError as error:
        raise InteractionMailError(f"{path} cannot be read: {error.strerror}.") from error


def _split(file: IO[bytes], path: Path) -> Iterator[bytes]:
    line = file.readline(_LINE)
    if line and not line.startswith(_FROM):
        raise InteractionMailError(f"{path} is no mbox: it has to begin with “From ”.")
    while line:
        content, blank = bytearray(), False
        # Behind a blank line alone: that begins no message which stands in a text.
        while (line := file.readline(_LINE)) and not (blank and line.startswith(_FROM)):
            blank = line in (b"\n", b"\r\n")
            if len(content) < LIMIT:
                content += line
        yield bytes(content[:LIMIT])


@contextmanager
def _locked(file: IO[bytes], path: Path) -> Iterator[None]:
    """Keep others from writing, in both ways that mail servers and readers know."""
    end = time.monotonic() + _PATIENCE
    with ExitStack() as held:
        dot = path.with_name(f"{path.name}.lock")
        while not (_take(file) and _make(dot, held)):
            if time.monotonic() > end:
                raise InteractionMailError(f"{path} is locked by another process: try again later.")
            time.sleep(_GLANCE)
        yield


def _take(file: IO[bytes]) -> bool:
    if sys.platform != "win32":  # where no mail server writes such files
        try:
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def _make(dot: Path, held: ExitStack) -> bool:
    try:
        os.close(os.open(dot, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        return False
    except PermissionError:  # a folder such as /var/mail: then the other lock has to do
        return True
    held.callback(_remove, dot)
    return True


def _remove(dot: Path) -> None:
    with suppress(OSError):
        dot.unlink()
