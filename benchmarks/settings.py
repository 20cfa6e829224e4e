"""Reading the settings, and opening encrypted connections."""

from __future__ import annotations

from .harness import (
    PINNED,
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
from .servers import database, dialects, encrypting, sink

KEPT = "ours: the context of these settings"
FRESH = "ours: a fresh context each time"
SMTPLIB = "smtplib.SMTP_SSL, a fresh verifying context"


def measure(options: Options) -> Figure:
    figure = Figure("6", "Settings, and new encrypted connections")
    for dialect in dialects():
        _read(figure, dialect, options)
    _connect(figure, options)
    return figure


def _read(figure: Figure, dialect: str, options: Options) -> None:
    count = options.size(3000, 200)
    table = Table(f"Reading the settings, {dialect}, µs", ["", "median", "min", "max"])
    share, alone, held = [], [], []
    with sink() as port, database(dialect, options) as url:
        for _ in range(options.rounds):
            child("ours", "fill", url=url, port=port, count=count)
            drained = child("ours", "settings_share", url=url, port=port, count=count)
            share.append(drained["per_message"])
            progress(f"{dialect}: {drained['reads']} reads for {count} messages")
            read = child("ours", "settings_read", url=url, port=port, count=count)
            alone.append(read["alone"])
            held.append(read["held"])
    for name, values in (
        ("one look, on a connection of its own", alone),
        ("one look, on a connection that is held", held),
        ("share of each message while a queue is drained", share),
    ):
        spread = Spread.of(values)
        table.rows.append([name, *map(number, (spread.median, spread.low, spread.high))])
    figure.tables.append(table)
    figure.goals.append(
        Goal(f"{dialect}: settings, per message drained", "<=", 2, Spread.of(share), "µs")
    )


def _connect(figure: Figure, options: Options) -> None:
    count = options.size(150, 10)
    with encrypting(options, cpu=PINNED) as (port, authority):

        def opened(function: str, times: int) -> float:
            done = child(
                "encrypted", function, cpu=PINNED, port=port, authority=authority, count=times
            )
            return float(done["rate"])

        samples = interleaved(
            options.rounds,
            {
                KEPT: lambda: opened("kept", count),
                FRESH: lambda: opened("fresh", count // 5),
                SMTPLIB: lambda: opened("smtplib_fresh", count // 5),
            },
        )
    title = "Opening an encrypted connection and saying goodbye, on one core"
    figure.tables.append(rates(title, samples, SMTPLIB, unit="connections/s"))
    figure.goals.append(
        Goal(
            "a new TLS connection, against one with a fresh context (smtplib)",
            ">=",
            8,
            ratio(samples, KEPT, SMTPLIB),
        )
    )
