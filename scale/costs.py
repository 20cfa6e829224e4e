"""Measures what one message costs with tables partitioned by day, as in docs/scale.md."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from benchmarks import messages
from benchmarks.contenders.long_queues import _claims as claims
from benchmarks.contenders.ours import composed, copies, host
from benchmarks.servers import settle
from flask_interaction_mail import clock
from flask_interaction_mail.delivery import wakeup
from flask_interaction_mail.delivery.factory import dispatcher_of
from flask_interaction_mail.messages.message import NewMessage
from flask_interaction_mail.outbox import retention
from flask_interaction_mail.outbox.insert import insert
from flask_interaction_mail.state import State

from .capacity import Costs
from .partitions import divide

_WARM = 400  # messages that are not measured
# A session reports its statistics when it ends. PostgreSQL 14 and newer.
_READ = sa.text(
    "SELECT active_time / 1000 AS busy, tup_inserted + tup_updated + tup_deleted AS rows, "
    "pg_current_wal_flush_lsn()::text AS log FROM pg_stat_database WHERE datname = :name"
)
# The log is that of the whole server. This counts the records about our database, so commits are
# left out, some 50 bytes each. Full pages after a checkpoint are left out too: their number
# depends on the interval of checkpoints. PostgreSQL 15 and newer.
_LOGGED = sa.text(
    "SELECT sum(record_length - fpi_length) "
    "FROM pg_get_wal_records_info(:start, :end), pg_database "
    "WHERE datname = current_database() AND block_ref LIKE '%/' || pg_database.oid || '/%'"
)
_KEEP_LOG = sa.text("SELECT pg_create_physical_replication_slot(:name, true, true)")
# Sends notices one by one, like commits of many web processes.
_NOTIFY = sa.text(
    "DO $$ BEGIN FOR n IN 1..1000 LOOP PERFORM pg_notify('interaction_mail', ''), "
    "pg_sleep(0.0005); COMMIT; END LOOP; END $$"
)
_SIZE = sa.text("SELECT sum(pg_total_relation_size(relid)) FROM pg_stat_user_tables")


def costs(url: str, port: int, count: int, days: int) -> dict[str, float]:
    """Store ``count`` messages one by one, deliver them, purge them; see ``Costs``."""
    state = host(url, port)
    _divide(state, days)
    message = replace(composed(state), content=messages.finished())
    _store(state, copies(message, _WARM))
    _deliver(state, _WARM)
    with _metered(state, count) as meter:
        stored = meter.of(lambda: _store(state, copies(message, count)))
        attempted = meter.of(lambda: _deliver(state, count))
        size = _scalar(state, _SIZE) / (count + _WARM)
        removed = meter.of(lambda: _purge(state))
    return asdict(
        Costs(
            worker_cpu=attempted.cpu,
            notice_cpu=_notice(state),
            store_busy=stored.busy,
            attempt_busy=attempted.busy,
            store_rows=stored.rows,
            attempt_rows=attempted.rows,
            purge_rows=removed.rows * count / (count + _WARM),
            store_log=stored.log,
            attempt_log=attempted.log,
            disk=size,
        )
    )


def queue(url: str, count: int, days: int) -> dict[str, float]:
    """Queue ``count`` messages for today, in tables with so many partitions; 0: without."""
    state = host(url)
    if days:
        _divide(state, days)
    with state.database.writing() as connection:
        insert(connection, copies(composed(state), count))
    settle(url)
    return {}


def claim(url: str, batch: int, count: int) -> dict[str, float]:
    """ms for a claim of ``batch`` messages, which are released again."""
    return {"claim": claims(host(url), batch, count)}


def _divide(state: State, days: int) -> None:
    """Today and the days before it; tomorrow."""
    today = datetime.now(UTC).date()
    divide(state.database.bind.engine, [today - timedelta(days=n) for n in range(-1, days - 1)])


@dataclass(frozen=True, slots=True)
class _Spent:
    """For each message: CPU time of this process, busy time and writes of the database."""

    cpu: float
    busy: float
    rows: float
    log: float


@dataclass(frozen=True, slots=True)
class _Meter:
    """Measures what ``count`` messages cost, through a connection to another database."""

    state: State
    count: int
    connection: sa.Connection

    def of(self, action: Callable[[], None]) -> _Spent:
        before, start = self._look(), time.process_time()
        action()
        cpu, after = time.process_time() - start, self._look()
        logged = _scalar(self.state, _LOGGED, start=before.log, end=after.log)
        spent = (cpu, after.busy - before.busy, after.rows - before.rows, logged)
        return _Spent(*(float(total) / self.count for total in spent))

    def _look(self) -> sa.Row[tuple[Any, ...]]:
        engine = self.state.database.bind.engine
        engine.dispose()
        time.sleep(0.5)
        return self.connection.execute(_READ, {"name": engine.url.database}).one()


@contextmanager
def _metered(state: State, count: int) -> Iterator[_Meter]:
    """A meter; the server keeps its log while it is in use."""
    with state.database.writing() as connection:
        connection.execute(sa.text("CREATE EXTENSION pg_walinspect"))
    url = sa.make_url(state.database.bind.engine.url)
    other = sa.create_engine(url.set(database="postgres"), isolation_level="AUTOCOMMIT")
    with other.connect() as connection:
        connection.execute(_KEEP_LOG, {"name": url.database})
        yield _Meter(state, count, connection)
    other.dispose()


def _store(state: State, stored: list[NewMessage]) -> None:
    """Each in a transaction of its own with a notice to the workers, like a request."""
    for message in stored:
        with state.database.writing() as connection:
            insert(connection, [message])
        wakeup.notify(state.database)


def _deliver(state: State, count: int) -> None:
    progress = dispatcher_of(state).drain()
    if progress.sent != count:
        raise SystemExit(f"sent {progress.sent} of {count}: {progress.held_up_by}")


def _purge(state: State) -> None:
    nothing = timedelta(0)
    later = clock.now() + timedelta(seconds=1)
    retention.purge(state.database, now=later, bodies=nothing, logs=nothing)


def _notice(state: State) -> float:
    """CPU time of a worker for one notice, in seconds."""
    engine = sa.create_engine(state.database.bind.engine.url, isolation_level="AUTOCOMMIT")
    with (
        wakeup.listening(state.database.bind.engine, threading.Event()),
        engine.connect() as connection,
    ):
        time.sleep(0.5)
        start = time.process_time()
        connection.execute(_NOTIFY)
        spent = time.process_time() - start
    engine.dispose()
    return spent / 1000


def _scalar(state: State, query: sa.TextClause, **parameters: object) -> float:
    with state.database.reading() as connection:
        return float(connection.scalar(query, parameters) or 0)
