"""Move what delivery changes into a narrow table, and add metadata and the shown sender."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from alembic import context, op
from sqlalchemy.dialects import mysql

from flask_interaction_mail.storage.migrations import (
    AT_ONCE,
    characters_of,
    is_partitioned,
    schema_of,
)

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_MESSAGE = "interaction_mail_message"
_DELIVERY = "interaction_mail_delivery"
_METADATA = "interaction_mail_metadata"
_RECIPIENT = "interaction_mail_recipient"
_ATTEMPT = "interaction_mail_attempt"
_FAMILY = ("mysql", "mariadb")
_INSTANT = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), *_FAMILY)
# What leaves the table of messages: name -> type, and the default while a filled table gets it
# back. No message has the status "".
_MOVED: dict[str, tuple[sa.types.TypeEngine[Any], str | None]] = {
    "status": (sa.String(32), ""),
    "reason": (sa.String(32), None),
    "detail": (sa.String(1000), None),
    "due_at": (_INSTANT, None),
    "finished_at": (_INSTANT, None),
    "attempts": (sa.Integer(), "0"),
    "fence": (sa.BigInteger(), "0"),
    "lost_leases": (sa.Integer(), "0"),
    "lease_until": (_INSTANT, None),
    "worker": (sa.String(255), None),
    "size": (sa.Integer(), "0"),
}
# Table -> its indexes: name -> columns. Those of _WHERE_SET have rows with something in the last.
_OLD = {
    "due": ("status", "due_at"),
    "status": ("status", "created_at"),
    "lease": ("lease_until",),
    "created": ("created_at",),
}
_NEW = {
    _DELIVERY: {
        "due": ("status", "priority", "due_at"),
        "status": ("status", "created_at"),
        "created": ("created_at",),
        "lease": ("lease_until",),
        "provider_id": ("provider_id",),
    },
    _METADATA: {"value": ("name", "value")},
}
_WHERE_SET = ("due", "lease", "provider_id")
_ENDED = ("sent", "failed", "suppressed", "cancelled")
_OPEN = ("queued", "sending", "deferred", "held")
_ATTEMPT_COLUMNS = (
    "number",
    "started_at",
    "finished_at",
    "server",
    "worker",
    "result",
    "stage",
    "reply",
    "verdicts",
)
# A JSON object of two columns of several rows; MariaDB's is the other.
_OBJECT_OF = {"sqlite": "json_group_object", "postgresql": "json_object_agg"}


def upgrade() -> None:
    """Create the two tables, copy what moves, and drop the old columns at once.

    PostgreSQL and MariaDB copy what has ended in batches that lock nothing else. The last
    transaction locks the messages, copies all others, and changes the table. SQLite does all of it
    in one transaction, because its other writers wait anyway. Run it again if it was stopped: it
    does what is left.

    The processes of the old version are stopped before. One that still writes loses no message and
    no outcome, unless it changes a message that had ended: it erases an address, or a digest is
    sent again. After the last transaction its statements fail, and those of the new version, which
    waits for the column ``sender``, succeed.
    """
    schema = schema_of(context.config)
    offline = context.is_offline_mode()
    present = set() if offline else _present(schema)
    _create_tables(schema, present)
    rows = _Rows.of(schema)
    if offline:
        rows.copy()
        _replace_columns(schema)
    elif "status" in present:
        rows.copy_in_batches()
        with rows.locked():
            rows.copy_missing()
            _replace_columns(schema)


def downgrade() -> None:
    """Put the columns back with what stands in the narrow table, and drop both tables.

    An attempt that stands only there becomes a row again, and recipients whose status is the
    message's get theirs. Metadata and shown senders are lost. Commits after each batch. Run it
    again if it was stopped.

    The processes of the new version are stopped before. On SQLite the columns keep the default
    with which they were added, because dropping it would copy the table.
    """
    schema = schema_of(context.config)
    offline = context.is_offline_mode()
    present = {_DELIVERY, _METADATA, "sender"} if offline else _present(schema)
    rows = _Rows.of(schema)
    _add_columns(schema, present)
    if offline:
        rows.restore()
    elif _DELIVERY in present:
        rows.restore_in_batches()
    _create_indexes(_MESSAGE, _OLD, schema, present)
    _commit()
    if not offline and _DELIVERY in present:
        rows.lock()
        rows.restore_changed()
    _drop_defaults(schema)
    if "sender" in present:
        op.drop_column(_MESSAGE, "sender", schema=schema)
    for table in (_METADATA, _DELIVERY):  # the rows are needed until all else is done
        if table in present:
            op.drop_table(table, schema=schema)


def _present(schema: str | None) -> set[str]:
    """The names of our tables, of their indexes, and of the columns of messages."""
    inspector = sa.inspect(op.get_bind())
    tables = {_MESSAGE, *_NEW}.intersection(inspector.get_table_names(schema))
    indexes = (index for table in tables for index in inspector.get_indexes(table, schema))
    columns = inspector.get_columns(_MESSAGE, schema)
    return tables | {str(found["name"]) for found in (*columns, *indexes)}


def _commit() -> None:
    """Commit, and begin another transaction; both are done by Alembic's block."""
    if not context.is_offline_mode():
        with op.get_context().autocommit_block():
            pass


