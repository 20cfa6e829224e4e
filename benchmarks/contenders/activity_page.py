"""The page Activity of an outbox with a busy month behind it."""

from __future__ import annotations

import statistics
import time
from typing import Any

from flask_interaction_mail import clock
from flask_interaction_mail.outbox import tally
from flask_interaction_mail.outbox.counts import (
    DAY,
    DOMAIN,
    HOUR,
    KIND,
    LATENCY,
    MOST,
    REFUSAL,
    TOTAL,
    Document,
    Sums,
    hours_before,
    merged,
    rows_of,
)

from .ours import host

_WORKERS = 4
_NAMES = {  # in every hour
    TOTAL: [str(minute) for minute in range(60)],
    KIND: [f"kind {number}" for number in range(10)],
    DOMAIN: [f"d{number}.example" for number in range(MOST)],
    LATENCY: [str(number) for number in range(20, 60)],
    REFUSAL: [f"550 5.7.{number} No" for number in range(50)],
}


def count(url: str) -> dict[str, float]:
    """Write the counts of a month, in which four workers were busy all the time."""
    state, now, sums = host(url), clock.now(), Sums()
    last = hours_before(now - HOUR)  # the last purge was nearly an hour ago
    for ago in range(1, 30 * 24):
        sums.add(merged(row, now - HOUR) for row in rows_of(last - ago * HOUR, _hour()))
    rows = sums.rows()
    tally.replace(state.database, now + DAY, rows, {})
    with state.database.writing() as connection:
        for _ in range(_WORKERS):
            hours = range(int((now - last) / HOUR) + 1)
            tally._insert(connection, {last + ahead * HOUR: _hour() for ahead in hours})
    return {"rows": len(rows)}


def _hour() -> Document:
    """What a worker counts in an hour."""
    numbers = {"sent": 20, "deferred": 2, "failed": 1, "held": 1}
    return {
        f"{what} {status}": dict.fromkeys(names, number)
        for what, names in _NAMES.items()
        for status, number in numbers.items()
    }


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
