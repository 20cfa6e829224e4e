"""How many connections to have: as many as bring something, and no more than the server takes."""

from __future__ import annotations

import math
from typing import Final

_FIRST: Final = 4
_PAYS: Final = 0.25  # of what connections brought before, more of them have to bring
_SLOWER: Final = 2.0  # times as long as at best that a message may take
_ROUND: Final = 4  # messages a connection before a number of them is judged
_AGAIN: Final = 10.0  # s until another try after one that did not pay: the machine may be busy
_PAUSE: Final = 60.0  # s without another try where the server has had enough
_WAVE: Final = 1.0  # s in which it says so to several connections, and means the same


class Lines:
    """Twice as many each time that this pays, ``most`` at most; moments are s of one clock.

    ``limit`` is what the server takes as far as is known, None where it has set none; connections
    of others, and of workers that died, may have been among them. Only time in which every
    connection had work counts.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.limit: int | None = None
        self._limit_holds_until = 0.0
        self._count = _FIRST
        self._before: tuple[int, float] | None = None  # fewer ones, and messages a second of them
        self._best: float | None = None  # s for a message on one connection
        self._not_before = 0.0
        self._crowded_at = -math.inf
        self._settling = 0  # messages to let pass: connecting is not what is to be measured
        self._since: float | None = None
        self._done = 0
        self._begin()

    @property
    def count(self) -> int:
        """How many to have now."""
        return max(1, min(self._count, self._ceiling))

    @property
    def _ceiling(self) -> int:
        return self.most if self.limit is None else min(self.most, self.limit)

    def note(self, now: float, done: int, *, busy: bool) -> None:
        """At ``now``, ``done`` more messages have left; ``busy`` says whether more are waiting."""
        if self.limit is not None and now >= self._limit_holds_until:
            self.limit += 1
            self._limit_holds_until = now + _PAUSE
        if not busy:
            self._begin()
        elif self._since is None:
            self._settling -= done
            if self._settling <= 0:
                self._since = now
        else:
            self._done += done
            if self._done >= _ROUND * self.count and now > self._since:
                self._judge(now, self._done / (now - self._since))

    def refused(self, now: float, served: int) -> None:
        """The server takes no more than ``served`` connections; in a minute it may be one more."""
        limit = max(1, served)
        self._limit_holds_until = now + _PAUSE
        if self.limit is None or limit < self.limit:
            self.limit = limit
            self._before = None
            self._to(min(self._count, limit))

    def crowded(self, now: float) -> None:
        """The server has had enough of us, for the time being."""
        wave, self._crowded_at = now - self._crowded_at < _WAVE, now
        if not wave:
            self._before = None
            self._not_before = now + _PAUSE
            self._to(self.count // 2)

    def held_back(self, now: float) -> None:
        """The server lets refusals wait, which says nothing of the line: as many as at first."""
        self._before = None
        self._to(self._count if now < self._not_before else max(self._count, _FIRST))

    def _judge(self, now: float, rate: float) -> None:
        count, before = self.count, self._before
        took = count / rate
        self._before, self._best = None, min(took, self._best or took)
        if before is not None and rate < before[1] * _enough(count / before[0]):
            self._not_before = now + _AGAIN
            self._to(before[0])
        elif before is None and took > _SLOWER * self._best and count > 1:
            self._best = None
            self._not_before = now + _AGAIN
            self._to(count // 2)
        elif now >= self._not_before and count < self._ceiling:
            self._before = count, rate
            self._to(min(2 * count, self._ceiling))
        else:
            self._begin()

    def _to(self, count: int) -> None:
        self._count = max(1, count)
        self._begin()

    def _begin(self) -> None:
        self._settling, self._since, self._done = self.count, None, 0


def _enough(times: float) -> float:
    """How many times as many messages so many times the connections have to bring."""
    return 1 + _PAYS * (times - 1)
