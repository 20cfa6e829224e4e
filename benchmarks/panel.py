"""The Outbox over a long log: each page, the export, and what the browser has to load."""

from __future__ import annotations

from .harness import Figure, Goal, Options, Spread, Table, child, number, progress
from .servers import database, dialects, settle

_MEDIAN, _WORST = 50.0, 150.0  # ms
_SHORT = 10_000  # messages in the shorter log
_SEARCHES = {"a word that is nowhere", "a word that is everywhere"}
_SEARCH = 300.0  # ms, until the page says that it goes on
_RATE = 20_000.0  # lines a second
_HEAVIEST = 60.0  # kB


def measure(options: Options) -> Figure:
    figure = Figure("11", "The Outbox over a long log")
    longest = options.size(300_000, 20_000, 1_000_000)
    for dialect in dialects():
        for count in (options.size(_SHORT, 2000), longest):
            with database(dialect, options) as url:
                child("panel_pages", "fill", url=url, count=count)
                settle(url)
                progress(f"{dialect}: {count:,} messages, made")
                _pages(figure, dialect, url, count, options)
                if count == longest:
                    _export(figure, dialect, url, count, options)
                if not any(table.title.startswith("Weight") for table in figure.tables):
                    _weigh(figure, url)
    return figure


def _pages(figure: Figure, dialect: str, url: str, count: int, options: Options) -> None:
    table = Table(
        f"{dialect}, {count:,} messages, ms", ["", "median", "min", "worst", "of it ours"]
    )
    taken: dict[str, list[float]] = {}
    own: dict[str, list[float]] = {}
    for _ in range(options.rounds):
        done = child("panel_pages", "pages", url=url, count=count, times=options.size(20, 5))
        for name, times in done["taken"].items():
            taken.setdefault(name, []).extend(times)
            own.setdefault(name, []).extend(done["own"][name])
    for name, times in taken.items():
        spread = Spread.of(times)
        table.rows.append(
            [
                name,
                *map(number, (spread.median, spread.low, spread.high, Spread.of(own[name]).median)),
            ]
        )
        title = f"{dialect}, {count:,} messages: {name}"
        figure.goals += _goals(title, name in _SEARCHES, spread)
    table.note = (
        "“Of it ours” is the processor time of the application, which other programs cost less."
    )
    figure.tables.append(table)


def _goals(title: str, searches: bool, spread: Spread) -> list[Goal]:
    worst = Spread(spread.high, spread.high, spread.high)
    if searches:
        return [Goal(f"{title}, worst", "<=", _SEARCH, worst, "ms")]
    return [
        Goal(f"{title}, median", "<=", _MEDIAN, spread, "ms"),
        Goal(f"{title}, worst", "<=", _WORST, worst, "ms"),
    ]


def _export(figure: Figure, dialect: str, url: str, count: int, options: Options) -> None:
    table = Table(f"Export, {dialect}", ["", "lines/s", "min–max", "memory, MB"])
    for limit in (count // 10, count):
        done = [child("panel_pages", "export", url=url, limit=limit) for _ in range(options.rounds)]
        rate = Spread.of([one["rate"] for one in done])
        memory = Spread.of([one["peak_memory"] for one in done])
        shown = f"{number(rate.low)}–{number(rate.high)}"
        table.rows.append([f"{limit:,} lines", number(rate.median), shown, number(memory.median)])
        progress(f"{dialect}: export of {limit:,}: {rate.median:,.0f} a second")
    figure.tables.append(table)
    figure.goals.append(Goal(f"{dialect}: export", ">=", _RATE, rate, "lines/s"))


def _weigh(figure: Figure, url: str) -> None:
    table = Table("Weight before compression, kB", ["", "kB"])
    weights = child("panel_pages", "weights", url=url)
    weights.pop("peak_memory")
    for name, size in weights.items():
        table.rows.append([name, number(size / 1000)])
        if "script" in name:
            spread = Spread.of([size / 1000])
            figure.goals.append(Goal(name, "<=", _HEAVIEST, spread, "kB"))
    figure.tables.append(table)
