"""The statements of storing and delivering alone, on tables of several shapes.

No package takes part, so that a figure says what a shape costs and nothing else. The statements,
the columns and the sizes are those of the outbox: messages of 634 bytes with one recipient, claimed
and recorded in batches.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from flask_interaction_mail.messages.message import new_id

from .. import messages

_NOW = datetime(2026, 1, 1, tzinfo=UTC).isoformat(" ", "microseconds")[:26]
_REPLY = "250 2.0.0 Ok: queued as 4BxT9z3Qm7z9sVd"
_INTENT = json.dumps({"text": messages.TEXT, "to": [["Ada Byron", messages.RECIPIENT]]})
_ROUTE = json.dumps([["asked_for", "Ada Byron"], ["default_from", "crm@firm.example"]])
_STORED_AT_ONCE = 100  # messages in a transaction


@dataclass(frozen=True)
class Shape:
    """What stands where, and what is written of a first attempt that ends the matter."""

    delivery_apart: bool = False  # status, lease, attempts in a narrow row of their own
    content_apart: bool = False  # content, intent and route in a row of their own
    attempt: bool = True  # a row for the attempt, else its reply stands beside the status
    recipients: bool = True  # each gets the outcome, else only where they differ
    sequence: bool = False  # numbers as keys instead of UUIDv7
    fillfactor: int = 100  # %, of what is updated, on PostgreSQL
    batch: int = 40  # messages in a record


def work(url: str, count: int, **shape: Any) -> dict[str, float]:
    """Store and deliver ``count`` messages.

    Gives µs and, on PostgreSQL, bytes of WAL a message for each, and how many updates of a hundred
    touched no index.
    """
    tables = _Tables(sa.create_engine(url), Shape(**shape))
    tables.create()
    tables.settle()
    result = {}
    for name, steps in (("store", tables.store(count)), ("deliver", tables.deliver(count))):
        wal, start = tables.written(), time.perf_counter()
        for _ in steps:
            pass
        result[name] = (time.perf_counter() - start) / count * 1e6
        result[f"{name}_wal"] = (tables.written() - wal) / count
    return result | {"hot": tables.hot()}


class _Tables:
    def __init__(self, engine: sa.Engine, shape: Shape) -> None:
        self._raw: Any = engine.raw_connection()
        self._cursor = self._raw.cursor()
        self._postgresql = engine.dialect.name == "postgresql"
        self._shape = shape
        self._state = "delivery" if shape.delivery_apart else "message"
        self._body = "content" if shape.content_apart else "message"
        self._keys: Iterator[Any] = itertools.count(1)
        if not shape.sequence:
            self._keys = (new_id().hex for _ in itertools.count())
        self._due: list[Any] = []

    # -- the tables ------------------------------------------------------------------------

    def create(self) -> None:
        """Make them, with the indexes that questions need."""
        shape, postgresql = self._shape, self._postgresql
        key = "BIGINT" if shape.sequence else "UUID" if postgresql else "CHAR(32)"
        instant = "TIMESTAMP" if postgresql else "DATETIME"
        state = (
            "status VARCHAR(32), reason VARCHAR(32), detail VARCHAR(1000), "
            f"due_at {instant}, finished_at {instant}, attempts INTEGER, fence BIGINT, "
            f"lost_leases INTEGER, lease_until {instant}, worker VARCHAR(255), "
            f"created_at {instant}, size INTEGER, reply VARCHAR(1100)"
        )
        body = f"intent TEXT, route TEXT, content {'BYTEA' if postgresql else 'BLOB'}"
        head = (
            f"origin {key}, key VARCHAR(255), pair VARCHAR(255), kind VARCHAR(32), "
            "source VARCHAR(32), actor VARCHAR(255), subject VARCHAR(998), "
            f"message_id VARCHAR(255), envelope_sender VARCHAR(320), resend_of {key}"
        )
        columns = {"message": [head], "delivery": [], "content": []}
        columns[self._state].append(state)
        columns[self._body].append(body)
        filled = f" WITH (fillfactor = {shape.fillfactor})" if postgresql else ""
        for table, parts in columns.items():
            if parts:
                options = filled if table == self._state else ""
                named = ", ".join([f"id {key} PRIMARY KEY", *parts])
                self._do(f"CREATE TABLE {table} ({named}){options}")
        self._do(
            f"CREATE TABLE recipient (message_id {key} REFERENCES message(id), position INTEGER, "
            "field VARCHAR(32), name VARCHAR(255), address VARCHAR(320), status VARCHAR(32), "
            f"reply VARCHAR(1100), PRIMARY KEY (message_id, position)){filled}"
        )
        self._do(
            f"CREATE TABLE attempt (message_id {key} REFERENCES message(id), number BIGINT, "
            f"started_at {instant}, finished_at {instant}, server VARCHAR(255), "
            "worker VARCHAR(255), result VARCHAR(32), stage VARCHAR(32), reply VARCHAR(1100), "
            "verdicts TEXT, PRIMARY KEY (message_id, number))"
        )
        for name, on in (
            ("due", f"{self._state} (status, due_at) WHERE due_at IS NOT NULL"),
            ("lease", f"{self._state} (lease_until) WHERE lease_until IS NOT NULL"),
            ("status", f"{self._state} (status, created_at)"),
            ("created", f"{self._state} (created_at)"),
            ("key", "message (key) WHERE key IS NOT NULL"),
            ("pair", "message (pair) WHERE pair IS NOT NULL"),
            ("resend", "message (resend_of) WHERE resend_of IS NOT NULL"),
            ("message_id", "message (message_id) WHERE message_id IS NOT NULL"),
            ("address", "recipient (address)"),
        ):
            self._do(f"CREATE INDEX ix_{name} ON {on}")
        self._raw.commit()

    def settle(self) -> None:
        """Begin without what creating them has left to do, and find rows by index."""
        if self._postgresql:
            self._raw.dbapi_connection.autocommit = True
            self._do("CHECKPOINT")
            # As the outbox does: without statistics a small row is soon read by a scan of all.
            for way in ("seqscan", "bitmapscan", "hashjoin", "mergejoin"):
                self._do(f"SET enable_{way} = off")
            self._raw.dbapi_connection.autocommit = False

    # -- the work --------------------------------------------------------------------------

    def store(self, count: int) -> Iterator[None]:
        """A transaction at each step."""
        insert = {table: self._insert(table) for table in self._names()}
        for start in range(0, count, _STORED_AT_ONCE):
            rows: dict[str, list[tuple[Any, ...]]] = {table: [] for table in insert}
            for number in range(start, min(count, start + _STORED_AT_ONCE)):
                for table, row in self._rows(next(self._keys), number).items():
                    rows[table].append(row)
            for table, statement in insert.items():
                self._cursor.executemany(statement, rows[table])
            self._raw.commit()
            yield

    def deliver(self, count: int) -> Iterator[None]:
        """Each step records a batch and claims the next in one transaction."""
        claimed: Sequence[tuple[Any, ...]] = []
        for _ in range(0, count + self._shape.batch, self._shape.batch):
            if claimed:
                self._record(claimed)
            claimed = self._claim()
            self._raw.commit()
            yield
        if claimed:
            raise SystemExit(f"{len(claimed)} messages were left")

    def _claim(self) -> list[tuple[Any, ...]]:
        lock = " FOR UPDATE SKIP LOCKED" if self._postgresql else ""
        picked = self._do(
            f"SELECT id FROM {self._state} WHERE status = 'queued' AND due_at <= ? "
            f"ORDER BY due_at LIMIT ?{lock}",
            _NOW,
            self._shape.batch,
        ).fetchall()
        if not picked:
            return []
        rows = json.dumps([[str(id)] for (id,) in picked] if not self._shape.sequence else picked)
        until = (datetime.fromisoformat(_NOW) + timedelta(minutes=1)).isoformat(" ", "microseconds")
        self._do(
            f"UPDATE {self._state} SET status = 'sending', due_at = NULL, fence = fence + 1, "
            f"lost_leases = lost_leases + 1, lease_until = ?, worker = ? "
            f"FROM {self._table(1)} AS taken WHERE {self._state}.id = taken.c0",
            until,
            "worker-1.firm.example:4711",
            rows,
        )
        loaded = self._do(
            f"SELECT message.id, fence, content, envelope_sender FROM {self._table(1)} AS taken "
            f"JOIN message ON message.id = taken.c0{self._joined()}",
            rows,
        ).fetchall()
        self._do(
            "SELECT recipient.message_id, position, address, recipient.status "
            f"FROM {self._table(1)} AS taken JOIN recipient ON recipient.message_id = taken.c0",
            rows,
        ).fetchall()
        return [(id, fence) for id, fence, *_ in loaded]

    def _record(self, claimed: Sequence[tuple[Any, ...]]) -> None:
        sequence = self._shape.sequence
        claims = [[id if sequence else str(id), fence] for id, fence in claimed]
        rows = json.dumps(claims)
        reply = "" if self._shape.attempt else ", reply = ?"
        self._do(
            f"UPDATE {self._state} SET status = 'sent', reason = NULL, detail = NULL, "
            "finished_at = ?, attempts = attempts + 1, lease_until = NULL, worker = NULL, "
            f"lost_leases = 0{reply} FROM {self._table(2)} AS done "
            f"WHERE {self._state}.id = done.c0 AND fence = done.c1 AND lease_until IS NOT NULL",
            _NOW,
            *(() if self._shape.attempt else (_REPLY,)),
            rows,
        )
        if self._shape.recipients:
            self._do(
                f"UPDATE recipient SET status = 'sent', reply = ? FROM {self._table(2)} AS done "
                "WHERE recipient.message_id = done.c0 AND recipient.position = done.c1",
                _REPLY,
                json.dumps([[id, 0] for id, _ in claims]),
            )
        if self._shape.attempt:
            self._do(
                "INSERT INTO attempt SELECT done.c0, done.c1, ?, ?, 'mail.firm.example:25', "
                "'worker-1.firm.example:4711', 'accepted', 'content', ?, ? "
                f"FROM {self._table(2)} AS done",
                _NOW,
                _NOW,
                _REPLY,
                json.dumps({messages.RECIPIENT: _REPLY}),
                rows,
            )

    # -- what it came to -------------------------------------------------------------------

    def written(self) -> int:
        """Bytes of WAL so far."""
        if not self._postgresql:
            return 0
        found = self._do("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn").fetchone()
        self._raw.commit()
        return int(found[0])

    def hot(self) -> float:
        """How many of a hundred updates touched no index, on PostgreSQL."""
        if not self._postgresql:
            return 0.0
        self._do("SELECT pg_stat_force_next_flush()")
        self._raw.commit()
        sums = "sum(n_tup_hot_upd) * 1.0 / greatest(sum(n_tup_upd), 1)"
        found = self._do(f"SELECT {sums} FROM pg_stat_user_tables").fetchone()
        return 100 * float(found[0])

    # -- SQL by dialect ----------------------------------------------------------------------

    def _names(self) -> list[str]:
        return [*dict.fromkeys(("message", self._state, self._body)), "recipient"]

    def _rows(self, id: Any, number: int) -> dict[str, tuple[Any, ...]]:
        message_id = f"<{number}.{id}@firm.example>"
        head = (id, None, None, "merge_request", "merge_denied", "7", messages.SUBJECT, message_id)
        head += ("crm@firm.example", None)
        content = messages.finished()
        state = ("queued", None, None, _NOW, None, 0, 0, 0, None, None, _NOW, len(content), None)
        body = (_INTENT, _ROUTE, content)
        rows: dict[str, tuple[Any, ...]] = {"message": (id, *head)}
        for table, values in ((self._state, state), (self._body, body)):
            rows[table] = (*rows.get(table, (id,)), *values)
        address = f"reader-{number}@firm.example"
        rows["recipient"] = (id, 0, "to", "Ada Byron", address, "queued", None)
        return rows

    def _insert(self, table: str) -> str:
        (row,) = [row for name, row in self._rows(0, 0).items() if name == table]
        return self._marked(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})")

    def _joined(self) -> str:
        others = {self._state, self._body} - {"message"}
        return "".join(f" JOIN {table} ON {table}.id = message.id" for table in sorted(others))

    def _table(self, columns: int) -> str:
        """The rows of a parameter, as a table of an id and numbers."""
        if not self._postgresql:
            parts = [f"json_extract(value, '$[{at}]') AS c{at}" for at in range(columns)]
            return f"(SELECT {', '.join(parts)} FROM json_each(?))"
        types = ("BIGINT" if self._shape.sequence else "UUID", "BIGINT")
        parts = [f"CAST(value->>{at} AS {types[at]}) AS c{at}" for at in range(columns)]
        return f"(SELECT {', '.join(parts)} FROM jsonb_array_elements(CAST(? AS jsonb)))"

    def _do(self, statement: str, *values: Any) -> Any:
        return self._cursor.execute(self._marked(statement), values) or self._cursor

    def _marked(self, statement: str) -> str:
        return statement.replace("?", "%s") if self._postgresql else statement
