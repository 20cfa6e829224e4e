"""Number the messages of one key, say who sent again, and give empty tables every letter."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context, op

from flask_interaction_mail.storage.migrations import schema_of

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_MESSAGE = "interaction_mail_message"
_INDEXES = {"resend": "resend_of", "message_id": "message_id"}  # name -> column
# Ids refer to each other within a group, so that its tables need one character set.
_GROUPS = (
    (_MESSAGE, "interaction_mail_recipient", "interaction_mail_attempt"),
    ("interaction_mail_settings",),
    ("interaction_mail_check",),
)


def upgrade() -> None:
    """Add two columns and two indexes; no row is rewritten."""
    schema = schema_of(context.config)
    if op.get_bind().dialect.name in ("mysql", "mariadb"):
        _convert_empty_tables(schema)
    number = sa.Column("key_number", sa.Integer(), nullable=False, server_default="0")
    op.add_column(_MESSAGE, number, schema=schema)
    op.add_column(_MESSAGE, sa.Column("resent_by", sa.String(255)), schema=schema)
    for name, column in _INDEXES.items():
        filled = sa.text(f'"{column}" IS NOT NULL')
        index = f"ix_{_MESSAGE}_{name}"
        where = {"sqlite_where": filled, "postgresql_where": filled}
        op.create_index(index, _MESSAGE, [column], schema=schema, **where)


def downgrade() -> None:
    """Drop them. Later messages with a key that was used before stay, as ordinary ones."""
    schema = schema_of(context.config)
    for name in _INDEXES:
        op.drop_index(f"ix_{_MESSAGE}_{name}", _MESSAGE, schema=schema)
    op.drop_column(_MESSAGE, "resent_by", schema=schema)
    op.drop_column(_MESSAGE, "key_number", schema=schema)


def _convert_empty_tables(schema: str | None) -> None:
    """Make them utf8mb4, whatever the database is; ``doctor`` names those that hold rows."""
    connection = op.get_bind()
    written = connection.dialect.identifier_preparer.format_table
    checked = connection.scalar(sa.text("SELECT @@foreign_key_checks"))
    op.execute("SET foreign_key_checks = 0")
    for group in _GROUPS:
        tables = [sa.table(name, schema=schema) for name in group]
        # Whose first table is empty is empty: the others refer to it.
        if connection.scalar(sa.select(sa.literal(1)).select_from(tables[0]).limit(1)) is None:
            for table in tables:
                op.execute(f"ALTER TABLE {written(table)} CONVERT TO CHARACTER SET utf8mb4")
    op.execute(f"SET foreign_key_checks = {checked}")
