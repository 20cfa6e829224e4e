"""The lease under which a run holds the messages that it has claimed."""

from __future__ import annotations

import time
import uuid
from collections.abc import Collection

from ..logs import log
from ..outbox import claim
from ..outbox.claimed import Claimed
from ..storage.database import AWAY, in_short
from .agents import AgentPool
from .ports import DispatcherPorts


class Lease:
    """Renewed while messages are in flight; ``pool`` is told until when it holds.

    ``third`` is a third of its length in seconds: the longest time between two calls of ``keep``.
    """

    def __init__(self, ports: DispatcherPorts, clock: claim.Time, pool: AgentPool) -> None:
        self.third: float = ports.lease.total_seconds() / 3
        self._ports = ports
        self._time = clock
        self._pool = pool
        self._renewed_at = 0.0

    def begin(self) -> None:
        """Start the lease of what is claimed now."""
        self._holds_from(time.monotonic())

    def keep(self, claims: Collection[Claimed]) -> None:
        """Renew it for ``claims`` if a third has passed; what others have taken is not begun."""
        now = time.monotonic()
        if not claims or now - self._renewed_at < self.third:
            return
        try:
            ours = self._renew(claims)
        except AWAY as error:
            log.error("dispatcher.renew: %s; trying again", in_short(error))
            return
        self._pool.lost.update({claimed.id for claimed in claims} - ours)
        self._holds_from(now)

    def _renew(self, claims: Collection[Claimed]) -> set[uuid.UUID]:
        with self._ports.store.writing() as connection:
            now = self._time.look(connection)
            return claim.renew(connection, claims, lease=self._ports.lease, now=now)

    def _holds_from(self, moment: float) -> None:
        self._renewed_at = moment
        self._pool.leased_until = moment + self._ports.lease.total_seconds()
