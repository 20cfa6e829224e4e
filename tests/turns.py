"""Who runs beside whom, where several processes run the tests: some need the machine alone.

What a killed worker repeats depends on how fast its database takes records, so nobody else may
keep that busy meanwhile.
"""

from __future__ import annotations

import fcntl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Turns:
    """The turns of one run of the tests, by its id; every process of it has one of these."""

    def __init__(self, run: str) -> None:
        self._files = [Path(tempfile.gettempdir(), f"{run}.{name}") for name in ("door", "room")]
        self._door, self._room = (path.open("w") for path in self._files)

    @contextmanager
    def taken(self, *, alone: bool) -> Iterator[None]:
        """Wait for a turn, and have it: ``alone``, or beside those who need not be."""
        how = fcntl.LOCK_EX if alone else fcntl.LOCK_SH
        # Whoever waits for the room to be empty keeps the door, so that it gets empty.
        fcntl.flock(self._door, how)
        fcntl.flock(self._room, how)
        fcntl.flock(self._door, fcntl.LOCK_UN)
        try:
            yield
        finally:
            fcntl.flock(self._room, fcntl.LOCK_UN)

    def close(self) -> None:
        """Leave nothing behind."""
        for file, path in zip((self._door, self._room), self._files, strict=True):
            file.close()
            path.unlink(missing_ok=True)
