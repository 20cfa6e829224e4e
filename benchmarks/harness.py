"""Rounds, interleaved, and what is made of them."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PINNED = 0  # the core that client and server share where there is no latency to wait for

Samples = dict[str, list[float]]
Bars = dict[str, dict[str, float]]  # panel of the chart -> contender -> value


@dataclass(frozen=True)
class Options:
    """What was asked for on the command line."""

    rounds: int
    quick: bool
    folder: Path  # for databases: on a real disk, for fsync to mean something
    full: bool = False

    def size(self, normal: int, quick: int, full: int | None = None) -> int:
        """A number of messages or rounds: fewer for a quick look, in some places more in full."""
        if self.quick:
            return quick
        return full if self.full and full is not None else normal


@dataclass(frozen=True)
class Spread:
    """Median, minimum and maximum of the rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True)
class Goal:
    """One figure to reach, and what was measured for it. ``bound`` is ``>=`` or ``<=``."""

    text: str
    bound: str
    limit: float
    reached: Spread
    unit: str = "x"

    @property
    def ok(self) -> bool:
        value = self.reached.median
        return value >= self.limit if self.bound == ">=" else value <= self.limit


@dataclass
class Table:
    """Rows of cells; the first column is text."""

    title: str
    columns: list[str]
    rows: list[list[str]] = field(default_factory=list)
    note: str = ""


@dataclass
class Figure:
    """What one module measured."""

    number: str
    title: str
    tables: list[Table] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)
    bars: Bars = field(default_factory=dict)


def child(
    module: str, function: str, *, cpu: int | None = None, root: Path = ROOT, **arguments: Any
) -> Any:
    """What a contender returns, run in a process of its own, from the source in ``root``."""
    pin = [] if cpu is None else ["--cpu", str(cpu)]
    command = [sys.executable, "-m", "benchmarks.child", *pin, module, function]
    done = subprocess.run(
        [*command, json.dumps(arguments)],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{module}.{function} failed:\n{done.stdout[-2000:]}{done.stderr[-6000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def interleaved(rounds: int, contenders: Mapping[str, Callable[[], float]]) -> Samples:
    """Run every contender once a round; each round begins with another one."""
    names = list(contenders)
    samples: Samples = {name: [] for name in names}
    for number in range(rounds):
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            samples[name].append(contenders[name]())
            progress(f"{number + 1}/{rounds} {name}: {samples[name][-1]:,.4g}")
    return samples


def ratio(samples: Samples, ours: str, peer: str) -> Spread:
    """Ours divided by the peer's, round by round, so that drift of the machine cancels out."""
    pairs = zip(samples[ours], samples[peer], strict=True)
    return Spread.of([mine / theirs for mine, theirs in pairs])


def rates(title: str, samples: Samples, base: str, *, unit: str = "messages/s") -> Table:
    """A table of what each contender did, and how it compares with ``base``."""
    table = Table(title, ["", f"median {unit}", "min", "max", f"x {base}"])
    for name, values in samples.items():
        spread = Spread.of(values)
        shares = ratio(samples, name, base)
        table.rows.append(
            [
                name,
                *map(number, (spread.median, spread.low, spread.high)),
                f"{shares.median:.2f} ({shares.low:.2f}–{shares.high:.2f})",
            ]
        )
    return table


def number(value: float) -> str:
    """``value`` with three significant digits."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def progress(text: str) -> None:
    print(f"    {text}", file=sys.stderr, flush=True)
