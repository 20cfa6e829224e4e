"""Measures how long small actions take."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable


def seconds(action: Callable[[], object]) -> float:
    """How long ``action`` takes, once."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def median_seconds(action: Callable[[], object], *, times: int) -> float:
    """How long ``action`` takes: the median, with no garbage collection due from before."""
    taken = []
    for _ in range(times):
        gc.collect()
        taken.append(seconds(action))
    return statistics.median(taken)


def beside(without: Callable[[], object], having: Callable[[], object], *, times: int) -> float:
    """How much longer ``having`` takes than ``without``, in seconds: medians of alternate runs."""
    for _ in range(5):
        without()
        having()
    pairs = [(seconds(without), seconds(having)) for _ in range(times)]
    return statistics.median(b for _, b in pairs) - statistics.median(a for a, _ in pairs)
