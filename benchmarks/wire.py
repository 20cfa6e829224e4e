"""One process to one server, without latency: client and server share a core."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable

from . import messages
from .harness import (
    PINNED,
    Figure,
    Goal,
    Options,
    Samples,
    Spread,
    child,
    interleaved,
    progress,
    rates,
    ratio,
)
from .servers import program, sink

FINISHED = "ours, finished bytes"
BUILT = "ours, built and sent"
EIGHT = "ours, finished bytes, 8 connections"
SMTPLIB = "smtplib, kept connection"
SOURCE = "smtp-source -s1 -d (C)"
CONNECT = "Flask-Mail connect()"
SEND = "Flask-Mail send()"


def measure(options: Options) -> Figure:
    figure = Figure("1", "The wire: one process to smtp-sink, messages of 634 bytes")
    with sink(cpu=PINNED) as port:
        offered = interleaved(options.rounds, _contenders(port, options, PINNED))
    with sink() as port:
        apart = interleaved(options.rounds, _contenders(port, options, None))
    with sink("-p", cpu=PINNED) as port:
        refused = _in_step(port, options)
    figure.tables.append(rates("Client and server on one core", offered, SMTPLIB))
    figure.tables.append(rates("The same, wherever the system puts them", apart, SMTPLIB))
    figure.tables.append(rates("On one core, a server without PIPELINING", refused, SMTPLIB))
    figure.goals += _goals(offered, refused)
    figure.bars["no latency, messages/s"] = {
        name: Spread.of(values).median for name, values in offered.items()
    }
    return figure


def _contenders(port: int, options: Options, cpu: int | None) -> dict[str, Callable[[], float]]:
    count = options.size(6000, 400)
    return {
        SEND: lambda: _rate("flask_mail_send", cpu, port, count // 10),
        CONNECT: lambda: _rate("flask_mail_connect", cpu, port, count // 4),
        SMTPLIB: lambda: _rate("smtplib_kept", cpu, port, count),
        SOURCE: lambda: smtp_source(cpu, port, count),
        FINISHED: lambda: _rate("ours_finished", cpu, port, count),
        BUILT: lambda: _rate("ours_built", cpu, port, count),
        EIGHT: lambda: _rate("ours_finished", cpu, port, count, connections=8),
    }


def _in_step(port: int, options: Options) -> Samples:
    # Both wait for the server equally often. The difference is small, so they take turns.
    samples: Samples = {SMTPLIB: [], FINISHED: []}
    for number in range(options.rounds):
        count = options.size(6000, 400)
        both = child("plain", "in_turns", cpu=PINNED, port=port, count=count)
        samples[SMTPLIB].append(both["smtplib"])
        samples[FINISHED].append(both["ours"])
        progress(f"{number + 1}/{options.rounds} {both['ours'] / both['smtplib']:.2f}")
    return samples


def _rate(function: str, cpu: int | None, port: int, count: int, **others: int) -> float:
    rate: float = child("plain", function, cpu=cpu, port=port, count=count, **others)["rate"]
    return rate


def smtp_source(cpu: int | None, port: int, count: int) -> float:
    """Postfix's own generator of mail, one kept session, our message."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(messages.finished().replace(b"\r\n", b"\n"))
        file.flush()
        addresses = ["-f", messages.SENDER, "-t", messages.RECIPIENT]
        server = ["-F", file.name, f"127.0.0.1:{port}"]
        command = [program("smtp-source"), "-s1", "-d", f"-m{count}", *addresses, *server]
        pin = [] if cpu is None else ["taskset", "-c", str(cpu)]
        start = time.perf_counter()
        subprocess.run([*pin, *command], check=True)
        return count / (time.perf_counter() - start)


def _goals(offered: Samples, refused: Samples) -> list[Goal]:
    return [
        Goal(
            "one connection, finished bytes, against smtplib on a kept connection",
            ">=",
            1.7,
            ratio(offered, FINISHED, SMTPLIB),
        ),
        Goal(
            "one connection, finished bytes, against smtp-source -s1",
            ">=",
            2.2,
            ratio(offered, FINISHED, SOURCE),
        ),
        Goal(
            "building and sending, against Flask-Mail connect()",
            ">=",
            3,
            ratio(offered, BUILT, CONNECT),
        ),
        Goal(
            "a server without PIPELINING, against smtplib",
            ">=",
            1,
            ratio(refused, FINISHED, SMTPLIB),
        ),
    ]
