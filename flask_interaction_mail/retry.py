"""When a message is tried again, and when it is given up.

Instants are naive UTC, as in the database; the present and chance are arguments.
"""

from __future__ import annotations

from datetime import datetime, timedelta

# After each attempt the next; the last one holds for all that follow. Greylisting servers let
# a message in after five to ten minutes, which the first two reach.
DELAYS = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 15, 30, 60, 120, 240))
JITTER = 0.2  # a delay is longer by up to this share, so that a backlog does not come all at once
GIVE_UP_AFTER = timedelta(days=5)  # RFC 5321 §4.5.4.1: at least four to five days


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


def gives_up_at(created_at: datetime, expires_at: datetime | None) -> datetime:
    """When a message is too old to be tried: five days after it was made, or at its own time."""
    limit = created_at + GIVE_UP_AFTER
    return limit if expires_at is None else min(limit, expires_at)


def next_attempt(
    *,
    attempts: int,
    created_at: datetime,
    expires_at: datetime | None,
    now: datetime,
    chance: float,
) -> datetime | None:
    """When a message is tried again after its attempt number ``attempts``; None to give it up.

    The last attempt falls on the end of its time, so that none is given up before.

    Raises:
        ValueError: as ``next_delay``.
    """
    delay, limit = next_delay(attempts, chance), gives_up_at(created_at, expires_at)
    return min(now + delay, limit) if now < limit else None
