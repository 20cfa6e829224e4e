"""A server 20 ms away: what counts is the number of round trips."""

from __future__ import annotations

from collections.abc import Callable

from .drain import best_rate, our_rate
from .earlier import AHEAD, checkout
from .harness import Figure, Goal, Options, Samples, Spread, child, interleaved, rates, ratio
from .servers import database, far_away, sink

ROUND_TRIP = 0.020  # s
_MANY = 4000  # messages; some go while the number of connections is still being adjusted
DRAIN = "ours, queue drained"
SIXTEEN = "ours, queue drained, 16 connections from the start"
EARLIER = f"ours at {AHEAD}, queue drained, 8 connections, next envelope sent ahead"
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
        database("sqlite", options) as earlier,
        database("sqlite", options) as post_office,
    ):
        contenders = _contenders(port, ours, post_office, options)
        if before := checkout(AHEAD):
            many = options.size(_MANY, 80)
            contenders[EARLIER] = lambda: our_rate(earlier, port, many, root=before, connections=8)
        samples = interleaved(options.rounds, contenders)
    figure.tables.append(rates("Round trip 20 ms; queues in SQLite", samples, CONNECT))
    figure.goals += _goals(samples)
    figure.bars["20 ms round trip, messages/s"] = {
        name: Spread.of(values).median for name, values in samples.items()
    }
    return figure


def _goals(samples: Samples) -> list[Goal]:
    wanted = [
        ("against Flask-Mail connect()", 25, DRAIN, CONNECT),
        ("against Flask-Mail send()", 45, DRAIN, SEND),
        ("against django-post_office's best", 3.2, DRAIN, BEST),
        (f"against {AHEAD} with 8 connections, which sent ahead", 0.88, DRAIN, EARLIER),
        ("16 connections from the start, against Flask-Mail connect()", 28, SIXTEEN, CONNECT),
        (f"16 connections from the start, against {AHEAD}", 0.96, SIXTEEN, EARLIER),
    ]
    return [
        Goal(text, ">=", limit, ratio(samples, mine, theirs))
        for text, limit, mine, theirs in wanted
        if theirs in samples
    ]


def _contenders(
    port: int, ours: str, post_office: str, options: Options
) -> dict[str, Callable[[], float]]:
    few, some, many = options.size(20, 5), options.size(50, 10), options.size(_MANY, 80)

    def plain(function: str, count: int, **others: int) -> Callable[[], float]:
        return lambda: child("plain", function, port=port, count=count, **others)["rate"]

    return {
        SEND: plain("flask_mail_send", few),
        CONNECT: plain("flask_mail_connect", some),
        SMTPLIB: plain("smtplib_kept", some),
        BEST: lambda: best_rate(post_office, port, many // 8),
        ONE: plain("ours_finished", some),
        EIGHT: plain("ours_finished", many // 4, connections=8),
        DRAIN: lambda: our_rate(ours, port, many),
        SIXTEEN: lambda: our_rate(ours, port, many, first=16),
    }
