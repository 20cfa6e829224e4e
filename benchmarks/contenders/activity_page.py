"""The page Activity of an outbox with a busy month behind it."""

from __future__ import annotations

import statistics
import time
import uuid
from collections.abc import Iterator
from typing import Any

from flask_interaction_mail import clock
from flask_interaction_mail.outbox import tally
from flask_interaction_mail.outbox.counts import (
    DAY,
    DOMAIN,
    HOUR,
    KIND,
    LATENCY,
    MINUTE,
    MOST,
    RECIPIENTS,
    REFUSAL,
    TOTAL,
    Row,
    Sums,
    begin_of,
    span_of,
)

from .ours import host

_WORKERS = 4
_NAMES = {  # how many names of each there are, in every hour
    TOTAL: [""],
    KIND: [f"kind {number}" for number in range(10)],
    DOMAIN: [f"d{number}.example" for number in range(MOST)],
    RECIPIENTS: [""],
    LATENCY: [str(number) for number in range(20, 60)],
    REFUSAL: [f"550 5.7.{number} No" for number in range(50)],
}


def count(url: str) -> dict[str, float]:
    """Write the counts of a month, in which four workers were busy all the time."""
    state, now, sums = host(url), clock.now(), Sums()
    for what, names in _NAMES.items():
        sums.add(_rows(what, names, now))
    rows = sums.rows()
    tally.replace(state.database, now + DAY, rows)
    return {"rows": len(rows)}


def _rows(what: str, names: list[str], now: Any) -> Iterator[Row]:
    """Totals of each minute of the last hours, all else of each hour, where they stand by now.

    The last purge was nearly an hour ago.
    """
    writers = [uuid.uuid4() for _ in range(_WORKERS)]
    minutes = 180 if what == TOTAL else 0
    times = [begin_of(MINUTE, now) - ago * MINUTE for ago in range(minutes)]
    times += [begin_of(HOUR, now) - ago * HOUR for ago in range(3 if minutes else 0, 30 * 24)]
    for at in times:
        merged, writer = span_of(what, at, now - HOUR)
        for name in names:
            for own in writers if writer is None else [writer]:
                yield what, merged, name, own, 20, 2, 1, 1, None


def page(url: str, requests: int) -> dict[str, Any]:
    """How long the page takes for each period: the median and the slowest of some, in ms."""
    state = host(url, INTERACTION_MAIL_ACCESS="host")
    client = state.app.test_client()
    taken: dict[str, list[float]] = {}
    for number in range(requests + 1):
        for period in ("hour", "day", "week", "month"):
            start = time.perf_counter()
            answer = client.get(f"/admin/messaging/activity/?last={period}")
            seconds = time.perf_counter() - start
            if answer.status_code != 200 or b"d0.example" not in answer.data:
                raise SystemExit(f"{answer.status}: {answer.text[:500]}")
            if number:  # the first one loads the code and compiles the template
                taken.setdefault(period, []).append(seconds * 1e3)
    return {
        "median": {period: statistics.median(times) for period, times in taken.items()},
        "worst": {period: max(times) for period, times in taken.items()},
    }
