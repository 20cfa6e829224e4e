"""Emptying a queue into smtp-sink, records included, and the memory that it takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from .harness import (
    ROOT,
    Figure,
    Goal,
    Options,
    Samples,
    Spread,
    Table,
    child,
    interleaved,
    number,
    rates,
    ratio,
)
from .servers import database, dialects, sink

OURS = "ours"
POST_OFFICE = "django-post_office, defaults"
BEST = "django-post_office, 2 processes of 4 threads, no log"
MAILER = "django-mailer"
# New processes a batch: the default of 100 would be slower than one process.
BEST_OPTIONS = {"THREADS_PER_PROCESS": 4, "LOG_LEVEL": 0, "BATCH_SIZE": 1000}
_GOALS = {"sqlite": (11, 7), "postgresql": (10, 5.5)}

Drains = dict[str, Callable[[], float]]


def measure(options: Options) -> Figure:
    figure = Figure("2", "Draining a queue into smtp-sink")
    for dialect in dialects():
        figure_of(figure, dialect, options)
    _memory(figure, options)
    return figure


def figure_of(figure: Figure, dialect: str, options: Options) -> None:
    count = options.size(10_000, 200)
    with (
        sink() as port,
        database(dialect, options) as ours,
        database(dialect, options) as post_office,
        database(dialect, options) as mailer,
    ):
        contenders: Drains = {
            POST_OFFICE: lambda: post_office_rate(post_office, port, count // 2),
            BEST: lambda: best_rate(post_office, port, count),
            MAILER: lambda: _mailer_rate(mailer, port, count // 10),
            OURS: lambda: our_rate(ours, port, count),
        }
        samples = interleaved(options.rounds, contenders)
    figure.tables.append(rates(f"{dialect}, one process", samples, POST_OFFICE))
    figure.goals += _goals(dialect, samples)
    figure.bars[f"drain, {dialect}, messages/s"] = {
        name: Spread.of(values).median for name, values in samples.items()
    }


def _goals(dialect: str, samples: Samples) -> list[Goal]:
    defaults, best = _GOALS[dialect]
    wanted = [
        ("against django-post_office's defaults", defaults, POST_OFFICE),
        ("against its best settings", best, BEST),
    ]
    return [
        Goal(f"{dialect}: {text}", ">=", limit, ratio(samples, OURS, peer))
        for text, limit, peer in wanted
    ]


def our_rate(url: str, port: int, count: int, *, root: Path = ROOT, **how: int) -> float:
    return float(drained(url, port, count, root, **how)["rate"])


def drained(url: str, port: int, count: int, root: Path = ROOT, **how: int) -> Any:
    """What ours tells of emptying a queue of ``count`` messages."""
    child("ours", "fill", root=root, url=url, port=port, count=count)
    return child("ours", "drain", root=root, url=url, port=port, count=count, **how)


def post_office_rate(url: str, port: int, count: int, **how: Any) -> float:
    child("django_queues", "post_office_fill", url=url, count=count)
    done = child("django_queues", "post_office_drain", url=url, port=port, count=count, **how)
    return float(done["rate"])


def best_rate(url: str, port: int, count: int) -> float:
    return post_office_rate(url, port, count, processes=2, options=BEST_OPTIONS)


def _mailer_rate(url: str, port: int, count: int) -> float:
    child("django_queues", "mailer_fill", url=url, count=count)
    done = child("django_queues", "mailer_drain", url=url, port=port, count=count)
    return float(done["rate"])


def _memory(figure: Figure, options: Options) -> None:
    table = Table("Peak memory of the process that drains", ["queue", "median MB", "min", "max"])
    for count in (options.size(1000, 100), options.size(20_000, 400)):
        with sink() as port, database("sqlite", options) as url:
            samples = [
                drained(url, port, count)["peak_memory"] for _ in range(min(3, options.rounds))
            ]
        spread = Spread.of(samples)
        cells = map(number, (spread.median, spread.low, spread.high))
        table.rows.append([f"{count:,} messages", *cells])
    figure.tables.append(table)
    figure.goals.append(Goal("peak memory, with the longer queue", "<=", 65, spread, "MB"))
