"""Instants: aware UTC for hosts, naive UTC in the database, a reader's zone on pages."""

from __future__ import annotations

import re
from datetime import UTC, datetime, tzinfo
from typing import Final

_ZONE: Final = re.compile(r"[A-Za-z][\w+-]*(/[A-Za-z][\w+-]*){0,2}", re.ASCII)
_LONGEST: Final = 40  # characters in the name of a zone
_stopped: datetime | None = None  # where a test has stopped the clock, for all threads


def now() -> datetime:
    """The current time as the database stores it: naive UTC."""
    return _stopped or datetime.now(UTC).replace(tzinfo=None)


def stopped_at() -> datetime | None:
    """Where the clock stands still; None while it goes, as it does outside of tests."""
    return _stopped


def stop_at(instant: datetime | None) -> None:
    """Let the clock stand still at ``instant``, naive UTC; None lets it go again."""
    global _stopped
    _stopped = instant


def to_db(instant: datetime) -> datetime:
    """Convert an aware ``instant`` to naive UTC.

    Raises:
        ValueError: ``instant`` is naive.
    """
    if instant.tzinfo is None:
        raise ValueError(
            "the time has no time zone: give an aware datetime, e.g. datetime.now(timezone.utc)"
        )
    return instant.astimezone(UTC).replace(tzinfo=None)


def as_text(instant: datetime) -> str:
    """A moment in UTC, to the second, for people."""
    return instant.strftime("%Y-%m-%d %H:%M:%S UTC")


def from_db(instant: datetime) -> datetime:
    """Convert naive UTC to an aware instant."""
    return instant.replace(tzinfo=UTC)


def from_text(text: str) -> datetime | None:
    """The naive UTC that ``isoformat`` wrote; None for anything else."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo is None else None


def zone_named(name: str) -> tzinfo | None:
    """The time zone with this IANA name; None where this machine knows none."""
    if len(name) > _LONGEST or not _ZONE.fullmatch(name):
        return None
    from zoneinfo import ZoneInfo  # late: a process that shows no times does without it

    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown, damaged, or a folder of zones
        return None
