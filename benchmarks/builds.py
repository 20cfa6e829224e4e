"""Today's build beside earlier ones: speed, what it writes, and what it keeps."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial

from . import earlier, footprint
from .drain import drained
from .earlier import AHEAD, BEFORE_REDESIGN, TODAY, Build
from .harness import (
    PINNED,
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
from .servers import SQLITE, SQLITE_WAL, database, dialects, sink

Goals = dict[str, float]  # contender -> the ratio to reach
Records = dict[str, list[dict[str, float]]]  # build -> rounds -> share -> value

_FASTER: dict[str, Goals] = {
    SQLITE: {AHEAD: 1.5, BEFORE_REDESIGN: 1.7},
    "postgresql": {AHEAD: 1.7, BEFORE_REDESIGN: 2.0},
}
_NOT_SLOWER: Goals = {BEFORE_REDESIGN: 1.05}  # what is above is slower, not noise
_LESS_LOG = {footprint.STORING: 1.1, footprint.DELIVERING: 0.35, footprint.TOGETHER: 0.55}
_LESS_DISK: Goals = {BEFORE_REDESIGN: 0.5}
_IN_TIME = "within 10 ms, %"
_ONE, _TWO = "one process", "two processes"


def measure(options: Options) -> Figure:
    figure = Figure("9", "Today's build beside earlier ones")
    builds = earlier.builds()
    servers = dialects()
    for dialect in (SQLITE, SQLITE_WAL, *servers[1:]):
        _drains(figure, dialect, builds, options)
        _processes(figure, dialect, options)
        _stores(figure, dialect, builds, options)
    _starts(figure, builds, options)
    _log(figure, builds, options)
    for dialect in servers:
        _disk(figure, dialect, builds, options)
    return figure


def _drains(figure: Figure, dialect: str, builds: list[Build], options: Options) -> None:
    count = options.size(10_000, 200)
    records: Records = {build.name: [] for build in builds}
    with ExitStack() as stack:
        port = stack.enter_context(sink())
        urls = {build.name: stack.enter_context(database(dialect, options)) for build in builds}
        contenders = {
            build.name: partial(_rate, build, urls[build.name], port, count, records[build.name])
            for build in builds
        }
        samples = interleaved(options.rounds, contenders)
    title = f"{dialect}: draining, messages/s"
    _show(figure, title, samples, ">=", _FASTER.get(dialect, {}))
    _recorded(figure, dialect, records)


def _rate(build: Build, url: str, port: int, count: int, records: list[dict[str, float]]) -> float:
    done = drained(url, port, count, build.root, **build.drain)
    records.append(done["recorded"])
    return float(done["rate"])


def _recorded(figure: Figure, dialect: str, records: Records) -> None:
    title = f"{dialect}: from the server's answer to the commit of its record, at that rate"
    table = Table(title, ["of the messages", *records])
    for share in records[TODAY][0]:
        spreads = [Spread.of([taken[share] for taken in rounds]) for rounds in records.values()]
        table.rows.append([share, *map(_cell, spreads)])
    figure.tables.append(table)
    in_time = Spread.of([taken[_IN_TIME] for taken in records[TODAY]])
    figure.goals.append(Goal(f"{dialect}: recorded within 10 ms", ">=", 99, in_time, "%"))


def _processes(figure: Figure, dialect: str, options: Options) -> None:
    count = options.size(20_000, 400)
    with sink() as port, database(dialect, options) as url:
        contenders = {
            name: partial(_together, url, port, count, processes)
            for processes, name in enumerate((_ONE, _TWO), start=1)
        }
        samples = interleaved(options.rounds, contenders)
    table = Table(
        f"{dialect}: worker processes on one queue, messages/s",
        ["", "median", "min", "max", f"against {_ONE}"],
    )
    for name, values in samples.items():
        table.rows.append([name, *_numbers(values), _cell(ratio(samples, name, _ONE))])
    figure.tables.append(table)
    if dialect == "postgresql":
        gain = ratio(samples, _TWO, _ONE)
        figure.goals.append(Goal(f"{dialect}: {_TWO} against one", ">=", 1.6, gain))


def _together(url: str, port: int, count: int, processes: int) -> float:
    child("ours", "fill", url=url, port=port, count=count)
    done = child("parallel", "drain", url=url, port=port, count=count, processes=processes)
    return float(done["rate"])


def _stores(figure: Figure, dialect: str, builds: list[Build], options: Options) -> None:
    count = options.size(1000, 100)
    alone: Samples = {build.name: [] for build in builds}
    together: Samples = {build.name: [] for build in builds}
    with ExitStack() as stack:
        urls = {build.name: stack.enter_context(database(dialect, options)) for build in builds}
        for _ in range(options.rounds):
            for build in builds:
                name, root = build.name, build.root
                done = child("enqueueing", "enqueue", root=root, url=urls[name], count=count)
                alone[name].append(done["one"])
                together[name].append(done["many"])
                progress(f"{name}: {done['one']:.0f} µs alone, {done['many']:.0f} µs of 1,000")
    _show(figure, f"{dialect}: storing one in the host's transaction, µs", alone, "<=", _NOT_SLOWER)
    title = f"{dialect}: storing 1,000 in one transaction, µs a message"
    _show(figure, title, together, "<=", _NOT_SLOWER)


def _starts(figure: Figure, builds: list[Build], options: Options) -> None:
    taken: Samples = {build.name: [] for build in builds}
    for _ in range(options.rounds):
        starts: Samples = {build.name: [] for build in builds}
        for _ in range(options.size(8, 3)):
            for build in builds:
                done = child("bare", "start_with", root=build.root, cpu=PINNED)
                starts[build.name].append(done["ms"])
        for name, values in starts.items():
            taken[name].append(Spread.of(values).median)
    _show(figure, "importing everything, and init_app, ms", taken, "<=", _NOT_SLOWER)


def _log(figure: Figure, builds: list[Build], options: Options) -> None:
    for what, samples in footprint.logged(builds, options).items():
        title = f"postgresql: write-ahead log, {what}, bytes a message"
        _show(figure, title, samples, "<=", {BEFORE_REDESIGN: _LESS_LOG[what]})


def _disk(figure: Figure, dialect: str, builds: list[Build], options: Options) -> None:
    compared = [build for build in builds if build.name in (TODAY, BEFORE_REDESIGN)]
    samples = footprint.kept(dialect, compared, options)
    _show(figure, f"{dialect}: disk, bytes a sent message", samples, "<=", _LESS_DISK)


def _show(figure: Figure, title: str, samples: Samples, bound: str, goals: Goals) -> None:
    """A row for each build, and a goal for those that today's is measured by."""
    table = Table(title, ["build", "median", "min", "max", "today's against it"])
    for name, values in samples.items():
        table.rows.append([name, *_numbers(values), _cell(ratio(samples, TODAY, name))])
    figure.tables.append(table)
    figure.goals += [
        Goal(f"{title}: today's against {peer}", bound, limit, ratio(samples, TODAY, peer))
        for peer, limit in goals.items()
        if peer in samples
    ]


def _numbers(values: list[float]) -> list[str]:
    spread = Spread.of(values)
    return [number(value) for value in (spread.median, spread.low, spread.high)]


def _cell(spread: Spread) -> str:
    return f"{number(spread.median)} ({number(spread.low)}–{number(spread.high)})"
