"""Keep which requests are not wanted any more or were lost, and which addresses do not exist."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context, op
from sqlalchemy.dialects import mysql

from flask_interaction_mail.storage.migrations import characters_of, is_partitioned, schema_of

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_DEAD = "interaction_mail_dead_address"
_ADDRESS = f"ix_{_DEAD}_address"
_MESSAGE = "interaction_mail_message"
_DELIVERY = "interaction_mail_delivery"
_LOST = f"ix_{_DELIVERY}_lost"
_FAMILY = ("mysql", "mariadb")
_INSTANT = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), *_FAMILY)
_OF_DELIVERY = {"closed": sa.String(32), "lost_at": _INSTANT}


def upgrade() -> None:
    """Add a table, two empty columns and an index of one of them; no row is rewritten.

    Run it again if it was stopped: MariaDB commits each statement.
    """
    schema = schema_of(context.config)
    present = set() if context.is_offline_mode() else _present(schema)
    if _DEAD not in present:
        _create_table(schema)
    if _ADDRESS not in present:
        op.create_index(_ADDRESS, _DEAD, ["address"], schema=schema)
    for name, type_ in _OF_DELIVERY.items():
        if name not in present:
            op.add_column(_DELIVERY, sa.Column(name, type_), schema=schema)
    if _LOST not in present:
        filled = sa.text('"lost_at" IS NOT NULL')
        where = {"sqlite_where": filled, "postgresql_where": filled}
        op.create_index(_LOST, _DELIVERY, ["lost_at"], schema=schema, **where)


def downgrade() -> None:
    """Drop them: addresses that do not exist are forgotten, and what was called back."""
    schema = schema_of(context.config)
    everything = {_DEAD, _LOST, *_OF_DELIVERY}
    present = everything if context.is_offline_mode() else _present(schema)
    if _LOST in present:
        op.drop_index(_LOST, _DELIVERY, schema=schema)
    for name in _OF_DELIVERY:
        if name in present:
            op.drop_column(_DELIVERY, name, schema=schema)
    if _DEAD in present:
        op.drop_table(_DEAD, schema=schema)


def _create_table(schema: str | None) -> None:
    options = {f"{dialect}_charset": "utf8mb4" for dialect in _FAMILY}
    divided = False
    if not context.is_offline_mode():
        options |= characters_of(op.get_bind(), schema)
        divided = is_partitioned(op.get_bind(), schema)
    message = f"{schema}.{_MESSAGE}.id" if schema else f"{_MESSAGE}.id"
    of_message = sa.ForeignKeyConstraint(
        ["message_id"], [message], name=f"fk_{_DEAD}_message", ondelete="CASCADE"
    )
    # Partitioned tables have their foreign keys from partition to partition.
    key = [] if divided else [of_message]
    op.create_table(
        _DEAD,
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("address", sa.String(320), nullable=False),
        sa.Column("sent_at", _INSTANT, nullable=False),
        sa.Column("code", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("message_id", "address", name=f"pk_{_DEAD}"),
        *key,
        schema=schema,
        **options,
    )


def _present(schema: str | None) -> set[str]:
    """The names of the tables, of the deliveries' columns and of the indexes that are there."""
    inspector = sa.inspect(op.get_bind())
    tables = set(inspector.get_table_names(schema))
    columns = {str(found["name"]) for found in inspector.get_columns(_DELIVERY, schema)}
    indexes = {
        str(found["name"])
        for table in {_DELIVERY, _DEAD} & tables
        for found in inspector.get_indexes(table, schema)
    }
    return tables | columns | indexes
