"""Measures what a message costs, makes plans from that, and simulates days to check a plan.

python -m scale [--rounds N] also writes docs/scale-result.md.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import fields

from benchmarks import report
from benchmarks.harness import ROOT, Figure, Goal, Options, Spread, Table, child, number, progress
from benchmarks.servers import database, dialects, scratch, sink

from .capacity import DAY, HOUR, Costs, Plan, Site
from .simulation import NOON, Day, play

PAGE = ROOT / "docs" / "scale-result.md"
_SEEDS = range(1, 6)
_VOLUMES = (1e6, 10e6, 100e6)
_PARTS = (0, 15, 90)  # days
_BATCH, _CLAIMS = 400, 15  # PostgreSQL settles on a plan after some of them
_COSTS = {
    "worker_cpu": ("a worker's core, for an attempt, µs", 1e6),
    "notice_cpu": ("each worker's core, for the notice that it is there, µs", 1e6),
    "store_busy": ("the database, to store it in a transaction of its own, µs", 1e6),
    "attempt_busy": ("the database, for an attempt, µs", 1e6),
    "store_rows": ("rows written to store it", 1),
    "attempt_rows": ("rows written for an attempt", 1),
    "purge_rows": ("rows deleted, where days are not dropped", 1),
    "store_log": ("the database's log, to store it, bytes", 1),
    "attempt_log": ("the database's log, for an attempt, bytes", 1),
    "disk": ("disk when it is delivered, indexes included, bytes", 1),
}


def measure(options: Options) -> Figure:
    figure = Figure("9", "A hundred million messages a day: costs, plan, simulation")
    if "postgresql" not in dialects():
        return figure
    samples = [_measured(options) for _ in range(options.rounds)]
    costs = {
        cost.name: Spread.of([sample[cost.name] for sample in samples]) for cost in fields(Costs)
    }
    median = Costs(**{name: spread.median for name, spread in costs.items()})
    figure.tables += [_costs(costs), _claims(options), _plans(median)]
    plan = Plan(median, Site())
    if plan.possible:
        _check(figure, plan)
    else:
        figure.goals.append(_simulated(math.inf))
    return figure


def _measured(options: Options) -> dict[str, float]:
    with sink() as port, database("postgresql", options) as url:
        count = options.size(2000, 400)
        done: dict[str, float] = child(
            "scale.costs", "costs", url=url, port=port, count=count, days=Site().kept
        )
    progress(", ".join(f"{name} {done[name]:.4g}" for name in _COSTS))
    return done


def _costs(costs: dict[str, Spread]) -> Table:
    table = Table("What one message costs", ["", "median", "min", "max"])
    for name, (text, factor) in _COSTS.items():
        spread = costs[name]
        cells = (spread.median * factor, spread.low * factor, spread.high * factor)
        table.rows.append([text, *map(number, cells)])
    return table


def _claims(options: Options) -> Table:
    """A claim reads every partition of the tables."""
    table = Table(f"A claim of {_BATCH}, by the number of days", ["", "median ms", "min", "max"])
    for days in _PARTS:
        with database("postgresql", options) as url:
            child("scale.costs", "queue", url=url, count=_BATCH * _CLAIMS, days=days)
            given = {"url": url, "batch": _BATCH, "count": _CLAIMS}
            done = [child("scale.costs", "claim", **given)["claim"] for _ in range(options.rounds)]
        spread = Spread.of(done)
        cells = map(number, (spread.median, spread.low, spread.high))
        table.rows.append([f"{days} days" if days else "tables that are not divided", *cells])
        progress(f"{days} days: {spread.median:.1f} ms")
    return table


def _plans(costs: Costs) -> Table:
    """Only possible plans: notices may cost the workers of one database all their time."""
    plans = [Plan(costs, Site(messages=messages)) for messages in _VOLUMES]
    plans = [plan for plan in plans if plan.possible]
    volumes = (f"{plan.site.messages:,.0f}" for plan in plans)
    table = Table("What that needs", ["messages a day", *volumes])
    for text, cells in _figures(plans).items():
        table.rows.append([text, *map(_cell, cells)])
    return table


def _cell(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else number(value)


def _figures(plans: list[Plan]) -> dict[str, list[float]]:
    return {
        "messages a second, mean": [plan.mean for plan in plans],
        "messages a second, busiest hour": [plan.peak for plan in plans],
        "attempts a second of one worker": [plan.worker_rate for plan in plans],
        "workers": [plan.workers for plan in plans],
        "attempts a second of all workers": [plan.capacity for plan in plans],
        "relays": [plan.relays for plan in plans],
        "busy database sessions, at worst": [plan.busy for plan in plans],
        "databases": [plan.databases for plan in plans],
        "rows a second, at worst": [plan.written(*plan.worst) for plan in plans],
        "log, MB a second, at worst": [plan.logged(*plan.worst) / 1e6 for plan in plans],
        "log, GB a day": [
            plan.logged(plan.mean, plan.mean * plan.attempts) * DAY / 1e9 for plan in plans
        ],
        "disk for the days kept, GB": [plan.disk / 1e9 for plan in plans],
    }


def _check(figure: Figure, plan: Plan) -> None:
    """Simulate days with and without an outage, and compare them with the formulae."""
    usual = [play(plan, seed=seed) for seed in _SEEDS]
    broken = [play(plan, seed=seed, outage_at=NOON - HOUR // 2) for seed in _SEEDS]
    table = Table("Formulae and simulation", ["", "formula", "simulated, worst", "difference"])
    worst = 0.0
    for text, (expected, seen) in (_usual(plan, usual) | _outage(plan, broken)).items():
        share = seen / expected - 1 if expected else 0.0
        worst = max(worst, share)
        table.rows.append([text, number(expected), number(seen), f"{share:+.0%}"])
    figure.tables.append(table)
    figure.goals.append(_simulated(1 + worst))


def _simulated(worst: float) -> Goal:
    spread = Spread(worst, worst, worst)
    return Goal("what was simulated, by its formula, at most", "<=", 1.2, spread)


def _usual(plan: Plan, days: list[Day]) -> dict[str, tuple[float, float]]:
    return {
        "messages stored, millions": (
            plan.mean * DAY / 1e6,
            max(day.arrived for day in days) / 1e6,
        ),
        "attempts a message": (plan.attempts, max(day.attempts / day.sent for day in days)),
        "longest wait of a fresh message, s": (
            plan.burst_wait,
            max(day.longest_wait for day in days),
        ),
        "rows a second, busiest minute": (
            plan.written(*plan.worst),
            max(day.rows for day in days),
        ),
        "log, MB a second, busiest minute": (
            plan.logged(*plan.worst) / 1e6,
            max(day.logged for day in days) / 1e6,
        ),
    }


def _outage(plan: Plan, days: list[Day]) -> dict[str, tuple[float, float]]:
    recovered = [float(DAY if day.recovered is None else day.recovered) for day in days]
    return {
        "outage: longest queue, millions": (
            plan.outage_queue / 1e6,
            max(day.longest_queue for day in days) / 1e6,
        ),
        "outage: longest wait of a fresh message, s": (
            plan.outage_wait,
            max(day.longest_wait for day in days),
        ),
        "outage: s until no fresh message waits": (plan.recovery, max(recovered)),
        "outage: rows a second, busiest minute": (
            plan.written(*plan.worst),
            max(day.rows for day in days),
        ),
    }


_HEAD = """---
orphan: true
---

# Figures of scale.md

Written by `python -m scale`. Do not edit.

<!-- figures -->

Measured on {when} at commit {commit} in {rounds} rounds, with Python {python} on {cores} cores
({cpu}): medians, with minimum and maximum. Database, worker and mail server shared those cores.
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m scale")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    figure = measure(Options(rounds=given.rounds, quick=False, folder=scratch()))
    report.show(figure, 0)
    if figure.tables:
        head = _HEAD.format(rounds=given.rounds, **report._machine())
        parts = [head, *map(report._markdown, figure.tables)]
        PAGE.write_text("\n".join(parts), encoding="utf-8")
        print(f"written: {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
