"""Add the table of counters, from which the page Activity is made."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context, op
from sqlalchemy.dialects import mysql

from flask_interaction_mail.storage.migrations import schema_of

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_ACTIVITY = "interaction_mail_activity"
_FAMILY = ("mysql", "mariadb")
_INSTANT = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), *_FAMILY)
_COUNTED = ("sent", "deferred", "failed", "held")


def upgrade() -> None:
    """Create the table, empty. ``activity rebuild`` counts what was sent before.

    Run it again if it was stopped.
    """
    schema = schema_of(context.config)
    if context.is_offline_mode() or not _is_there(schema):
        options = {f"{dialect}_charset": "utf8mb4" for dialect in _FAMILY}
        op.create_table(
            _ACTIVITY,
            sa.Column("what", sa.String(32), nullable=False),
            sa.Column("at", _INSTANT, nullable=False),
            sa.Column("name", sa.String(255), nullable=False),
            sa.Column("writer", sa.Uuid(), nullable=False),
            *(sa.Column(name, sa.BigInteger(), nullable=False) for name in _COUNTED),
            sa.Column("example", sa.String(32)),
            sa.PrimaryKeyConstraint("what", "at", "name", "writer", name=f"pk_{_ACTIVITY}"),
            schema=schema,
            sqlite_with_rowid=False,
            **options,
        )


def downgrade() -> None:
    """Drop the table. The messages are still there to count them again."""
    schema = schema_of(context.config)
    if context.is_offline_mode() or _is_there(schema):
        op.drop_table(_ACTIVITY, schema=schema)


def _is_there(schema: str | None) -> bool:
    return sa.inspect(op.get_bind()).has_table(_ACTIVITY, schema)
