"""The plan for much mail, and the simulated day that checks it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scale.__main__ import _plans
from scale.capacity import DAY, HOUR, PROBE, Costs, Plan, Site
from scale.simulation import NOON, Day, daily_curve, play

COSTS = Costs(
    worker_cpu=100e-6,
    notice_cpu=25e-6,
    store_busy=400e-6,
    attempt_busy=100e-6,
    store_rows=2,
    attempt_rows=4,
    purge_rows=3,
    store_log=2000,
    attempt_log=4000,
    disk=6000,
)
# Small, so that a day is soon over; one burst, one refusal in ten.
SITE = Site(messages=864_000, bursts=1, refused=0.1, connections=4, relay_seconds=0.1)
PLAN = Plan(COSTS, SITE)


@pytest.fixture(scope="module")
def usual() -> Day:
    """What a day comes to."""
    return play(PLAN, seed=1)


def with_(**changes: float) -> Plan:
    return Plan(COSTS, replace(SITE, **changes))


def test_a_worker_is_as_fast_as_its_core_or_its_relay() -> None:
    """Whichever is slower; of its core the notices of all commits go off first."""
    assert PLAN.worker_rate == 4 / 0.1
    notices = 80 * 25e-6  # two times the busiest hour's forty a second
    free = (0.7 - notices) / 100e-6
    assert with_(connections=100_000).worker_rate == pytest.approx(free)


def test_a_plan_whose_notices_keep_every_worker_busy_cannot_be_had() -> None:
    """It is left out of the table, and the others stand there."""
    dear = replace(COSTS, notice_cpu=78e-6)
    assert Plan(dear, Site(messages=10e6)).possible
    assert not Plan(dear, Site(messages=100e6)).possible
    assert _plans(dear).columns == ["messages a day", "1,000,000", "10,000,000"]
    assert _plans(COSTS).columns[-1] == "100,000,000"


def test_the_plan_of_a_round_number() -> None:
    """Ten a second, forty in the busiest hour, two workers with some to spare."""
    assert (PLAN.mean, PLAN.peak) == (10, 40)
    assert PLAN.attempts == pytest.approx(10 / 9)
    assert PLAN.workers == 2  # 40 x 10/9 x 1.5 = 66.7 of 40 each
    assert PLAN.capacity == 80
    assert PLAN.relays == 1
    assert PLAN.written(40, 80) == 40 * 2 + 80 * 4
    assert PLAN.logged(40, 80) == 40 * 2000 + 80 * 4000
    assert PLAN.busy == pytest.approx(80 * 400e-6 + 80 * 100e-6)
    assert PLAN.databases == 1
    assert PLAN.disk == 864_000 * 6000 * 14


@pytest.mark.parametrize("peak", [1.0, 2.0, 4.0, 8.0])
def test_the_curve_has_its_mean_and_its_peak(peak: float) -> None:
    """Over the day it comes to one, in the busiest hour to the peak, and it never stops."""
    curve = daily_curve(peak)
    day = [curve(second) for second in range(0, DAY, 30)]
    busiest = [curve(NOON - HOUR // 2 + second) for second in range(0, HOUR, 30)]
    assert sum(day) / len(day) == pytest.approx(1, rel=0.01)
    assert sum(busiest) / len(busiest) == pytest.approx(peak, rel=0.01)
    assert min(day) > 0


def test_a_peak_that_no_day_can_have_is_refused() -> None:
    """Less than the mean, or all mail in one moment."""
    for peak in (0.5, 100):
        with pytest.raises(ValueError, match="out of reach"):
            daily_curve(peak)


def test_the_same_seed_gives_the_same_day(usual: Day) -> None:
    """Chance comes from the seed and from nowhere else."""
    assert play(PLAN, seed=1) == usual
    assert play(PLAN, seed=2) != usual


def test_an_ordinary_day_keeps_to_the_plan(usual: Day) -> None:
    """Everything leaves, with the retries of the formula, and almost nothing waits."""
    assert usual.arrived == pytest.approx(864_000, rel=0.01)
    assert usual.sent + usual.left == usual.arrived
    assert usual.left < 0.001 * usual.arrived
    assert usual.attempts / usual.sent == pytest.approx(PLAN.attempts, rel=0.01)
    assert usual.longest_wait <= PLAN.burst_wait + 5
    assert usual.rows <= PLAN.written(*PLAN.worst) * 1.05
    assert usual.recovered is None


def test_a_burst_above_the_capacity_waits_as_computed() -> None:
    """Five times the peak for a minute."""
    plan = with_(burst=5)
    assert play(plan, seed=1).longest_wait == pytest.approx(plan.burst_wait, rel=0.05)


def test_an_outage_keeps_to_the_plan() -> None:
    """The queue and the wait as computed; it recovers sooner, because the peak does not last."""
    day = play(PLAN, seed=1, outage_at=NOON - HOUR // 2)
    assert day.longest_queue == pytest.approx(PLAN.outage_queue, rel=0.1)
    assert HOUR <= day.longest_wait <= PLAN.outage_wait
    assert day.recovered is not None
    assert 0 < day.recovered <= PLAN.recovery
    assert day.sent + day.left == day.arrived
    assert day.left < 0.001 * day.arrived


def test_without_an_answer_nothing_leaves_and_nothing_is_lost() -> None:
    """An outage that lasts until the end of the day leaves everything in the queue."""
    start = 20 * HOUR
    day = play(with_(outage=DAY), seed=1, outage_at=start)
    assert day.recovered is None
    assert day.longest_queue > 0
    assert day.longest_wait < PROBE  # of those that were tried before it
    assert day.sent + day.left == day.arrived
    assert day.left >= day.longest_queue


def test_dropping_a_day_makes_mail_wait_and_loses_none(usual: Day) -> None:
    """What could not be stored meanwhile is stored afterwards, and only then begins to wait."""
    day = play(with_(drop=3 * HOUR), seed=1)
    assert day.arrived == usual.arrived
    assert day.sent + day.left == day.arrived
    assert day.longest_queue > usual.longest_queue


def test_a_purge_by_rows_writes_more(usual: Day) -> None:
    """Three rows a message, as fast as it is let."""
    more = play(with_(purged=50), seed=1).rows - usual.rows
    assert 0 < more <= 50 * COSTS.purge_rows
