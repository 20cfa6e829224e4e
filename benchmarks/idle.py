"""A worker without work: what it costs, and how soon it notices a message."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from .earlier import BEFORE_REDESIGN, checkout
from .harness import ROOT, Figure, Goal, Options, Spread, Table, child, number, progress
from .servers import database, dialects, listening

_TICKS = os.sysconf("SC_CLK_TCK")
_LIMITS = {"sqlite": 1000.0, "postgresql": 100.0}  # ms
_SHARE = "processor time, % of a core"
_MEMORY = "memory, MB"


def measure(options: Options) -> Figure:
    figure = Figure("7", "An idle worker, and its awakening")
    idle = Table("An idle worker", ["", "median", "min", "max"])
    wake = Table("From commit to the first byte at the server, ms", _COLUMNS)
    for dialect in dialects():
        with database(dialect, options) as url:
            _idle(figure, idle, dialect, url, options)
            _awaken(figure, wake, dialect, url, options)
    figure.tables += [idle, wake]
    return figure


_COLUMNS = ["", "median", "slowest of a round: median", "min", "max"]


def _worker(url: str, root: Path = ROOT) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "flask", "--app", "benchmarks.contenders.hosted"]
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(
        [*command, "interaction-mail", "worker"],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root), "BENCH_URL": url},
        **quiet,
    )


def _end(worker: subprocess.Popen[bytes]) -> None:
    worker.send_signal(signal.SIGTERM)
    worker.wait(60)


def _idle(figure: Figure, table: Table, dialect: str, url: str, options: Options) -> None:
    without: list[float] = []
    with ExitStack() as stack:
        workers = {dialect: (url, ROOT)}
        if before := checkout(BEFORE_REDESIGN):
            own = stack.enter_context(database(dialect, options))
            workers[f"{dialect}, {BEFORE_REDESIGN}"] = (own, before)
        for at, root in workers.values():
            child("ours", "fill", root=root, url=at, port=9, count=0)
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in workers}
        for _ in range(options.rounds):
            without.append(child("bare", "connected_without", url=url)["peak_memory"])
            progress(f"{dialect}: the host without us {without[-1]:.1f} MB")
            for name, (at, root) in workers.items():
                share, memory = _resting(at, root, options)
                taken[name].append((share, memory))
                progress(f"{name}: {share:.2f} % of a core, {memory:.1f} MB")
    for name, rounds in taken.items():
        for what, values in zip((_SHARE, _MEMORY), zip(*rounds, strict=True), strict=True):
            _row(table, f"{name}: {what}", list(values))
    _row(table, f"{dialect}: memory of its host without us, MB", without)
    shares, memories = (list(values) for values in zip(*taken[dialect], strict=True))
    beyond = [memory - host for memory, host in zip(memories, without, strict=True)]
    figure.goals += [
        Goal(f"{dialect}: idle worker, {_SHARE}", "<=", 0.2, Spread.of(shares), "%"),
        Goal(f"{dialect}: idle worker, memory beyond the host's", "<=", 5, Spread.of(beyond), "MB"),
    ]


def _row(table: Table, name: str, values: list[float]) -> Spread:
    spread = Spread.of(values)
    table.rows.append([name, *map(number, (spread.median, spread.low, spread.high))])
    return spread


def _resting(url: str, root: Path, options: Options) -> tuple[float, float]:
    """Of a worker without work: its share of a core in %, and its memory in MB."""
    worker = _worker(url, root)
    time.sleep(options.size(4, 3))
    before, start = _cpu(worker.pid), time.monotonic()
    time.sleep(options.size(20, 4))
    share = (_cpu(worker.pid) - before) / (time.monotonic() - start) * 100
    memory = _memory(worker.pid)
    _end(worker)
    return share, memory


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _memory(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:"))


def _awaken(figure: Figure, table: Table, dialect: str, url: str, options: Options) -> None:
    for name, limit in (("the same process", 50.0), ("another process", _LIMITS[dialect])):
        medians, slowest = [], []
        for _ in range(options.rounds):
            waits = _waits(url, name, options)
            medians.append(Spread.of(waits).median)
            slowest.append(max(waits))
            progress(f"{dialect}, {name}: {medians[-1]:.1f}, slowest {slowest[-1]:.1f} ms")
        worst = Spread.of(slowest)
        cells = (Spread.of(medians).median, worst.median, worst.low, worst.high)
        table.rows.append([f"{dialect}, {name}", *map(number, cells)])
        title = f"{dialect}: commit to first byte, {name}, slowest of a round"
        figure.goals.append(Goal(title, "<=", limit, worst, "ms"))


def _waits(url: str, where: str, options: Options) -> list[float]:
    """ms from each commit to what the server saw next."""
    same = where == "the same process"
    with listening() as (port, noted):
        child("ours", "fill", url=url, port=port, count=0)
        worker = None if same else _worker(url)
        try:
            time.sleep(0 if same else 4)
            given: dict[str, Any] = {"url": url, "port": port, "count": options.size(10, 4)}
            moments = child("hosted", "commits", thread=same, **given)["moments"]
            time.sleep(1.5)
        finally:
            if worker is not None:
                _end(worker)
        seen = noted()
    return [(min(at for at in seen if at > moment) - moment) * 1e3 for moment in moments]
