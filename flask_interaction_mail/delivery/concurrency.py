"""How many connections to have: as many as raise the throughput, and as the server takes."""

from __future__ import annotations

import math
from typing import Final

_FIRST: Final = 4
_GAIN: Final = 0.25  # of what connections brought so far: what as many more of them have to bring
_SLOWER: Final = 2.0  # times the shortest time of a message: then there are too many connections
_SAMPLE: Final = 4  # messages of each connection before their number is judged
_RETRY: Final = 10.0  # s until more are tried again: the machine may have been busy
_PAUSE: Final = 60.0  # s until more are tried again after the server has refused some
_BURST: Final = 1.0  # s in which refusals on several connections count as one


class Concurrency:
    """Doubles the connections for as long as that pays, up to ``most``.

    ``limit`` is how many the server takes as far as is known, None without a known limit; there
    may have been other clients' connections among them, or those of workers that died. Moments are
    seconds of one clock. Only time in which every connection had work counts.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.limit: int | None = None
        self._limit_holds_until = 0.0
        self._count = _FIRST
        self._before: tuple[int, float] | None = None  # the smaller count, and its messages/s
        self._best: float | None = None  # s for a message on one connection
        self._not_before = 0.0
        self._throttled_at = -math.inf
        self._settling = 0  # messages that are not measured: connecting took time, too
        self._since: float | None = None
        self._done = 0
        self._begin()

    @property
    def count(self) -> int:
        """How many connections to have now."""
        return max(1, min(self._count, self._ceiling))

    @property
    def _ceiling(self) -> int:
        return self.most if self.limit is None else min(self.most, self.limit)

    def note(self, now: float, done: int, *, busy: bool) -> None:
        """``done`` more messages are sent at ``now``; ``busy`` if more are waiting."""
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
            if self._done >= _SAMPLE * self.count and now > self._since:
                self._judge(now, self._done / (now - self._since))

    def refused(self, now: float, served: int) -> None:
        """The server takes only ``served`` connections; after a minute one more is tried."""
        limit = max(1, served)
        self._limit_holds_until = now + _PAUSE
        if self.limit is None or limit < self.limit:
            self.limit = limit
            self._before = None
            self._set(min(self._count, limit))

    def throttled(self, now: float) -> None:
        """The server has asked for less mail: half as many connections for a minute."""
        same_burst, self._throttled_at = now - self._throttled_at < _BURST, now
        if not same_burst:
            self._before = None
            self._not_before = now + _PAUSE
            self._set(self.count // 2)

    def slow_refusals(self, now: float) -> None:
        """The server delays its refusals, which says nothing of throughput: start over."""
        self._before = None
        self._set(self._count if now < self._not_before else max(self._count, _FIRST))

    def _judge(self, now: float, rate: float) -> None:
        count, before = self.count, self._before
        took = count / rate
        self._before, self._best = None, min(took, self._best or took)
        if before is not None and rate < before[1] * _required_gain(count / before[0]):
            self._not_before = now + _RETRY
            self._set(before[0])
        elif before is None and took > _SLOWER * self._best and count > 1:
            self._best = None
            self._not_before = now + _RETRY
            self._set(count // 2)
        elif now >= self._not_before and count < self._ceiling:
            self._before = count, rate
            self._set(min(2 * count, self._ceiling))
        else:
            self._begin()

    def _set(self, count: int) -> None:
        self._count = max(1, count)
        self._begin()

    def _begin(self) -> None:
        self._settling, self._since, self._done = self.count, None, 0


def _required_gain(factor: float) -> float:
    """How many times the messages ``factor`` times the connections have to bring."""
    return 1 + _GAIN * (factor - 1)
