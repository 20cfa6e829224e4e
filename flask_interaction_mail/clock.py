"""Instants: aware UTC for hosts, naive UTC in the database."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> datetime:
    """The current time as the database stores it: naive UTC."""
    return datetime.now(UTC).replace(tzinfo=None)


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
