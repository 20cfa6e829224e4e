"""The formulae of docs/scale.md. Times are in seconds, rates in messages a second."""

from __future__ import annotations

import math
from dataclasses import dataclass

DAY, HOUR = 86_400, 3600
PROBE = 60  # between two probes of a server in trouble


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What one message costs: when it is stored, for each attempt, and when it is removed."""

    worker_cpu: float  # of a worker, for an attempt
    notice_cpu: float  # of each worker, for the notice that a message was stored
    store_busy: float  # of a database session
    attempt_busy: float
    store_rows: float  # written
    attempt_rows: float
    purge_rows: float  # where the hourly purge removes it
    store_log: float  # bytes of the database's log
    attempt_log: float
    disk: float  # bytes that it occupies once it is delivered, indexes included


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """The load and the machines. The defaults are guesses until somebody measures them."""

    messages: float = 100e6  # a day
    peak: float = 4.0  # rate of the busiest hour, divided by the mean
    burst: float = 2.0  # rate in a burst, divided by the rate without
    burst_seconds: int = 60
    bursts: int = 24  # a day, one of them in the busiest hour
    refused: float = 0.05  # share of attempts that get a transient refusal
    relay_seconds: float = 0.05  # from one message to the next on one connection
    relay_rate: float = 500.0  # of one relay
    connections: int = 20  # of a worker
    worker_share: float = 0.7  # of a core that a worker may use
    spare: float = 1.5  # capacity, divided by what the busiest hour needs
    cores: int = 16  # of a database's machine
    database_share: float = 0.5  # of them that may be busy
    kept: int = 14  # days
    outage: int = HOUR
    drop: int = 2  # for which dropping a day may lock the tables
    purged: float = 0.0  # messages a second of the hourly purge; 0 where days are dropped


@dataclass(frozen=True, slots=True)
class Plan:
    """The formulae of docs/scale.md."""

    costs: Costs
    site: Site

    @property
    def mean(self) -> float:
        return self.site.messages / DAY

    @property
    def peak(self) -> float:
        return self.mean * self.site.peak

    @property
    def attempts(self) -> float:
        """Of a message, on average."""
        return 1 / (1 - self.site.refused)

    @property
    def worker_rate(self) -> float:
        """Attempts a second of one worker, limited by its core or by the relay.

        Every worker gets a notice of every commit, also if another worker sends the message.
        """
        site = self.site
        free = site.worker_share - self.worst_stored * self.costs.notice_cpu
        return min(max(0.0, free) / self.costs.worker_cpu, site.connections / site.relay_seconds)

    @property
    def possible(self) -> bool:
        """Whether the notices of all commits leave a worker time to send mail."""
        return self.worker_rate > 0

    @property
    def workers(self) -> int:
        return math.ceil(self.peak * self.attempts * self.site.spare / self.worker_rate)

    @property
    def capacity(self) -> float:
        """Attempts a second of all workers."""
        return self.workers * self.worker_rate

    @property
    def relays(self) -> int:
        return math.ceil(self.capacity / self.site.relay_rate)

    @property
    def worst_stored(self) -> float:
        """Messages stored a second: a burst in the busiest hour."""
        return self.peak * self.site.burst

    @property
    def worst(self) -> tuple[float, float]:
        """Messages stored and attempts a second, in such a burst while a backlog is sent."""
        return self.worst_stored, self.capacity

    @property
    def busy(self) -> float:
        """Sessions of the database that are busy at once, at the worst of times."""
        stored, attempted = self.worst
        return stored * self.costs.store_busy + attempted * self.costs.attempt_busy

    @property
    def databases(self) -> int:
        return math.ceil(self.busy / (self.site.cores * self.site.database_share))

    @property
    def log_a_day(self) -> float:
        """Bytes."""
        return DAY * self.logged(self.mean, self.mean * self.attempts)

    @property
    def disk(self) -> float:
        """Bytes of all days that are kept."""
        return self.site.messages * self.costs.disk * self.site.kept

    def written(self, stored: float, attempted: float) -> float:
        """Rows a second, at these rates."""
        return stored * self.costs.store_rows + attempted * self.costs.attempt_rows

    def logged(self, stored: float, attempted: float) -> float:
        """Bytes a second of the database's log, at these rates."""
        return stored * self.costs.store_log + attempted * self.costs.attempt_log

    @property
    def fresh(self) -> float:
        """Fresh messages a second that all workers get through, retries being due as well."""
        return self.capacity / self.attempts

    @property
    def burst_wait(self) -> float:
        """The longest wait of a fresh message on a day without trouble, a burst at the peak."""
        over = max(0.0, self.worst_stored - self.fresh)
        return over * self.site.burst_seconds / self.fresh

    @property
    def outage_queue(self) -> float:
        """Messages that wait at the end of an outage in the busiest hour."""
        return self.peak * (self.site.outage + PROBE)

    @property
    def outage_wait(self) -> float:
        """The longest wait of a fresh message then: that of the first one."""
        return float(self.site.outage + PROBE)

    @property
    def recovery(self) -> float:
        """From the end of the outage until nothing waits, were the busiest hour to last."""
        return PROBE + self.outage_queue / (self.fresh - self.peak)
