"""Whether a mail server is close, by how long its answers took."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest

from flask_interaction_mail.claimed import Attempt
from flask_interaction_mail.distance import Distance

NOW = datetime(2026, 11, 26, tzinfo=UTC).replace(tzinfo=None)


def after(*batches: Iterable[float]) -> bool:
    """Whether it is close after attempts that took so many ms, as they came."""
    distance = Distance()
    for batch in batches:
        distance.note(
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
    return distance.close


@pytest.mark.parametrize(
    ("batches", "close"),
    [
        ([], True),
        ([[0.3] * 40] * 3, True),
        ([[45.0]], True),  # once, on a busy machine
        ([[20.0], [0.3] * 40] * 20, True),  # forgotten each time
        ([[60.0]], False),
        ([[20.0]] * 3, False),
        ([[2.0] * 10] * 6, False),
        ([[2.0] * 10] * 4, True),  # as far as is known
        ([[0.3], []], False),  # nothing at all came
        ([[20.0]] * 3 + [[0.3] * 1000], False),  # with several connections times say less
    ],
)
def test_a_server_is_close_until_it_has_kept_its_worker_waiting(
    batches: list[list[float]], close: bool
) -> None:
    """Fifty milliseconds more than a millisecond for each, without quick ones between."""
    assert after(*batches) is close
