"""Partitions our tables by day, with the SQL that docs/scale.md gives to operators."""

from __future__ import annotations

import re
from datetime import date

import sqlalchemy as sa

from benchmarks.harness import ROOT


def documented() -> tuple[str, str]:
    """The SQL of the page: what is run once, and what is run every day."""
    page = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    once, daily, *_ = re.findall(r"^```postgresql\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return once, daily


def divide(engine: sa.Engine, days: list[date]) -> None:
    """Partition the tables, and make the partitions of ``days``."""
    with engine.begin() as connection:
        run(connection, documented()[0])
        for day in days:
            connection.execute(sa.text("SELECT interaction_mail_days.add_day(:day)"), {"day": day})


def run(connection: sa.Connection, script: str) -> None:
    """Run several statements in which neither colons nor percent signs are parameters."""
    cursor = connection.connection.cursor()
    cursor.execute(script)
    cursor.close()
