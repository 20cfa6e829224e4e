"""A server 20 ms away: what counts is how often one waits for it."""

from __future__ import annotations

from collections.abc import Callable

from .drain import best_rate, our_rate
from .harness import Figure, Goal, Options, Spread, child, interleaved, rates, ratio
from .servers import database, far_away, sink

ROUND_TRIP = 0.020  # s
DRAIN = "ours, queue drained, 8 connections"
ONE = "ours, finished bytes, 1 connection"
EIGHT = "ours, finished bytes, 8 connections"
SMTPLIB = "smtplib, kept connection"
CONNECT = "Flask-Mail connect()"
SEND = "Flask-Mail send()"
BEST = "django-post_office, 2 processes of 4 threads, no log"


def measure(options: Options) -> Figure:
    figure = Figure("3", "A server 20 ms away, 634-byte messages")
    with (
        sink() as near,
        far_away(near, ROUND_TRIP) as port,
        database("sqlite", options) as ours,
        database("sqlite", options) as post_office,
    ):
        samples = interleaved(options.rounds, _contenders(port, ours, post_office, options))
    figure.tables.append(rates("Round trip 20 ms; queues in SQLite", samples, CONNECT))
    figure.goals += [
        Goal(
            "8 connections, against Flask-Mail connect()", ">=", 23, ratio(samples, DRAIN, CONNECT)
        ),
        Goal("8 connections, against Flask-Mail send()", ">=", 45, ratio(samples, DRAIN, SEND)),
        Goal(
            "8 connections, against django-post_office's best",
            ">=",
            3.2,
            ratio(samples, DRAIN, BEST),
        ),
    ]
    figure.bars["20 ms round trip, messages/s"] = {
        name: Spread.of(values).median for name, values in samples.items()
    }
    return figure


def _contenders(
    port: int, ours: str, post_office: str, options: Options
) -> dict[str, Callable[[], float]]:
    few, some, many = options.size(20, 5), options.size(50, 10), options.size(1000, 80)

    def plain(function: str, count: int, **others: int) -> Callable[[], float]:
        return lambda: child("plain", function, port=port, count=count, **others)["rate"]

    return {
        SEND: plain("flask_mail_send", few),
        CONNECT: plain("flask_mail_connect", some),
        SMTPLIB: plain("smtplib_kept", some),
        BEST: lambda: best_rate(post_office, port, many // 2),
        ONE: plain("ours_finished", some),
        EIGHT: plain("ours_finished", many, connections=8),
        DRAIN: lambda: our_rate(ours, port, many, 8),
    }
