"""Shapes that the tables could have, by what their statements cost alone."""

from __future__ import annotations

from typing import Any

from .harness import Figure, Options, Samples, Spread, Table, child, number, progress, ratio
from .servers import SQLITE, SQLITE_WAL, cluster, database, size

TODAY = "today's: one row for a message"
_APART: dict[str, Any] = {"delivery_apart": True}
_NO_ATTEMPT = _APART | {"attempt": False}
_LEAST = _NO_ATTEMPT | {"recipients": False}
SHAPES: dict[str, dict[str, Any]] = {
    TODAY: {},
    "content, intent and route apart": {"content_apart": True},
    "what changes apart (A)": _APART,
    "A, content apart, too": _APART | {"content_apart": True},
    "A, no row for a first attempt that ends the matter (B)": _NO_ATTEMPT,
    "B, a recipient written only where fates differ (C)": _LEAST,
    "C, records of 100": _LEAST | {"batch": 100},
    "C, numbers as keys": _LEAST | {"sequence": True},
    "C, fillfactor 80": _LEAST | {"fillfactor": 80},
}
_TIMES = {"store": "storing, µs", "deliver": "delivering, µs"}
_BYTES = {
    "store_wal": "log storing, B",
    "deliver_wal": "log delivering, B",
    "disk": "disk, B",
    "hot": "updates without an index, %",
}


def measure(options: Options) -> Figure:
    figure = Figure("10", "Shapes of the tables: their statements alone, a message")
    with cluster(full_page_writes="off", autovacuum="off") as server:
        for dialect in (SQLITE, SQLITE_WAL, *(["postgresql"] if server else [])):
            _compare(figure, dialect, options, server or "")
    return figure


def _compare(figure: Figure, dialect: str, options: Options, server: str) -> None:
    count = options.size(10_000, 1000)
    measured: dict[str, Samples] = {}
    for turn in range(options.rounds):
        names = [*SHAPES][turn % len(SHAPES) :] + [*SHAPES][: turn % len(SHAPES)]
        for name in names:
            if dialect != "postgresql" and "fillfactor" in SHAPES[name]:
                continue
            with database(dialect, options, server) as url:
                done = child("table_shapes", "work", url=url, count=count, **SHAPES[name])
                done["disk"] = size(url) / count
            progress(f"{turn + 1}/{options.rounds} {dialect}, {name}: {done['deliver']:.0f} µs")
            for what, value in done.items():
                measured.setdefault(what, {}).setdefault(name, []).append(value)
    shown = _TIMES | (_BYTES if dialect == "postgresql" else {"disk": "disk, B"})
    table = Table(dialect, ["", *shown.values(), "delivering, against today's"])
    for name in SHAPES:
        if name in measured["deliver"]:
            cells = [number(Spread.of(measured[what][name]).median) for what in shown]
            share = ratio(measured["deliver"], name, TODAY)
            against = f"{share.median:.2f} ({share.low:.2f}–{share.high:.2f})"
            table.rows.append([name, *cells, against])
    figure.tables.append(table)
