"""Writing down what couriers bring, in short transactions, whatever the database says to it."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
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


class Recorder:
    """Records the verdicts of one shift, tells of them, and counts them in its progress."""

    def __init__(
        self,
        office: Office,
        settings: MessagingSettings,
        clock: queue.Time,
        claimer: Claimer,
        limit: Limit,
        progress: Progress,
    ) -> None:
        self._office = office
        self._settings = settings
        self._time = clock
        self._claimer = claimer
        self._limit = limit
        self._progress = progress

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
        with self._office.store.writing() as connection:
            now = self._time.now()
            kept = queue.record(connection, verdicts, worker=self._office.worker, now=now)
            spoken = any(one.attempt for one in verdicts)
            if self._claimer.probing and spoken:
                breaker.close(connection, self._settings)
            if late := [one for one in kept if given_up(one, now)]:
                self._office.report(connection, late)
            taken = self._claimer.join(connection, wish) if wish else None
        if taken is not None:
            self._claimer.keep(taken)
        self._claimer.probing = self._claimer.probing and not spoken
        return kept
