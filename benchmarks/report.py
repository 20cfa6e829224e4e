"""Tables for the terminal and for the documentation."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from .harness import ROOT, Bars, Figure, Goal, Options, Table, number

PAGE = ROOT / "docs" / "benchmarks-result.md"
_COMPARED = (
    "flask-interaction-mail",
    "Flask",
    "SQLAlchemy",
    "Django",
    "django-post_office",
    "django-mailer",
    "Flask-Mail",
    "psycopg",
)
_GOALS = ["to reach", "target", "median", "min–max", ""]


def show(figure: Figure, seconds: float) -> None:
    print(f"\n== {figure.number}. {figure.title} ({seconds:.0f} s)")
    for table in figure.tables:
        _print(table)
    _print(_goal_table("To reach", figure.goals))


def summary(figures: list[Figure]) -> None:
    goals = [goal for figure in figures for goal in figure.goals]
    missed = sum(not goal.ok for goal in goals)
    print(f"\n{len(goals) - missed} of {len(goals)} reached, {missed} not.")


def load() -> str:
    """What the machine has been doing in the last minute and in the last quarter of an hour."""
    minute, _, quarter = os.getloadavg()
    return f"{minute:.1f} ({quarter:.1f} over 15 minutes)"


def write(figure: Figure, options: Options, load_before: str) -> None:
    """Put ``figure`` into the result page, whose other figures stay as they were, and the chart."""
    from . import chart

    sections = _sections(PAGE.read_text(encoding="utf-8"))
    sections[figure.number] = _section(figure, options, load_before)
    sections = dict(sorted(sections.items(), key=lambda section: int(section[0])))
    pictures = chart.draw(map(_bars, sections.values()), ROOT / "docs" / "pictures")
    shown = [f"![{name}](pictures/{path.name})\n" for name, path in pictures.items()]
    PAGE.write_text("\n".join([_HEAD, *shown, *sections.values()]), encoding="utf-8")
    print(f"written: {PAGE.relative_to(ROOT)}")


def _sections(page: str) -> dict[str, str]:
    """The figures of the page by their numbers."""
    sections = (f"## {part}" for part in page.split("\n## ")[1:])
    return {part.removeprefix("## ").partition(".")[0]: part for part in sections}


def _section(figure: Figure, options: Options, load_before: str) -> str:
    measured = _MEASURED.format(
        rounds=options.rounds, load_before=load_before, load_after=load(), **_machine()
    )
    return "\n".join(
        [
            f"## {figure.number}. {figure.title}\n",
            measured,
            *map(_markdown, figure.tables),
            _markdown(_goal_table("To reach", figure.goals)),
            f"{_BARS}{json.dumps(figure.bars)} -->\n",
        ]
    )


def _bars(section: str) -> Bars:
    """What the chart shows of a section."""
    _, _, rest = section.partition(_BARS)
    bars: Bars = json.loads(rest.partition(" -->")[0] or "{}")
    return bars


_BARS = "<!-- In the chart: "
_HEAD = """# Benchmarks: the last result

<!-- Written by `make bench`. Do not edit. -->

Medians, with minimum and maximum. A ratio is taken round by round, so that what drifts on the
machine cancels out. [Benchmarks](benchmarks.md) says what is measured and how.
"""
_MEASURED = """Measured on {when} at commit {commit} in {rounds} rounds, with Python {python}
on {cores} cores ({cpu}). The load average was {load_before} when it began and {load_after} when it
ended, the benchmark's own share included. Versions: {versions}.
"""


def _machine() -> dict[str, str]:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return {
        "when": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "commit": commit.stdout.strip() or "unknown",
        "python": platform.python_version(),
        "cores": str(os.cpu_count()),
        "cpu": _cpu(),
        "versions": ", ".join(f"{name} {metadata.version(name)}" for name in _COMPARED),
    }


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _goal_table(title: str, goals: list[Goal]) -> Table:
    table = Table(title, _GOALS)
    for goal in goals:
        spread = f"{number(goal.reached.low)}–{number(goal.reached.high)}"
        sign = "≥" if goal.bound == ">=" else "≤"
        unit = "x" if goal.unit == "x" else f" {goal.unit}"
        table.rows.append(
            [
                goal.text,
                f"{sign} {number(goal.limit)}{unit}",
                f"{number(goal.reached.median)}{unit}",
                spread,
                "reached" if goal.ok else "NOT REACHED",
            ]
        )
    return table


def _print(table: Table) -> None:
    rows = [table.columns, *table.rows]
    widths = [max(len(row[at]) for row in rows) for at in range(len(table.columns))]
    print(f"\n{table.title}")
    for row in rows:
        first, *others = (cell for cell in row)
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        print("  " + "  ".join([first.ljust(widths[0]), *cells]))
    if table.note:
        print(f"  {table.note}")


def _markdown(table: Table) -> str:
    lines = [f"**{table.title}**", ""]
    lines.append("| " + " | ".join(table.columns) + " |")
    lines.append("|" + "|".join(["---", *["---:"] * (len(table.columns) - 1)]) + "|")
    lines += ["| " + " | ".join(row) + " |" for row in table.rows]
    if table.note:
        lines += ["", table.note]
    return "\n".join([*lines, ""])
