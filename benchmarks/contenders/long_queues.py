"""Our outbox with up to a million messages: made by the database itself, then worked on."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import sqlalchemy as sa

from flask_interaction_mail import clock
from flask_interaction_mail.delivery.dispatcher import Dispatcher
from flask_interaction_mail.delivery.factory import dispatcher_of
from flask_interaction_mail.delivery.ports import StopCondition
from flask_interaction_mail.messages.intent import PURGED
from flask_interaction_mail.messages.message import NewMessage
from flask_interaction_mail.outbox import claim as queue
from flask_interaction_mail.outbox import retention
from flask_interaction_mail.outbox.claimed import AttemptResult
from flask_interaction_mail.outbox.insert import insert
from flask_interaction_mail.state import State
from flask_interaction_mail.storage.tables import DELIVERY, MESSAGE, RECIPIENT

from .. import messages
from .ours import composed, copies, host

BEGIN = datetime(2026, 1, 1)  # noqa: DTZ001 - as the database has it, in UTC
APART = timedelta(milliseconds=10)  # from one message to the next
KEPT = timedelta(days=900)  # longer than all this
_SQL = {
    "sqlite": {
        "id": "printf('%032x', n)",
        "address": "printf('%032x', n) || '@firm.example'",
        "time": "strftime('%Y-%m-%d %H:%M:%f', '2026-01-01', (n / 100.0) || ' seconds') || '000'",
        "numbers": "(WITH RECURSIVE c(n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM c "
        "WHERE n + 1 < {end}) SELECT n FROM c) AS numbers",
    },
    "postgresql": {
        "id": "lpad(to_hex(n), 32, '0')::uuid",
        "address": "lpad(to_hex(n), 32, '0') || '@firm.example'",
        "time": "timestamp '2026-01-01' + n * interval '10 milliseconds'",
        "numbers": "generate_series({first}, {end} - 1) AS numbers(n)",
    },
}


def grow(url: str, queued: int, sent: int, purged: int = 0) -> dict[str, float]:
    """Make an outbox with ``queued`` messages, and ``sent`` older ones that have left.

    The oldest ``purged`` of these have no text any more.
    """
    state = host(url)
    message = composed(state)._replace(content=messages.finished())
    with state.database.writing() as connection:
        insert(connection, [message])
        words = _SQL[connection.dialect.name]
        id = message.id.hex if connection.dialect.name == "sqlite" else str(message.id)
        new = {"id": words["id"], "origin": words["id"], "created_at": words["time"]}
        empty = new | {"intent": f"'{PURGED}'", "content": "NULL"}
        gone = new | {"status": "'sent'", "due_at": "NULL", "finished_at": words["time"]}
        due = new | {"due_at": words["time"]}
        this, end = f"id = '{id}'", 1 + sent + queued
        reader = {"message_id": words["id"], "address": words["address"]}
        _copy(connection, MESSAGE, this, empty, 1, 1 + purged)
        _copy(connection, MESSAGE, this, new, 1 + purged, end)
        _copy(connection, DELIVERY, this, gone, 1, 1 + sent)
        _copy(connection, DELIVERY, this, due, 1 + sent, end)
        _copy(connection, RECIPIENT, f"message_{this}", reader, 1, end)
        for table, which in ((RECIPIENT, f"message_{this}"), (DELIVERY, this), (MESSAGE, this)):
            connection.exec_driver_sql(f"DELETE FROM {table.name} WHERE {which}")
    _purge(state, 1 + purged)  # as an hour ago
    return {}


def _copy(
    connection: sa.Connection,
    table: sa.Table,
    which: str,
    changes: dict[str, str],
    first: int,
    end: int,
) -> None:
    if end <= first:
        return
    numbers = _SQL[connection.dialect.name]["numbers"].format(first=first, end=end)
    names = ", ".join(f'"{column.name}"' for column in table.columns)
    values = ", ".join(changes.get(column.name, f'one."{column.name}"') for column in table.columns)
    connection.exec_driver_sql(
        f"INSERT INTO {table.name} ({names}) SELECT {values} "
        f"FROM (SELECT * FROM {table.name} WHERE {which}) AS one, {numbers}"
    )


def work(
    url: str, port: int, batch: int, claims: int, drained: int, purged: int
) -> dict[str, float]:
    """What claims, a drain, storing and a purge take.

    ``claim`` is in ms for ``batch``, ``drain`` in µs for each of ``drained``, ``one`` in µs for a
    message that is stored in a transaction of its own, ``many`` in µs for each of many in one, and
    ``purge`` in ms for the texts of all messages before number ``purged``.

    Claimed messages are released and sent ones are replaced, so the queue keeps its length.
    """
    state = host(url, port)
    claim = _claims(state, batch, claims)
    drain = _drain(state, drained)
    new = copies(composed(state), drained)
    single, rest = new[: drained // 10], new[drained // 10 :]
    one = statistics.median(_stored(state, [message]) for message in single)
    many = _stored(state, rest) / len(rest)
    start = time.perf_counter()
    _purge(state, purged)
    purge = (time.perf_counter() - start) * 1e3
    return {"claim": claim, "drain": drain, "one": one, "many": many, "purge": purge}


def _stored(state: State, new: Sequence[NewMessage]) -> float:
    """µs that a transaction takes which stores them."""
    start = time.perf_counter()
    with state.database.writing() as connection:
        insert(connection, new)
    return (time.perf_counter() - start) * 1e6


def _purge(state: State, end: int) -> None:
    """Remove the texts of all messages before number ``end``."""
    now = BEGIN + end * APART + KEPT / 2
    retention.purge(state.database, now=now, bodies=KEPT / 2, logs=KEPT)


def _claims(state: State, batch: int, count: int) -> float:
    taken, claimed = [], []
    lease = state.config.lease
    for _ in range(count):
        start = time.perf_counter()
        with state.database.writing() as connection:
            claimed += queue.claim(
                connection, limit=batch, worker="bench", lease=lease, now=clock.now()
            )
        taken.append(time.perf_counter() - start)
    with state.database.writing() as connection:
        queue.give_back(connection, claimed, due_at=clock.now(), detail=None)
    if len(claimed) != batch * count:
        raise SystemExit(f"claimed {len(claimed)}, not {batch * count}")
    return statistics.median(taken) * 1e3


def _drain(state: State, wanted: int) -> float:
    ports, stop = dispatcher_of(state)._ports, threading.Event()
    done: list[int] = []
    start = time.perf_counter()

    def announce(verdicts: Sequence[AttemptResult]) -> None:
        ports.announce(verdicts)
        done.append(len(verdicts))
        if sum(done) >= wanted and not stop.is_set():
            taken.append((time.perf_counter() - start) / sum(done))
            stop.set()

    taken: list[float] = []
    Dispatcher(replace(ports, announce=announce)).drain(StopCondition(stop))
    if not taken:
        raise SystemExit(f"drained {sum(done)} of {wanted}")
    return taken[0] * 1e6