def _create_tables(schema: str | None, present: set[str]) -> None:
    options = {f"{dialect}_charset": "utf8mb4" for dialect in _FAMILY}
    divided = False
    if not context.is_offline_mode():
        options |= characters_of(op.get_bind(), schema)
        divided = is_partitioned(op.get_bind(), schema)
    columns = {_DELIVERY: _delivery_columns(), _METADATA: _metadata_columns()}
    for table, items in columns.items():
        if table not in present:
            # Partitioned tables have their foreign keys from partition to partition.
            key = [] if divided else [_of_message(table, items[0].name, schema)]
            op.create_table(table, *items, *key, schema=schema, **options)
        _create_indexes(table, _NEW[table], schema, present)
    _commit()


def _delivery_columns() -> list[Any]:
    return [
        sa.Column("id", sa.Uuid(), nullable=False),
        *(_moved(name) for name in ("status", "reason", "detail")),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        *(_moved(name) for name in itertools.islice(_MOVED, 3, None)),
        sa.Column("started_at", _INSTANT),
        sa.Column("server", sa.String(255)),
        sa.Column("reply", sa.String(1100)),
        sa.Column("relay", sa.String(255)),
        sa.Column("provider_id", sa.String(255)),
        sa.Column("returned", sa.String(32)),
        sa.PrimaryKeyConstraint("id", name=f"pk_{_DELIVERY}"),
    ]


def _moved(name: str, **options: str | None) -> sa.Column[Any]:
    type_, default = _MOVED[name]
    return sa.Column(name, type_, nullable=default is None, **options)


