"""What counting costs while a queue is emptied, and the page that is made of the counts."""

from __future__ import annotations

from functools import partial

from .harness import (
    Figure,
    Goal,
    Options,
    Spread,
    Table,
    child,
    interleaved,
    number,
    progress,
    rates,
    ratio,
)
from .servers import database, dialects, settle, sink

WITH, WITHOUT = "with counts", "without"
_NOT_SLOWER = 0.95
_PAIRS = 4  # in each round, as the difference is smaller than the noise of one
_MEDIAN, _WORST = 50, 150  # ms
_PERIODS = ("hour", "day", "week", "month")


def measure(options: Options) -> Figure:
    figure = Figure("12", "Activity: counts, and their page")
    for dialect in dialects():
        for domains in (1, 200):
            _drain(figure, dialect, domains, options)
    for dialect in dialects():
        _page(figure, dialect, options)
    return figure


def _drain(figure: Figure, dialect: str, domains: int, options: Options) -> None:
    count = options.size(5_000, 200)
    with (
        sink() as port,
        database(dialect, options) as counted,
        database(dialect, options) as uncounted,
    ):
        samples = interleaved(
            options.rounds * _PAIRS,
            {
                WITH: partial(_rate, counted, port, count, domains, counted=True),
                WITHOUT: partial(_rate, uncounted, port, count, domains, counted=False),
            },
        )
    what = "recipients in one domain" if domains == 1 else f"recipients in {domains} domains"
    figure.tables.append(rates(f"{dialect}: draining, {what}", samples, WITHOUT))
    reached = ratio(samples, WITH, WITHOUT)
    figure.goals.append(Goal(f"{dialect}: draining, {what}", ">=", _NOT_SLOWER, reached))


def _rate(url: str, port: int, count: int, domains: int, *, counted: bool) -> float:
    child("ours", "fill", url=url, port=port, count=count, domains=domains)
    return float(child("ours", "drain", url=url, port=port, count=count, counted=counted)["rate"])


def _page(figure: Figure, dialect: str, options: Options) -> None:
    longest = options.size(1_000_000, 20_000)
    columns = ["messages", *(f"{period}: median (slowest)" for period in _PERIODS)]
    table = Table(f"{dialect}: the page, ms", columns)
    table.note = (
        "A tenth of the messages waits. The counts are those of four workers that were busy for 30 "
        "days, with 200 domains, 50 refusals and 10 kinds in each hour."
    )
    medians, slowest = list[float](), list[float]()
    for length in (1000, longest):
        with database(dialect, options) as url:
            child("long_queues", "grow", url=url, queued=length // 10, sent=length - length // 10)
            counted = child("activity_page", "count", url=url)
            settle(url)
            progress(f"{dialect}: {length:,} messages, {counted['rows']:,} rows of counts")
            rounds = [
                child("activity_page", "page", url=url, requests=options.size(25, 5))
                for _ in range(options.rounds)
            ]
        medians = [max(found["median"].values()) for found in rounds]
        slowest = [max(found["worst"].values()) for found in rounds]
        table.rows.append([f"{length:,}", *(_cell(rounds, period) for period in _PERIODS)])
    figure.tables.append(table)
    title = f"{dialect}: the page at {longest:,} messages"
    figure.goals += [
        Goal(f"{title}, median of the slowest period", "<=", _MEDIAN, Spread.of(medians), "ms"),
        Goal(f"{title}, slowest", "<=", _WORST, Spread.of(slowest), "ms"),
    ]


def _cell(rounds: list[dict[str, dict[str, float]]], period: str) -> str:
    median = Spread.of([found["median"][period] for found in rounds]).median
    return f"{number(median)} ({number(max(found['worst'][period] for found in rounds))})"
