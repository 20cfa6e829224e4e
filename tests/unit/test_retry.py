"""The schedule of retries, and its end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_interaction_mail.delivery.retry import (
    GIVE_UP_AFTER,
    JITTER,
    LAST_ATTEMPT,
    next_attempt,
    next_delay,
)

START = datetime(2026, 11, 23, 12, 0, tzinfo=UTC).replace(tzinfo=None)
chances = st.floats(0, 1, exclude_max=True)


def history(chance, *, expires_at=None, late=timedelta(0)):
    """When a message that is refused every time is tried, each time ``late`` by so much."""
    times, now = [START], START
    while again := next_attempt(
        attempts=len(times), expires_at=expires_at, now=now + late, chance=chance
    ):
        times.append(again)
        now = again
    return times


@pytest.mark.parametrize(
    ("attempts", "minutes"),
    [(1, 1), (2, 5), (3, 15), (4, 30), (5, 60), (6, 120), (7, 240), (8, 240), (1000, 240)],
)
def test_delays_grow_to_four_hours(attempts, minutes):
    """1, 5, 15, 30 minutes, 1, 2, 4 hours, then every 4 hours."""
    assert next_delay(attempts, 0) == timedelta(minutes=minutes)


@given(attempts=st.integers(1, 100), chance=chances)
def test_jitter_only_lengthens_and_by_a_fifth_at_most(attempts, chance):
    """Never earlier than the schedule, never later than 120 % of it."""
    plain = next_delay(attempts, 0)
    assert plain <= next_delay(attempts, chance) <= plain * (1 + JITTER)


@pytest.mark.parametrize("chance", [0, 0.999])
def test_greylisting_gets_through_within_ten_minutes(chance):
    """Two retries come within ten minutes, whatever the jitter."""
    assert history(chance)[2] - START < timedelta(minutes=10)


@given(chance=chances)
def test_given_up_once_the_delays_add_up_to_five_days(chance):
    """The 36th attempt is the last, and five days would have passed before the next."""
    tried = history(chance)
    assert len(tried) == LAST_ATTEMPT == 36
    next_one = tried[-1] + next_delay(len(tried), chance)
    assert next_one - START >= GIVE_UP_AFTER > sum(map(delay, range(1, 36)), timedelta(0))


def delay(attempts):
    return next_delay(attempts, 0)


@given(chance=chances, hours=st.integers(0, 24 * 365))
def test_time_without_an_attempt_is_not_charged(chance, hours):
    """However late each attempt comes, there are as many of them."""
    assert len(history(chance, late=timedelta(hours=hours))) == LAST_ATTEMPT


def test_own_time_limit_ends_it_earlier():
    """Nothing is planned after ``expires_at``."""
    assert history(0, expires_at=START + timedelta(minutes=5)) == [
        START,
        START + timedelta(minutes=1),
        START + timedelta(minutes=5),
    ]


def test_a_late_limit_does_not_lengthen_it():
    """``expires_at`` can only shorten."""
    assert history(0, expires_at=START + timedelta(days=50)) == history(0)


def test_own_time_limit_is_a_time_of_the_clock():
    """What comes after ``expires_at`` is no attempt, though only one was made."""
    assert history(0, expires_at=START + timedelta(days=1), late=timedelta(days=2)) == [START]


@pytest.mark.parametrize(("attempts", "chance"), [(0, 0), (-1, 0), (1, 1), (1, -0.1)])
def test_nonsense_is_refused(attempts, chance):
    """Attempts count from 1, chance is a share."""
    with pytest.raises(ValueError, match=r"must be in|counted from 1"):
        next_delay(attempts, chance)
