"""Whether the mail server is near, measured by how fast it answers."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Final

from ..outbox.claimed import Attempt

_LOCAL: Final = timedelta(milliseconds=1)  # for a message to a local server
_AT_MOST: Final = timedelta(milliseconds=10)  # that one message counts: any may be held up
_NOTHING: Final = timedelta(milliseconds=25)  # that counts if nothing came back at all
_TOO_LONG: Final = timedelta(milliseconds=50)  # of accumulated waiting: the server is remote


class LatencyMonitor:
    """Whether the server ``is_local``: it answers at once.

    Starts as local; becomes remote after 50 ms of accumulated waiting. Quick answers take from
    that again, so one stall of a busy machine, which holds up several messages, changes nothing.
    """

    def __init__(self) -> None:
        self._waited = timedelta()  # beyond what a local server takes

    @property
    def is_local(self) -> bool:
        return self._waited < _TOO_LONG

    def note(self, attempts: Iterable[Attempt]) -> None:
        """Learn from the ``attempts`` that have just ended, even if there are none."""
        took = [min(attempt.finished_at - attempt.started_at, _AT_MOST) for attempt in attempts]
        longer = sum(took, timedelta()) - len(took) * _LOCAL if took else _NOTHING
        self._waited = min(max(timedelta(), self._waited + longer), 2 * _TOO_LONG)