def _metadata_columns() -> list[Any]:
    return [
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("value", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint("message_id", "name", name=f"pk_{_METADATA}"),
    ]


def _of_message(table: str, column: str, schema: str | None) -> sa.ForeignKeyConstraint:
    target = f"{schema}.{_MESSAGE}.id" if schema else f"{_MESSAGE}.id"
    return sa.ForeignKeyConstraint(
        [column], [target], name=f"fk_{table}_message", ondelete="CASCADE"
    )


def _create_indexes(
    table: str, indexes: dict[str, tuple[str, ...]], schema: str | None, present: set[str]
) -> None:
    for name, columns in indexes.items():
        if f"ix_{table}_{name}" not in present:
            where = {}
            if name in _WHERE_SET:
                filled = sa.text(f'"{columns[-1]}" IS NOT NULL')
                where = {"sqlite_where": filled, "postgresql_where": filled}
            op.create_index(f"ix_{table}_{name}", table, list(columns), schema=schema, **where)


def _replace_columns(schema: str | None) -> None:
    """Drop what was moved, and add the sender.

    MariaDB commits each statement, so that it gets only one.
    """
    indexes = [f"ix_{_MESSAGE}_{name}" for name in _OLD]
    if op.get_context().dialect.name in _FAMILY:
        changes = (
            *(f"DROP INDEX {name}" for name in indexes),
            *(f"DROP COLUMN {name}" for name in _MOVED),
            "ADD COLUMN sender VARCHAR(998)",
        )
        op.execute(
            f"ALTER TABLE {_written(sa.table(_MESSAGE, schema=schema))} {', '.join(changes)}"
        )
        return
    for name in indexes:
        op.drop_index(name, _MESSAGE, schema=schema)
    # On SQLite each one rewrites the table. A copy of the table takes half the time, but twice the
    # room, and foreign keys that are on would delete recipients and attempts with the original.
    for name in _MOVED:
        op.drop_column(_MESSAGE, name, schema=schema)
    op.add_column(_MESSAGE, sa.Column("sender", sa.String(998)), schema=schema)


def _add_columns(schema: str | None, present: set[str]) -> None:
    missing = [name for name in _MOVED if name not in present]
    if missing and op.get_context().dialect.name in _FAMILY:
        # MariaDB only hid the columns. Hidden ones count for the size of a row, which is limited.
        op.execute(f"ALTER TABLE {_written(sa.table(_MESSAGE, schema=schema))} FORCE")
    for name in missing:
        op.add_column(_MESSAGE, _moved(name, server_default=_MOVED[name][1]), schema=schema)
    _commit()


def _drop_defaults(schema: str | None) -> None:
    if op.get_context().dialect.name != "sqlite":
        for name, (_, default) in _MOVED.items():
            if default is not None:
                op.alter_column(_MESSAGE, name, server_default=None, schema=schema)


def _written(table: sa.TableClause) -> str:
    return op.get_context().dialect.identifier_preparer.format_table(table)


@dataclass(frozen=True)
class _Rows:
    """The columns that are read or changed, as they are at this revision."""

    message: sa.TableClause
    delivery: sa.TableClause
    recipient: sa.TableClause
    attempt: sa.TableClause

    @classmethod
    def of(cls, schema: str | None) -> _Rows:
        def table(name: str, id: str, *columns: str) -> sa.TableClause:
            rest = map(sa.column, columns)
            return sa.table(name, sa.column(id, sa.Uuid()), *rest, schema=schema)

        moved = ("created_at", *_MOVED)
        return cls(
            table(_MESSAGE, "id", *moved),
            table(_DELIVERY, "id", *moved, "priority", "started_at", "server", "reply"),
            table(_RECIPIENT, "message_id", "address", "status", "reply"),
            table(_ATTEMPT, "message_id", *_ATTEMPT_COLUMNS),
        )

    @property
    def connection(self) -> sa.Connection:
        return op.get_bind()

    def copy_in_batches(self) -> None:
        """Copy what has ended, from the last id that was copied, each batch in a transaction."""
        if self.connection.dialect.name == "sqlite":
            return
        message, delivery = self.message.c, self.delivery.c
        last = self.connection.scalar(sa.select(delivery.id).order_by(delivery.id.desc()).limit(1))
        for ids in self._in_order(message.id, message.status.in_(_ENDED), after=last):
            self.copy(message.id.in_(ids))
            _commit()

    def copy_missing(self) -> None:
        """Copy whatever is still missing."""
        message, delivery = self.message.c, self.delivery.c
        there = sa.exists().where(delivery.id == message.id).correlate(self.message)
        # The ids first: PostgreSQL finds them in the keys, and reads no other row.
        missing = self.connection.scalars(sa.select(message.id).where(~there)).all()
        for ids in _parts(missing):
            self.copy(message.id.in_(ids))

    def copy(self, *conditions: sa.ColumnElement[bool]) -> None:
        """Copy the messages that meet ``conditions``."""
        names = ("id", "created_at", *_MOVED)
        found = sa.select(*(self.message.c[name] for name in names), sa.literal_column("0"))
        into = sa.insert(self.delivery)
        op.execute(into.from_select([*names, "priority"], found.where(*conditions)))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else writes messages in this block, or until the end of its transaction."""
        tables = [_written(table) for table in (self.message, self.delivery)]
        if self.connection.dialect.name not in _FAMILY:
            self.lock()
            yield
            return
        op.execute(f"LOCK TABLES {', '.join(f'{table} WRITE' for table in tables)}")
        try:
            yield
        finally:
            op.execute("UNLOCK TABLES")

    def lock(self) -> None:
        """Keep others from writing messages until the end of the transaction; not on MariaDB."""
        match self.connection.dialect.name:
            case "postgresql":
                # The lock that the columns need anyway: to ask for more later is a deadlock.
                tables = f"{_written(self.message)}, {_written(self.delivery)}"
                op.execute(f"LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE")
            case "sqlite":  # the first one that writes has the file, also if it changes nothing
                self.connection.execute(sa.delete(self.delivery).where(sa.false()))

    def restore_in_batches(self) -> None:
        """Restore all messages, each batch in a transaction."""
        for ids in self._in_order(self.delivery.c.id):
            self._restore_these(ids)
            _commit()

    def restore_changed(self) -> None:
        """Restore what is new since the batches, and what had not ended then."""
        open_or_new = self.message.c.status.in_((*_OPEN, ""))
        changed = self.connection.scalars(sa.select(self.message.c.id).where(open_or_new)).all()
        for ids in _parts(changed):
            self._restore_these(ids)

    def _restore_these(self, ids: Sequence[Any]) -> None:
        message, delivery = self.message.c.id.in_(ids), self.delivery.c.id.in_(ids)
        self.restore(message=[message], delivery=[delivery])

    def restore(
        self,
        *,
        message: Sequence[sa.ColumnElement[bool]] = (),
        delivery: Sequence[sa.ColumnElement[bool]] = (),
    ) -> None:
        """Write back what stands in the narrow row; attempts before recipients, who tell them."""
        values = {name: self.delivery.c[name] for name in _MOVED}
        both = self.message.c.id == self.delivery.c.id
        op.execute(sa.update(self.message).where(both, *message).values(values))
        op.execute(self._attempts(*delivery))
        op.execute(self._recipients(*delivery))

    def _attempts(self, *conditions: sa.ColumnElement[bool]) -> sa.Insert:
        """Make rows of the accepted attempts that stand in the narrow row only."""
        delivery, attempt = self.delivery.c, self.attempt.c
        has_row = sa.exists().where(
            attempt.message_id == delivery.id, attempt.number == delivery.fence
        )
        values = {
            "number": delivery.fence,
            "started_at": delivery.started_at,
            "finished_at": delivery.finished_at,
            "server": delivery.server,
            "worker": sa.func.coalesce(delivery.worker, _word("")),
            "result": _word("accepted"),
            "stage": _word("content"),
            "reply": delivery.reply,
            "verdicts": self._verdicts(),
        }
        found = sa.select(delivery.id, *values.values())
        new = found.where(delivery.server.is_not(None), ~has_row, *conditions)
        return sa.insert(self.attempt).from_select(["message_id", *values], new)

    def _verdicts(self) -> sa.ColumnElement[str]:
        """The reply for each address in the envelope, as JSON."""
        recipient = self.recipient.c
        function = _OBJECT_OF.get(op.get_context().dialect.name, "json_objectagg")
        replies = getattr(sa.func, function)(recipient.address, self.delivery.c.reply)
        theirs = (
            recipient.message_id == self.delivery.c.id,
            self._is_unwritten(),
            self.delivery.c.reply.is_not(None),
        )
        found = sa.select(sa.cast(replies, sa.Text)).where(*theirs)
        text = found.correlate(self.delivery).scalar_subquery()
        return sa.func.coalesce(text, _word("{}"))

    def _recipients(self, *conditions: sa.ColumnElement[bool]) -> sa.Update:
        """Write the message's status and reply to recipients who have none of their own."""
        recipient, delivery = self.recipient.c, self.delivery.c
        sent = (recipient.message_id == delivery.id, delivery.status == _word("sent"))
        reply = sa.func.coalesce(delivery.reply, recipient.reply)
        found = sa.update(self.recipient).where(*sent, self._is_unwritten(), *conditions)
        return found.values(status=_word("sent"), reply=reply)

    def _is_unwritten(self) -> sa.ColumnElement[bool]:
        return self.recipient.c.status.in_((_word("queued"), _word("deferred")))

    def _in_order(
        self, id: sa.ColumnElement[Any], *conditions: sa.ColumnElement[bool], after: Any = None
    ) -> Iterator[Sequence[Any]]:
        """The ids in batches; each is found when the one before has been dealt with."""
        query = sa.select(id).where(*conditions).order_by(id).limit(AT_ONCE)
        while ids := self.connection.scalars(
            query if after is None else query.where(id > after)
        ).all():
            yield ids
            after = ids[-1]


def _word(text: str) -> sa.ColumnElement[str]:
    """A constant that is written out, also in SQL for later."""
    return sa.literal_column(f"'{text}'")


def _parts(ids: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(ids), AT_ONCE):
        yield ids[start : start + AT_ONCE]
