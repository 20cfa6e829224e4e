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
class Standing:
    """Where a run stands: what is ``in_flight``, what of it is ``waiting`` for a connection,
    how many ``hands`` there are for it.

    No more is wanted while more is waiting than ``low_water`` times a claim; one that ``joins``
    a record may be as large as the two that come beside records.
    """

    in_flight: int
    waiting: int
    hands: int
    low_water: float
    joins: bool


class Pace:
    """Twice as many each time where the last ones left soon, else a few: others work, too."""

    def __init__(self) -> None:
        self.size = FIRST
        self._at = 0.0

    def room(self, standing: Standing) -> int:
        """How many more to claim, 0 where that has time."""
        if standing.waiting > standing.low_water * self.size:
            return 0
        return 2 * self.size - standing.waiting if standing.joins else self.size

    def claims(self, *, hands: int, most: int) -> None:  # noqa: ARG002 - for others
        """Something is claimed now: think of the next time, but of no more than ``most``."""
        now, last = time.monotonic(), self._at
        self._at = now
        self.size = min(2 * self.size, most) if now - last < _SOON else FIRST

    def note(self, attempts: Sequence[Attempt]) -> None:
        """Learn from what was just brought back."""


class ModestPace(Pace):
    """No more in flight than the present connections send within a second.

    For a process that may end without a farewell: what it holds then waits for its lease.
    """

    def __init__(self) -> None:
        super().__init__()
        self.size = 1
        self._takes = _SOON  # s for a message, as far as is known

    def room(self, standing: Standing) -> int:
        most = max(self.size, standing.hands)
        return most - standing.in_flight if 2 * standing.in_flight <= most else 0

    def claims(self, *, hands: int, most: int) -> None:
        within_a_second = int(hands * _SOON / max(self._takes, 0.001))
        self.size = max(hands, min(2 * self.size, most, within_a_second))

    def note(self, attempts: Sequence[Attempt]) -> None:
        for one in attempts:
            took = (one.finished_at - one.started_at).total_seconds()
            self._takes += (took - self._takes) / 4  # one that is held up says little
