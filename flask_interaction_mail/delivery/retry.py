"""When a message is tried again, and when it is given up.

Times are naive UTC, as in the database; the present and chance are arguments.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import accumulate, chain, repeat
from typing import Final

# After each attempt; the last delay also follows all further attempts. Greylisting servers accept
# a message after five to ten minutes, which the first two delays reach.
DELAYS = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 15, 30, 60, 120, 240))
JITTER = 0.2  # a delay is longer by up to this share, so that a backlog is spread
GIVE_UP_AFTER = timedelta(days=5)  # RFC 5321 §4.5.4.1: at least four to five days
# The attempt at which the delays add up to that. Attempts are counted instead of days, so that a
# message loses no time before its ``send_at``, or while it is held, paused or without a server.
LAST_ATTEMPT: Final = 1 + sum(
    1
    for waited in accumulate(chain(DELAYS, repeat(DELAYS[-1], GIVE_UP_AFTER // DELAYS[-1])))
    if waited < GIVE_UP_AFTER
)


def next_delay(attempts: int, chance: float) -> timedelta:
    """How long to wait after the attempt number ``attempts`` (from 1).

    ``chance`` in [0, 1) says how much of the jitter is taken.

    Raises:
        ValueError: ``attempts`` is less than 1, or ``chance`` is not in [0, 1).
    """
    if attempts < 1:
        raise ValueError(f"attempts are counted from 1, this is {attempts}")
    if not 0 <= chance < 1:
        raise ValueError(f"chance must be in [0, 1), this is {chance}")
    return DELAYS[min(attempts, len(DELAYS)) - 1] * (1 + JITTER * chance)


def next_attempt(
    *, attempts: int, expires_at: datetime | None, now: datetime, chance: float
) -> datetime | None:
    """When a message is tried again after its attempt number ``attempts``; None to give it up.

    A message with ``expires_at`` is due again at that time at the latest.

    Raises:
        ValueError: as ``next_delay``.
    """
    again = now + next_delay(attempts, chance)
    if attempts >= LAST_ATTEMPT or (expires_at is not None and expires_at <= now):
        return None
    return again if expires_at is None else min(again, expires_at)
