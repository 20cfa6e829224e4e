"""Writing down what couriers bring, in short transactions, whatever the database says to it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Final

import sqlalchemy as sa

from . import breaker, queue
from .claimer import Claimer, Wish
from .office import Limit, Office, Progress
from .queue import Verdict
from .settings import MessagingSettings
from .values import Status
from .verdict import given_up, in_ascii

log = logging.getLogger("flask_interaction_mail")

AWAY: Final = (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.TimeoutError)
_AGAIN = 0.5  # s between two tries while the database is away
_WITHIN = 0.0035  # s for a record; what it records was accepted in the 4 or 5 ms before that
_AT_FIRST, _FEWEST, _MOST = 40, 30, 200  # messages in a record


class Recorder:
    """Records the verdicts of one shift, tells of them, and counts them in its progress.

    ``fits`` says how many can be recorded together in time, as far as is known;
    ``written`` is called when all is written down and not yet committed, and must not raise.
    """

    def __init__(
        self,
        office: Office,
        settings: MessagingSettings,
        clock: queue.Time,
        claimer: Claimer,
        limit: Limit,
        progress: Progress,
        written: Callable[[], None],
    ) -> None:
        self.fits = _AT_FIRST
        self._office = office
        self._settings = settings
        self._time = clock
        self._claimer = claimer
        self._limit = limit
        self._progress = progress
        self._written = written

    def record(self, verdicts: Sequence[Verdict], wish: Wish | None = None) -> None:
        """Record; while the database is away, try again: what was accepted must not leave twice.

        Having to stop, it is tried for as long as a message in flight gets to finish. With
        ``wish``, the next messages are claimed in the same transaction, if that works at once.
        """
        if not verdicts:
            return
        kept = self._together(verdicts, wish) if wish else self._patiently(verdicts)
        sent = sum(verdict.status is Status.SENT for verdict in kept)
        self._progress.sent += sent
        self._progress.others += len(kept) - sent
        self._office.announce(kept)

    def _together(self, verdicts: Sequence[Verdict], wish: Wish) -> list[Verdict]:
        try:
            return self._write_down(verdicts, wish)
        except Exception:
            # Whatever it is of the two that fails: the record does not depend on the claim, and
            # that one is made again by itself.
            log.debug("dispatcher.together", exc_info=True)
            return self._patiently(verdicts)

    def _patiently(self, verdicts: Sequence[Verdict]) -> list[Verdict]:
        last_try: float | None = None
        while True:
            try:
                return self._write_down(verdicts)
            except AWAY:
                if self._limit.reached():
                    last_try = last_try or time.monotonic() + self._office.grace
                    if time.monotonic() > last_try:
                        raise
                log.error("dispatcher.record: the database is away; trying again")
                time.sleep(_AGAIN)
            except sa.exc.SQLAlchemyError as error:
                log.error("dispatcher.record: refused with %s", type(error).__name__)
                return self._otherwise(verdicts)

    def _otherwise(self, verdicts: Sequence[Verdict]) -> list[Verdict]:
        """What the database does not take as it is: one by one, and then without accents."""
        if len(verdicts) > 1:
            return [kept for one in verdicts for kept in self._patiently([one])]
        (verdict,) = verdicts
        plain = in_ascii(verdict)
        if plain == verdict:
            log.error("dispatcher.unrecorded: %s", verdict.claimed.id)
            return []
        return self._patiently([plain])

    def _write_down(self, verdicts: Sequence[Verdict], wish: Wish | None = None) -> list[Verdict]:
        began = time.monotonic()
        with self._office.store.writing() as connection:
            now = self._time.now()
            kept = queue.record(
                connection,
                verdicts,
                worker=self._office.worker,
                now=now,
                all_or_none=wish is not None,
            )
            spoken = any(one.attempt for one in verdicts)
            if self._claimer.probing and spoken:
                breaker.close(connection, self._settings)
            if late := [one for one in kept if given_up(one, now)]:
                self._office.report(connection, late)
            taken = self._claimer.join(connection, wish) if wish else None
            written = time.monotonic()
            self._written()
        commit = time.monotonic() - written
        self.fits = fitting(self.fits, len(verdicts), written - began, commit)
        if taken is not None:
            self._claimer.keep(taken)
        self._claimer.probing = self._claimer.probing and not spoken
        return kept


def fitting(before: int, count: int, statements: float, commit: float) -> int:
    """How many messages to record together, as a record of ``count`` took that many seconds.

    A quarter of the way from ``before`` to what that one says, as it may have been unlucky.
    """
    if 2 * count < before:
        return before  # most of its time would have passed for many as well
    # A commit that is slow anyhow is not made better by having more of them.
    budget = max(_WITHIN - commit, commit)
    fits = min(count * budget / max(statements, 1e-6), 2 * before)
    return max(_FEWEST, min(round((3 * before + fits) / 4), _MOST))
