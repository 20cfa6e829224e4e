"""What a server's connections bear, as far as it was too much for one."""

from __future__ import annotations

import math
import time
from typing import Final

_COUNTS_FOR: Final = 3600.0  # s after which the server is asked for more anew


class Endurance:
    """What one server's connections are known to bear; for all of its transports and threads."""

    def __init__(self) -> None:
        self._most = math.inf
        self._until = 0.0
        self._in_turn_until = 0.0

    @property
    def most(self) -> float:
        """Messages after which a connection is renewed; infinite where no limit is known."""
        return self._most if time.monotonic() < self._until else math.inf

    def learn(self, most: int) -> None:
        """A connection was refused more after ``most`` messages, which a new one took."""
        self._most, self._until = most, time.monotonic() + _COUNTS_FOR

    @property
    def in_turn(self) -> bool:
        """Whether commands go out one by one, although the server takes several together."""
        return time.monotonic() < self._in_turn_until

    def held_back(self) -> None:
        """The server held a refusal back.

        Commands that came together would keep its end of the connection busy long after ours is
        closed, and servers count both.
        """
        self._in_turn_until = time.monotonic() + _COUNTS_FOR
