"""What to tell somebody who does not know SMTP: one place, as data, ready for translation.

Every code maps to a title, an explanation and advice. ``{server}``, ``{port}``, ``{login}``,
``{to}``, ``{sender}``, ``{address}`` and ``{detail}`` are filled in after translation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Advice:
    """What happened in a few words, what it means, and what to do about it."""

    title: str
    explanation: str
    advice: str = ""

    def filled(self, values: Mapping[str, str]) -> Advice:
        """The same with the placeholders replaced."""
        parts = (self.title, self.explanation, self.advice)
        return Advice(*(part.format_map(_Lenient(values)) for part in parts))


class _Lenient(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return "…"
