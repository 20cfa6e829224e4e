"""python -m benchmarks [--rounds N] [--quick | --full] [--only wire,drain] [--write]"""

from __future__ import annotations

import argparse
import compileall
import importlib
import time

from . import report
from .harness import ROOT, Figure, Options
from .servers import scratch

# The long ones last: each result is on the page at once, even if somebody stops the rest.
FIGURES = (
    "wire",
    "drain",
    "latency",
    "enqueue",
    "settings",
    "startup",
    "idle",
    "shapes",
    "activity",
    "builds",
    "panel",
    "claims",
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--rounds", type=int, default=5)
    extent = parser.add_mutually_exclusive_group()
    extent.add_argument("--quick", action="store_true", help="less of everything")
    extent.add_argument("--full", action="store_true", help="longer queues, fuller disks")
    parser.add_argument("--only", default=",".join(FIGURES), help=f"of {', '.join(FIGURES)}")
    parser.add_argument("--write", action="store_true", help="what was measured into docs/")
    given = parser.parse_args()
    options = Options(rounds=given.rounds, quick=given.quick, folder=scratch(), full=given.full)
    # Compiled, as pip leaves it: compiling at the start takes time and memory.
    compileall.compile_dir(ROOT / "flask_interaction_mail", quiet=1)
    figures: list[Figure] = []
    for name in given.only.split(","):
        load_before = report.load()
        figures.append(_measured(name, options))
        if given.write:
            report.write(figures[-1], options, load_before)
    report.summary(figures)


def _measured(name: str, options: Options) -> Figure:
    start = time.monotonic()
    figure: Figure = importlib.import_module(f"benchmarks.{name}").measure(options)
    report.show(figure, time.monotonic() - start)
    return figure


if __name__ == "__main__":
    main()
