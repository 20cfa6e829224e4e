"""What the tests of security came to, counted; printed at the end of the run."""

from __future__ import annotations

from collections import Counter

_PROVED: Counter[tuple[str, str]] = Counter()


def proved(threat: str, what: str, number: int = 1) -> None:
    """Add ``number`` to what was counted for ``threat``; it stands for ``{}`` in ``what``."""
    _PROVED[threat, what] += number


def told() -> list[tuple[str, str, int]]:
    """What was counted in this process, for the one that prints it."""
    return [(threat, what, number) for (threat, what), number in _PROVED.items()]


def lines() -> list[str]:
    """A line for each thing that was counted, by the number of the threat."""
    by_number = sorted(_PROVED.items(), key=lambda item: (int(item[0][0][1:]), item[0][1]))
    return [f"{threat}: {what.format(number)}" for (threat, what), number in by_number]
