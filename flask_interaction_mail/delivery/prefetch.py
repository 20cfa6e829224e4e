"""How many messages to claim at once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ..outbox.claimed import Attempt

FIRST: Final = 50  # messages of a first claim
MOST: Final = 200  # messages of a claim while they are used up within a second
_SOON: Final = 1.0  # s


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How busy a run is: messages ``in_flight``, and of these ``waiting`` for an agent.

    ``agents`` can send at the same time.
    """

    in_flight: int
    waiting: int
    agents: int


class Prefetch:
    """Doubles the claim if the last one was used up within a second, else starts over with 50.

    Small claims leave something for other workers.
    """

    def __init__(self) -> None:
        self.size: int = FIRST
        self._claimed_at = 0.0

    def wanted(self, load: Load) -> int:
        """How many more to claim now, 0 while half a claim is waiting."""
        return 0 if 2 * load.waiting > self.size else self.size

    def claims(self, *, agents: int) -> None:  # noqa: ARG002 - for subclasses
        """Choose the size of the next claim, as one is made now."""
        now, last = time.monotonic(), self._claimed_at
        self._claimed_at = now
        self.size = min(2 * self.size, MOST) if now - last < _SOON else FIRST

    def note(self, attempts: Sequence[Attempt]) -> None:
        """Learn from the ``attempts`` that have just ended."""


class ModestPrefetch(Prefetch):
    """Claims no more than the present connections send within a second.

    For a process that may end without notice: what it holds then waits for its lease to end.
    """

    def __init__(self) -> None:
        super().__init__()
        self.size: int = 1
        self._seconds = _SOON  # for a message, as far as is known

    def wanted(self, load: Load) -> int:
        most = max(self.size, load.agents)
        return most - load.in_flight if 2 * load.in_flight <= most else 0

    def claims(self, *, agents: int) -> None:
        within_a_second = int(agents * _SOON / max(self._seconds, 0.001))
        self.size = max(agents, min(2 * self.size, MOST, within_a_second))

    def note(self, attempts: Sequence[Attempt]) -> None:
        for attempt in attempts:
            seconds = (attempt.finished_at - attempt.started_at).total_seconds()
            self._seconds += (seconds - self._seconds) / 4  # a single slow one says little
