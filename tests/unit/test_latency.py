"""Whether a mail server is close, by how long its answers took."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest

from flask_interaction_mail.delivery.latency import LatencyMonitor
from flask_interaction_mail.outbox.claimed import Attempt

NOW = datetime(2026, 11, 26, tzinfo=UTC).replace(tzinfo=None)


def after(*batches: Iterable[float]) -> bool:
    """Whether it is close after attempts that took so many ms, as they came."""
    latency = LatencyMonitor()
    for batch in batches:
        latency.note(
            Attempt(
                started_at=NOW,
                finished_at=NOW + timedelta(milliseconds=took),
                server="mail:25",
                result="accepted",
                stage="content",
                reply=None,
                replies={},
                diverted_to=None,
            )
            for took in batch
        )
    return latency.is_local


@pytest.mark.parametrize(
    ("batches", "close"),
    [
        ([], True),
        ([[0.3] * 40] * 3, True),
        ([[20.0]] * 5, True),  # as far as is known
        ([[20.0]] * 6, False),
        ([[2.0] * 10] * 4, True),
        ([[2.0] * 10] * 6, False),
        ([[80.0, 80.0] + [0.3] * 28] * 20, True),  # a busy machine, forgotten each time
        ([[0.3], []], True),  # nothing came, once
        ([[0.3], [], []], False),
        ([[], [80.0, 80.0], [0.3] * 28], True),  # a stall as a worker sees it
        ([[20.0]] * 30 + [[0.3] * 60], False),  # it has to be quick for as long again
        ([[20.0]] * 30 + [[0.3] * 90], True),
    ],
)
def test_a_server_is_close_until_it_has_kept_its_worker_waiting(
    batches: list[list[float]], close: bool
) -> None:
    """Fifty milliseconds more than a millisecond for each, of which one counts as ten at most."""
    assert after(*batches) is close
