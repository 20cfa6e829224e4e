"""A clock of mail that stands still, and is moved by the test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from .. import clock


class FrozenClock:
    """The clock of mail while ``frozen`` lasts; all threads of the process see it."""

    @property
    def now(self) -> datetime:
        """Where it stands, aware UTC."""
        return clock.from_db(clock.now())

    def tick(self, delta: timedelta) -> datetime:
        """Move it by ``delta``; gives where it stands then."""
        return self.move_to(self.now + delta)

    def move_to(self, moment: datetime) -> datetime:
        """Move it to ``moment``, an aware datetime, which is given in UTC.

        Raises:
            ValueError: ``moment`` has no time zone.
        """
        clock.stop_at(clock.to_db(moment))
        return self.now


@contextmanager
def frozen(at: datetime | None = None) -> Iterator[FrozenClock]:
    """Stop the clock of mail at ``at``, an aware datetime, or where it is, until the block ends.

    ``send_at``, ``expires_at``, rates, digests, delays between attempts and every other window of
    this package go by it, on every database, in all threads of this process. The application's
    own clock goes on, and so do timeouts of connections.

    Raises:
        ValueError: ``at`` has no time zone.
    """
    before, own = clock.stopped_at(), FrozenClock()
    own.move_to(at if at is not None else datetime.now(UTC))
    try:
        yield own
    finally:
        clock.stop_at(before)
