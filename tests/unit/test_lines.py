"""How many connections there are, by what they bring."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flask_interaction_mail.delivery.lines import Lines


def driven(
    lines: Lines,
    rate: Callable[[int], float],
    seconds: float,
    *,
    start: float = 0,
    busy: bool = True,
) -> list[int]:
    """The numbers that ``lines`` had, where ``rate`` says what so many bring a second."""
    had, now, done = [lines.count], start, 0.0
    while now < start + seconds:
        now += 0.01
        done += rate(lines.count) / 100
        lines.note(now, int(done), busy=busy)
        done -= int(done)
        if lines.count != had[-1]:
            had.append(lines.count)
    return had


def ideal(count: int) -> float:
    return 20.0 * count


@pytest.mark.parametrize(
    ("most", "rate", "had"),
    [
        (16, ideal, [4, 8, 16]),
        (10, ideal, [4, 8, 10]),
        (3, ideal, [3]),
        (1, ideal, [1]),
        (16, lambda _: 300.0, [4, 8, 4]),  # the fourth one has brought all there is
        (16, lambda count: min(20.0 * count, 165.0), [4, 8, 16, 8]),
    ],
)
def test_connections_double_while_that_pays(
    most: int, rate: Callable[[int], float], had: list[int]
) -> None:
    """A number that did not pay is left, and for ten seconds not tried again."""
    assert driven(Lines(most), rate, 9) == had


def test_what_did_not_pay_is_tried_again_later() -> None:
    """The server may have been busy."""
    lines = Lines(16)
    driven(lines, lambda count: min(ideal(count), 80.0), 9)
    assert driven(lines, ideal, 60, start=60) == [4, 8, 16]


def test_time_without_work_for_all_says_nothing() -> None:
    """A few messages do not show what many connections would bring."""
    assert driven(Lines(16), ideal, 30, busy=False) == [4]


def test_a_server_that_gets_slower_has_fewer() -> None:
    """Half of them, once a message takes more than twice as long."""
    lines = Lines(8)
    assert driven(lines, ideal, 10) == [4, 8]
    assert driven(lines, lambda count: ideal(count) / 3, 10, start=10) == [8, 4]


def test_what_a_server_takes_is_not_exceeded() -> None:
    """Neither what it has shown now, nor what is known from before."""
    lines = Lines(16)
    lines.refused(0, 3)
    assert driven(lines, ideal, 50) == [3]
    lines.refused(50, 0)
    assert lines.count == lines.limit == 1
    lines.refused(50, 5)  # more than that is no news
    assert lines.limit == 1
    known = Lines(16)
    known.refused(0, 5)
    assert driven(known, ideal, 50) == [4, 5]


def test_what_a_server_takes_may_be_more_a_minute_later() -> None:
    """One more is tried each minute; whoever is refused again is back at once."""
    lines = Lines(16)
    lines.refused(0, 3)
    assert driven(lines, ideal, 100) == [3, 4]
    lines.refused(100, 3)
    assert driven(lines, ideal, 50, start=100) == [3]
    assert driven(lines, ideal, 200, start=150) == [3, 4, 5, 6, 7]


def test_refusals_that_are_held_back_say_nothing_of_the_line() -> None:
    """Each connection waits for itself: as many as at first, or as the server takes."""
    lines = Lines(16)
    lines.refused(0, 1)
    counts = []
    for now in range(0, 330, 8):
        lines.held_back(now)
        lines.note(now, 1, busy=False)
        counts.append(lines.count)
    assert sorted(counts) == counts
    assert set(counts) == {1, 2, 3, 4}
    lines.crowded(330)
    lines.held_back(335)
    assert lines.count == 2


def test_a_server_that_has_enough_is_left_alone_for_a_while() -> None:
    """Half of the connections, and after a minute more again."""
    lines = Lines(16)
    driven(lines, ideal, 10)
    lines.crowded(10)
    assert driven(lines, ideal, 50, start=10) == [8]
    assert driven(lines, ideal, 30, start=60) == [8, 16]


def test_a_server_that_tells_each_connection_that_it_has_enough_means_the_same() -> None:
    """One of eight hears it after the other: half of them go, and not all but one."""
    lines = Lines(16)
    driven(lines, ideal, 10)
    before = lines.count
    for told in range(8):
        lines.crowded(10 + told / 10)
    assert lines.count == before // 2
    lines.crowded(20)
    assert lines.count == before // 4
