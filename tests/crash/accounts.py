"""The checker: what the outbox says against what the server has seen."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path

import sqlalchemy as sa

from flask_interaction_mail.storage.tables import ATTEMPT, DELIVERY
from tests.outbox_rows import Store

RESULT = Path(__file__).parents[2] / "docs" / "torture-result.md"


@dataclass(frozen=True, kw_only=True)
class Account:
    """One run: what was tried, and what became of it."""

    run: str
    messages: int
    attempts: int  # logged by the workers
    acknowledged: int  # by the server, after the final dot
    lost: int  # messages that the server never took
    unexpected: int  # copies of something that was never queued
    duplicated: int  # copies beyond the first of each message
    recovered: int  # messages that left although a worker lost them
    worst: int  # most copies of one message
    message_ids: int  # messages that arrived under several Message-IDs, or with several contents

    def __str__(self) -> str:
        return "  ".join(f"{name}={value}" for name, value in self.figures().items())

    def figures(self) -> dict[str, object]:
        return {field.name: getattr(self, field.name) for field in fields(self)}


REPORT: list[Account] = []


def account(
    run: str, store: Store, expected: Iterable[str], taken: Iterable[bytes], acknowledged: int
) -> Account:
    """Compare; ``expected`` are Message-IDs, ``taken`` the contents that the server has got."""
    expected, contents = set(expected), list(taken)
    copies = Counter(message_id_of(content) for content in contents)
    variants = Counter(message_id_of(content) for content in set(contents))
    with store.reading() as connection:
        # What was accepted for everybody stands in the delivery row.
        apart = connection.scalar(sa.select(sa.func.count()).select_from(ATTEMPT)) or 0
        within = connection.scalar(sa.select(sa.func.count(DELIVERY.c.server))) or 0
        recovered = connection.scalar(
            sa.select(sa.func.count())
            .select_from(DELIVERY)
            .where(DELIVERY.c.status == "sent", DELIVERY.c.fence > DELIVERY.c.attempts)
        )
    found = Account(
        run=run,
        messages=len(expected),
        attempts=apart + within,
        acknowledged=acknowledged,
        lost=len(expected - set(copies)),
        unexpected=sum(number for id, number in copies.items() if id not in expected),
        duplicated=sum(number - 1 for number in copies.values()),
        recovered=recovered or 0,
        worst=max(copies.values(), default=0),
        message_ids=sum(number > 1 for number in variants.values()),
    )
    REPORT.append(found)
    return found


def message_id_of(content: bytes) -> str:
    found = re.search(rb"^Message-ID: *(?:\r\n )?(<[^>]+>)", content, re.MULTILINE | re.IGNORECASE)
    assert found is not None, content[:300]
    return found.group(1).decode()


def table() -> str:
    """All runs, as a table of Markdown."""
    if not REPORT:
        return ""
    names = list(REPORT[0].figures())
    rows = [names, ["---", *["---:"] * (len(names) - 1)]]
    rows += [[str(value) for value in one.figures().values()] for one in REPORT]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
