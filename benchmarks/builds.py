"""Today's build beside an earlier one: draining, storing, starting."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from pathlib import Path

from .drain import our_rate
from .earlier import BEFORE_ROOMS, checkout
from .harness import (
    PINNED,
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
    progress,
    ratio,
)
from .servers import database, dialects, sink

TODAY = "today's"
_MOST = 1.05  # times what it took before; what is above is slower, not noise

Builds = dict[str, Path]


def measure(options: Options) -> Figure:
    figure = Figure("9", "Today's build beside an earlier one")
    builds = _builds()
    for dialect in dialects():
        _drains(figure, dialect, builds, options)
        _stores(figure, dialect, builds, options)
    _starts(figure, builds, options)
    return figure


def _builds() -> Builds:
    before = checkout(BEFORE_ROOMS)
    return {TODAY: ROOT} | ({BEFORE_ROOMS: before} if before else {})


def _drains(figure: Figure, dialect: str, builds: Builds, options: Options) -> None:
    count = options.size(10_000, 200)
    with ExitStack() as stack:
        port = stack.enter_context(sink())
        contenders = {
            name: partial(
                our_rate, stack.enter_context(database(dialect, options)), port, count, root=root
            )
            for name, root in builds.items()
        }
        taken = {
            name: [1e6 / rate for rate in rates]
            for name, rates in interleaved(options.rounds, contenders).items()
        }
    _show(figure, f"{dialect}: draining, µs a message", taken)


def _stores(figure: Figure, dialect: str, builds: Builds, options: Options) -> None:
    count = options.size(1000, 100)
    alone: Samples = {name: [] for name in builds}
    together: Samples = {name: [] for name in builds}
    with ExitStack() as stack:
        urls = {name: stack.enter_context(database(dialect, options)) for name in builds}
        for _ in range(options.rounds):
            for name, root in builds.items():
                done = child("enqueueing", "enqueue", root=root, url=urls[name], count=count)
                alone[name].append(done["one"])
                together[name].append(done["many"])
                progress(f"{name}: {done['one']:.0f} µs alone, {done['many']:.0f} µs of 1,000")
    _show(figure, f"{dialect}: storing one in the host's transaction, µs", alone)
    _show(figure, f"{dialect}: storing 1,000 in one transaction, µs a message", together)


def _starts(figure: Figure, builds: Builds, options: Options) -> None:
    taken: Samples = {name: [] for name in builds}
    for _ in range(options.rounds):
        starts: Samples = {name: [] for name in builds}
        for _ in range(options.size(8, 3)):
            for name, root in builds.items():
                starts[name].append(child("bare", "start_with", root=root, cpu=PINNED)["ms"])
        for name, values in starts.items():
            taken[name].append(Spread.of(values).median)
    _show(figure, "importing everything, and init_app, ms", taken)


def _show(figure: Figure, title: str, taken: Samples) -> None:
    table = Table(title, ["build", "median", "min", "max", "today's takes"])
    for name, values in taken.items():
        spread, share = Spread.of(values), ratio(taken, TODAY, name)
        cells = map(number, (spread.median, spread.low, spread.high))
        table.rows.append(
            [name, *cells, f"{share.median:.2f} ({share.low:.2f}–{share.high:.2f}) of it"]
        )
    figure.tables.append(table)
    if BEFORE_ROOMS in taken:
        text = f"{title}: today's against {BEFORE_ROOMS}"
        figure.goals.append(Goal(text, "<=", _MOST, ratio(taken, TODAY, BEFORE_ROOMS)))
