"""Keep what came back: the state of each recipient and message, and the reports themselves."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context, op
from sqlalchemy.dialects import mysql

from flask_interaction_mail.storage.migrations import characters_of, is_partitioned, schema_of

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_REPORT = "interaction_mail_report"
_RECEIVED = f"ix_{_REPORT}_received"
_MESSAGE = "interaction_mail_message"
_RECIPIENT = "interaction_mail_recipient"
_DELIVERY = "interaction_mail_delivery"
_RETURNED = f"ix_{_DELIVERY}_returned"
_FAMILY = ("mysql", "mariadb")
_INSTANT = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), *_FAMILY)
_LONG = sa.Text().with_variant(mysql.LONGTEXT(), *_FAMILY)
_BYTES = sa.LargeBinary().with_variant(mysql.LONGBLOB(), *_FAMILY)
_OF_RECIPIENT = {"returned": sa.String(32), "returned_at": _INSTANT, "report": sa.String(1100)}


def upgrade() -> None:
    """Add a table, empty columns and an index of a column that is empty; no row is rewritten.

    Run it again if it was stopped: MariaDB commits each statement.
    """
    schema = schema_of(context.config)
    present = set() if context.is_offline_mode() else _present(schema)
    if _REPORT not in present:
        _create_table(schema)
    if _RECEIVED not in present:
        op.create_index(_RECEIVED, _REPORT, ["received_at"], schema=schema)
    for name, type_ in _OF_RECIPIENT.items():
        if name not in present:
            op.add_column(_RECIPIENT, sa.Column(name, type_), schema=schema)
    if _RETURNED not in present:
        filled = sa.text('"returned" IS NOT NULL')
        where = {"sqlite_where": filled, "postgresql_where": filled}
        op.create_index(_RETURNED, _DELIVERY, ["returned", "created_at"], schema=schema, **where)


def downgrade() -> None:
    """Drop them: what came back is forgotten. Its column of messages stays, and is emptied."""
    schema = schema_of(context.config)
    everything = {_REPORT, _RETURNED, *_OF_RECIPIENT}
    present = everything if context.is_offline_mode() else _present(schema)
    if _RETURNED in present:
        op.drop_index(_RETURNED, _DELIVERY, schema=schema)
    delivery = sa.table(_DELIVERY, sa.column("returned"), schema=schema)
    op.execute(
        sa.update(delivery).where(delivery.c.returned.is_not(None)).values(returned=sa.null())
    )
    for name in _OF_RECIPIENT:
        if name in present:
            op.drop_column(_RECIPIENT, name, schema=schema)
    if _REPORT in present:
        op.drop_table(_REPORT, schema=schema)


def _create_table(schema: str | None) -> None:
    options = {f"{dialect}_charset": "utf8mb4" for dialect in _FAMILY}
    divided = False
    if not context.is_offline_mode():
        options |= characters_of(op.get_bind(), schema)
        divided = is_partitioned(op.get_bind(), schema)
    message = f"{schema}.{_MESSAGE}.id" if schema else f"{_MESSAGE}.id"
    of_message = sa.ForeignKeyConstraint(
        ["message_id"], [message], name=f"fk_{_REPORT}_message", ondelete="CASCADE"
    )
    # Partitioned tables have their foreign keys from partition to partition.
    key = [] if divided else [of_message]
    op.create_table(
        _REPORT,
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("received_at", _INSTANT, nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("server", sa.String(255), nullable=False),
        sa.Column("notes", _LONG, nullable=False),
        sa.Column("content", _BYTES),
        sa.PrimaryKeyConstraint("message_id", "digest", name=f"pk_{_REPORT}"),
        *key,
        schema=schema,
        **options,
    )


def _present(schema: str | None) -> set[str]:
    """The names of the tables, of the recipients' columns and of the indexes that are there."""
    inspector = sa.inspect(op.get_bind())
    tables = set(inspector.get_table_names(schema))
    columns = {str(found["name"]) for found in inspector.get_columns(_RECIPIENT, schema)}
    indexes = {
        str(found["name"])
        for table in {_DELIVERY, _REPORT} & tables
        for found in inspector.get_indexes(table, schema)
    }
    return tables | columns | indexes
