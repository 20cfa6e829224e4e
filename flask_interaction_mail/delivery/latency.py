"""How far away a mail server is, as far as its answers tell."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Final

from ..outbox.claimed import Attempt

_CLOSE: Final = timedelta(milliseconds=1)  # that a message takes with a server that is close
_AT_MOST: Final = timedelta(milliseconds=10)  # that counts of one: anybody is held up now and then
_IN_VAIN: Final = timedelta(milliseconds=25)  # that counts where nothing came at all
_TOO_LONG: Final = timedelta(milliseconds=50)  # of waiting beyond what is close: it is not


class LatencyMonitor:
    """Whether the server ``is_local``: it answers as soon as it is asked.

    It starts as local and becomes remote after 50 ms of accumulated waiting. Quick answers take
    from that again, so one stall of a busy machine, which holds up several messages, says nothing.
    """

    def __init__(self) -> None:
        self._waited = timedelta()  # longer than a close one takes, lately

    @property
    def is_local(self) -> bool:
        return self._waited < _TOO_LONG

    def note(self, attempts: Iterable[Attempt]) -> None:
        """Learn from what was just brought back, be it nothing."""
        took = [min(one.finished_at - one.started_at, _AT_MOST) for one in attempts]
        longer = sum(took, timedelta()) - len(took) * _CLOSE if took else _IN_VAIN
        self._waited = min(max(timedelta(), self._waited + longer), 2 * _TOO_LONG)
