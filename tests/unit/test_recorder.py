"""How many messages are recorded together."""

from __future__ import annotations

import pytest

from flask_interaction_mail.delivery.recorder import fitting


def settled(statement: float, message: float, commit: float, *, begin: int = 60) -> int:
    """Where it ends on a database with these times, in s, when there is always enough to do."""
    fits = begin
    for _ in range(100):
        fits = fitting(fits, fits, statement + fits * message, commit)
    return fits


@pytest.mark.parametrize("begin", [40, 60, 200])
def test_a_record_takes_three_and_a_half_milliseconds(begin: int) -> None:
    """With its commit, wherever it began: 60 messages, if each takes 40 \u00b5s."""
    assert settled(0.0, 40e-6, 0.0011, begin=begin) == pytest.approx(60, abs=3)


def test_fewer_than_thirty_would_not_be_quicker() -> None:
    """By then most of the time is the statements', not the messages'."""
    assert settled(0.003, 100e-6, 0.001) == 30


def test_more_than_two_hundred_are_never_held_together() -> None:
    """However fast the database is."""
    assert settled(0.0, 1e-6, 0.0001) == 200


def test_a_slow_commit_is_shared_by_more() -> None:
    """Where the disk alone takes 20 ms, few messages in a record would not make it quick."""
    assert settled(0.0, 200e-6, 0.020) == pytest.approx(100, abs=4)


def test_one_slow_record_changes_little() -> None:
    """The next ones say whether it is so."""
    assert fitting(100, 100, 1.0, 0.001) == 75
    assert fitting(100, 100, 0.0, 0.001) == 125


def test_a_few_messages_tell_nothing_about_many() -> None:
    """Their record takes as long as its statements do."""
    assert fitting(100, 3, 0.003, 0.001) == 100
