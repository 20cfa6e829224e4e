"""How many connections there are, by what they bring."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flask_interaction_mail.delivery.concurrency import Concurrency


def driven(
    concurrency: Concurrency,
    rate: Callable[[int], float],
    seconds: float,
    *,
    start: float = 0,
    busy: bool = True,
) -> list[int]:
    """The numbers that ``concurrency`` had, where ``rate`` says what so many bring a second."""
    had, now, done = [concurrency.count], start, 0.0
    while now < start + seconds:
        now += 0.01
        done += rate(concurrency.count) / 100
        concurrency.note(now, int(done), busy=busy)
        done -= int(done)
        if concurrency.count != had[-1]:
            had.append(concurrency.count)
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
    assert driven(Concurrency(most), rate, 9) == had


def test_what_did_not_pay_is_tried_again_later() -> None:
    """The server may have been busy."""
    concurrency = Concurrency(16)
    driven(concurrency, lambda count: min(ideal(count), 80.0), 9)
    assert driven(concurrency, ideal, 60, start=60) == [4, 8, 16]


def test_time_without_work_for_all_says_nothing() -> None:
    """A few messages do not show what many connections would bring."""
    assert driven(Concurrency(16), ideal, 30, busy=False) == [4]


def test_a_server_that_gets_slower_has_fewer() -> None:
    """Half of them, once a message takes more than twice as long."""
    concurrency = Concurrency(8)
    assert driven(concurrency, ideal, 10) == [4, 8]
    assert driven(concurrency, lambda count: ideal(count) / 3, 10, start=10) == [8, 4]


def test_what_a_server_takes_is_not_exceeded() -> None:
    """Neither what it has shown now, nor what is known from before."""
    concurrency = Concurrency(16)
    concurrency.refused(0, 3)
    assert driven(concurrency, ideal, 50) == [3]
    concurrency.refused(50, 0)
    assert concurrency.count == concurrency.limit == 1
    concurrency.refused(50, 5)  # more than that is no news
    assert concurrency.limit == 1
    known = Concurrency(16)
    known.refused(0, 5)
    assert driven(known, ideal, 50) == [4, 5]


def test_what_a_server_takes_may_be_more_a_minute_later() -> None:
    """One more is tried each minute; whoever is refused again is back at once."""
    concurrency = Concurrency(16)
    concurrency.refused(0, 3)
    assert driven(concurrency, ideal, 100) == [3, 4]
    concurrency.refused(100, 3)
    assert driven(concurrency, ideal, 50, start=100) == [3]
    assert driven(concurrency, ideal, 200, start=150) == [3, 4, 5, 6, 7]


def test_slow_refusals_say_nothing_of_the_throughput() -> None:
    """Each connection waits for itself: as many as at first, or as the server takes."""
    concurrency = Concurrency(16)
    concurrency.refused(0, 1)
    counts = []
    for now in range(0, 330, 8):
        concurrency.slow_refusals(now)
        concurrency.note(now, 1, busy=False)
        counts.append(concurrency.count)
    assert sorted(counts) == counts
    assert set(counts) == {1, 2, 3, 4}
    concurrency.throttled(330)
    concurrency.slow_refusals(335)
    assert concurrency.count == 2


def test_a_server_that_has_enough_is_left_alone_for_a_while() -> None:
    """Half of the connections, and after a minute more again."""
    concurrency = Concurrency(16)
    driven(concurrency, ideal, 10)
    concurrency.throttled(10)
    assert driven(concurrency, ideal, 50, start=10) == [8]
    assert driven(concurrency, ideal, 30, start=60) == [8, 16]


def test_a_server_that_tells_each_connection_that_it_has_enough_means_the_same() -> None:
    """One of eight hears it after the other: half of them go, and not all but one."""
    concurrency = Concurrency(16)
    driven(concurrency, ideal, 10)
    before = concurrency.count
    for told in range(8):
        concurrency.throttled(10 + told / 10)
    assert concurrency.count == before // 2
    concurrency.throttled(20)
    assert concurrency.count == before // 4
