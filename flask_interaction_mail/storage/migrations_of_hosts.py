"""What a host's own Alembic writes where rows of ours move from one table to another.

Autogenerate compares tables, not rows. It would create the narrow table and drop the columns with
all statuses in them. To import this module registers a comparator that writes the statements
between the two, which copy the rows, and those for the way back.

It imports Alembic, so it is imported only where Alembic's autogenerate is loaded already. That is
certain for ``flask db``, which loads its commands before the application, and for ``alembic``,
whose ``env.py`` loads the application.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any, Final

import alembic.util
import sqlalchemy as sa
from alembic.autogenerate import comparators, renderers
from alembic.autogenerate.api import AutogenContext
from alembic.operations import Operations, ops

from .migrations import characters_of
from .tables import ATTEMPT, DELIVERY, MESSAGE, METADATA, MOVED, RECIPIENT, copy_to

# From 1.18 on, a comparator that is registered in this way would else be asked before Alembic's.
_PRIORITY: Final[dict[str, Any]] = (
    {"priority": alembic.util.DispatchPriority.LAST}
    if hasattr(alembic.util, "DispatchPriority")
    else {}
)
# With types that a revision can name without importing this package.
copy_to(_AS_MIGRATED := sa.MetaData())


class CarryRows(ops.MigrateOperation):
    """Statements that copy rows, with a comment, and those that bring them back."""

    def __init__(self, there: Sequence[str], back: Sequence[str]) -> None:
        self.there = there
        self.back = back

    def reverse(self) -> CarryRows:
        return CarryRows(self.back, self.there)

    def to_diff_tuple(self) -> tuple[Any, ...]:
        return ("carry_rows", MESSAGE.name)


@Operations.implementation_for(CarryRows)
def _execute(operations: Operations, operation: CarryRows) -> None:
    for statement in operation.there:
        operations.execute(statement)


@renderers.dispatch_for(CarryRows)
def _render(context: AutogenContext, operation: CarryRows) -> list[str]:
    prefix = context.opts.get("alembic_module_prefix") or ""
    comment = "# Flask-Interaction-Mail: keep this, it copies the status of each message."
    return [
        comment,
        *(f'{prefix}execute("""{statement}""")' for statement in operation.there),
    ]


@comparators.dispatch_for("schema", **_PRIORITY)
def _carry_rows(context: AutogenContext, upgrade: ops.UpgradeOps, _schemas: object) -> None:
    for change in [*upgrade.ops]:
        if isinstance(change, ops.ModifyTableOps) and _drops_status(change):
            at = upgrade.ops.index(change)
            upgrade.ops[at : at + 1] = [_carry(context, change.schema), *_one_by_one(change)]
            _fit_characters(context, upgrade, change.schema)


def _drops_status(change: ops.ModifyTableOps) -> bool:
    dropped = {one.column_name for one in change.ops if isinstance(one, ops.DropColumnOp)}
    return change.table_name == MESSAGE.name and "status" in dropped


def _one_by_one(change: ops.ModifyTableOps) -> Iterator[ops.MigrateOperation]:
    """The changes outside of a batch, in which SQLite would drop the table and make it anew.

    With foreign keys on, that deletes all recipients.
    """
    dropped = [one for one in change.ops if isinstance(one, ops.DropColumnOp)]
    others = {one.column_name: one for one in dropped if one.column_name not in MOVED}
    yield from (one for one in change.ops if one not in dropped)
    yield from others.values()
    for name in MOVED:
        column = _column(name)
        yield ops.DropColumnOp.from_column_and_tablename(change.schema, MESSAGE.name, column)


def _column(name: str) -> sa.Column[Any]:
    """The column as it comes back: with a default, because the table is filled."""
    like = _AS_MIGRATED.tables[DELIVERY.name].c[name]
    default = None if like.nullable else ("" if isinstance(like.type, sa.String) else "0")
    return sa.Column(name, like.type, nullable=like.nullable, server_default=default)


def _fit_characters(context: AutogenContext, upgrade: ops.UpgradeOps, schema: str | None) -> None:
    """MariaDB: the new tables get the characters of the one that they refer to."""
    characters = characters_of(context.connection, schema) if context.connection else {}
    for create in upgrade.ops:
        if isinstance(create, ops.CreateTableOp) and create.table_name in _NEW:
            create.kw = {**create.kw, **characters}


def _carry(context: AutogenContext, schema: str | None) -> CarryRows:
    def written(table: sa.Table) -> str:
        name = sa.table(table.name, schema=schema)
        return context.dialect.identifier_preparer.format_table(name)

    delivery = written(DELIVERY)
    names = {
        "message": written(MESSAGE),
        "delivery": delivery,
        "recipient": written(RECIPIENT),
        "attempt": written(ATTEMPT),
        "moved": "\n        ".join(textwrap.wrap(", ".join(MOVED), 70)),
        "values": ",\n".join(_VALUE.format(name=name, delivery=delivery) for name in MOVED),
    }
    back = (_FILL, _ATTEMPTS, _RECIPIENTS)
    return CarryRows([_COPY.format_map(names)], [one.format_map(names) for one in back])


_NEW: Final = (DELIVERY.name, METADATA.name)
# Plain SQL that SQLite, PostgreSQL and MariaDB understand.
_COPY: Final = """
    INSERT INTO {delivery} (id, created_at, priority,
        {moved})
    SELECT id, created_at, 0,
        {moved}
    FROM {message} AS m
    WHERE NOT EXISTS (SELECT 1 FROM {delivery} AS d WHERE d.id = m.id)
"""
_VALUE: Final = "        {name} = (SELECT d.{name} FROM {delivery} AS d WHERE d.id = m.id)"
_FILL: Final = """
    UPDATE {message} AS m SET
{values}
    WHERE EXISTS (SELECT 1 FROM {delivery} AS d WHERE d.id = m.id)
"""
_ATTEMPTS: Final = """
    INSERT INTO {attempt} (message_id, number, started_at, finished_at,
        server, worker, result, stage, reply, verdicts)
    SELECT id, fence, started_at, finished_at,
        server, coalesce(worker, ''), 'accepted', 'content', reply, '{{}}'
    FROM {delivery} AS d
    WHERE server IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM {attempt} AS a WHERE a.message_id = d.id AND a.number = d.fence)
"""
_RECIPIENTS: Final = """
    UPDATE {recipient} AS r SET status = 'sent', reply = coalesce(
        (SELECT d.reply FROM {delivery} AS d WHERE d.id = r.message_id), reply)
    WHERE status IN ('queued', 'deferred') AND EXISTS (
        SELECT 1 FROM {delivery} AS d WHERE d.id = r.message_id AND d.status = 'sent')
"""
