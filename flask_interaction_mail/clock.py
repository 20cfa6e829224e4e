"""Instants: aware UTC in the program, naive UTC in the database."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> datetime:
    """The present, as the database stores it: naive UTC."""
    return datetime.now(UTC).replace(tzinfo=None)


def to_db(instant: datetime) -> datetime:
    """Naive UTC of an aware ``instant``; ValueError for a naive one."""
    if instant.tzinfo is None:
        raise ValueError(
            "the time has no time zone: give an aware datetime, e.g. datetime.now(timezone.utc)"
        )
    return instant.astimezone(UTC).replace(tzinfo=None)


def from_db(instant: datetime) -> datetime:
    """Aware UTC of what ``to_db`` gave."""
    return instant.replace(tzinfo=UTC)
