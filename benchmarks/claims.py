"""Work on long queues: their length should not matter."""

from __future__ import annotations

import contextlib
from typing import Any

from .harness import Figure, Goal, Options, Spread, Table, child, number, progress
from .servers import database, dialects, settle, sink

BATCH = 200
TEXTS = 1000  # that a purge removes
_WORK = {"batch": BATCH, "claims": 4, "drained": 1000}
# What is timed, and in what unit.
_TIMED = {
    "claim": f"claim of {BATCH}, ms",
    "drain": "drain, µs a message",
    "one": "store one, µs",
    "many": "store 900 at once, µs each",
    "purge": f"purge of {TEXTS:,}, ms",
}

Measured = dict[str, dict[str, list[float]]]  # name of the queue -> what is timed -> rounds


def measure(options: Options) -> Figure:
    figure = Figure("4", "Queues of a thousand to a million messages")
    for dialect in dialects():
        _ours(figure, dialect, options)
        _peers(figure, dialect, options)
    return figure


def _queues(options: Options) -> dict[str, tuple[int, int]]:
    """By name: how many messages are queued, and how many were sent and purged before."""
    longest = options.size(1_000_000, 20_000)
    lengths = [1000, *(n for n in (10_000, 100_000, 1_000_000) if n <= longest)]
    queues = {f"{length:,} queued": (length, 0) for length in lengths}
    sent = options.size(1_000_000, 20_000, 10_000_000)
    return queues | {f"1,000 queued, {sent:,} sent": (1000, sent)}


def _ours(figure: Figure, dialect: str, options: Options) -> None:
    # The shortest queue needs some more, because the last of it leaves on fewer connections.
    measured: Measured = {}
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(sink())
        urls, purged = {}, {}
        for name, (queued, sent) in _queues(options).items():
            urls[name] = stack.enter_context(database(dialect, options))
            more = TEXTS * options.rounds
            given = {"queued": queued + 200, "sent": sent + more, "purged": sent}
            child("long_queues", "grow", url=urls[name], **given)
            settle(urls[name])
            purged[name] = 1 + sent
            progress(f"{dialect}: {name}, made")
        for _ in range(options.rounds):
            _round(urls, purged, port, measured)
    figure.tables += _tables(dialect, measured)
    figure.goals += _goals(dialect, measured)
    _bars(figure, dialect, measured)


def _round(urls: dict[str, str], purged: dict[str, int], port: int, measured: Measured) -> None:
    for name, url in urls.items():
        purged[name] += TEXTS
        given = {"url": url, "port": port, "purged": purged[name], **_WORK}
        done: dict[str, float] = child("long_queues", "work", **given)
        progress(f"{name}: {done}")
        for what, value in done.items():
            measured.setdefault(name, {}).setdefault(what, []).append(value)


def _tables(dialect: str, measured: Measured) -> list[Table]:
    """One for delivery, and one for the rest."""
    parts = {"": ("claim", "drain"), ", storing and purging": ("one", "many", "purge")}
    tables = []
    for title, timed in parts.items():
        head = [name for what in timed for name in (_TIMED[what], "min–max")]
        table = Table(f"Ours, {dialect}{title}", ["", *head])
        for name, rounds in measured.items():
            spreads = [Spread.of(rounds[what]) for what in timed]
            cells = [
                (number(one.median), f"{number(one.low)}–{number(one.high)}") for one in spreads
            ]
            table.rows.append([name, *(cell for pair in cells for cell in pair)])
        tables.append(table)
    return tables


def _goals(dialect: str, measured: Measured) -> list[Goal]:
    shortest, *others = measured
    return [
        Goal(
            f"{dialect}: {_TIMED[what].rpartition(',')[0]}, {name}, against {shortest}",
            "<=",
            1.1,
            _growth(measured, shortest, name, what),
        )
        for what in _TIMED
        for name in others[-2:]  # the longest queue, and the longest history
    ]


def _growth(measured: Measured, base: str, name: str, what: str) -> Spread:
    pairs = zip(measured[name][what], measured[base][what], strict=True)
    return Spread.of([long / short for long, short in pairs])


def _bars(figure: Figure, dialect: str, measured: Measured) -> None:
    figure.bars[f"claim of {BATCH}, {dialect}, ms"] = {
        f"ours, {name}": Spread.of(rounds["claim"]).median for name, rounds in measured.items()
    }


def _peers(figure: Figure, dialect: str, options: Options) -> None:
    table = Table(f"Finding the next {BATCH}, {dialect}, ms", ["", "median", "min", "max"])
    lengths = (1000, options.size(100_000, 5000))
    for title, name in (("django-post_office", "post_office"), ("django-mailer", "mailer")):
        for length in lengths:
            with database(dialect, options) as url:
                child("django_queues", f"{name}_fill", url=url, count=length)
                settle(url)
                spread = Spread.of([_choose(name, url) for _ in range(options.rounds)])
            cells = map(number, (spread.median, spread.low, spread.high))
            table.rows.append([f"{title}, {length:,} queued", *cells])
            bars = figure.bars[f"claim of {BATCH}, {dialect}, ms"]
            bars[f"{title} (finding alone), {length:,} queued"] = spread.median
            progress(f"{dialect}: {title}, {length:,}: {spread.median:.1f} ms")
    figure.tables.append(table)


def _choose(name: str, url: str) -> float:
    given: dict[str, Any] = {"url": url, "batch": BATCH, "times": 5}
    return float(child("django_queues", f"{name}_choose", **given)["claim"])
