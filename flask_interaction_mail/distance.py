"""How far away a mail server is, as far as its answers tell."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Final

from .claimed import Attempt

_CLOSE: Final = timedelta(milliseconds=1)  # that a message takes with a server that is close
_TOO_LONG: Final = timedelta(milliseconds=50)  # of waiting beyond that: it is not


class Distance:
    """Whether the server is ``close``: it answers as soon as it is asked.

    Until it has kept its worker waiting it is. A short time is forgotten with the next quick
    answers, as on a busy machine anybody is held up now and then.
    """

    def __init__(self) -> None:
        self.close = True
        self._waited = timedelta()  # longer than a close one takes, lately

    def note(self, attempts: Iterable[Attempt]) -> None:
        """Learn from what was just brought back; that it was nothing says more than anything."""
        took = [one.finished_at - one.started_at for one in attempts]
        longer = sum(took, timedelta()) - len(took) * _CLOSE
        self._waited = max(timedelta(), self._waited + longer)
        self.close = self.close and bool(took) and self._waited < _TOO_LONG
