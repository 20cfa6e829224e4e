"""What a look came to."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Health(enum.StrEnum):
    """What a look came to."""

    OK = "ok"
    NOTE = "note"  # works, and somebody should know
    WRONG = "wrong"


Finding = tuple[Health, str]  # and what to do about it


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What was looked at, and what was seen."""

    topic: str
    health: Health
    text: str
