"""Keep how far the mailbox with returned mail was read, and by whom."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context, op
from sqlalchemy.dialects import mysql

from flask_interaction_mail.storage.migrations import schema_of

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_MAILBOX = "interaction_mail_mailbox"
_FAMILY = ("mysql", "mariadb")
_INSTANT = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), *_FAMILY)
_LONG = sa.Text().with_variant(mysql.LONGTEXT(), *_FAMILY)


def upgrade() -> None:
    """Add an empty table. Run it again if it was stopped."""
    schema = schema_of(context.config)
    if _is_present(schema, before=False):
        return
    options = {f"{dialect}_charset": "utf8mb4" for dialect in _FAMILY}
    op.create_table(
        _MAILBOX,
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("lease_until", _INSTANT),
        sa.Column("due_at", _INSTANT, nullable=False),
        sa.Column("looked_at", _INSTANT),
        sa.Column("uid_validity", sa.BigInteger()),
        sa.Column("uid", sa.BigInteger(), nullable=False),
        sa.Column("failed_since", _INSTANT),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("fault", sa.String(32)),
        sa.Column("trouble", sa.String(1000)),
        sa.Column("counts", _LONG, nullable=False),
        sa.PrimaryKeyConstraint("name", name=f"pk_{_MAILBOX}"),
        schema=schema,
        **options,
    )


def downgrade() -> None:
    """Drop it. The whole mailbox is looked at again later; each report counts once all the same."""
    schema = schema_of(context.config)
    if _is_present(schema, before=True):
        op.drop_table(_MAILBOX, schema=schema)


def _is_present(schema: str | None, *, before: bool) -> bool:
    """Whether the table is there; ``before`` where the database cannot be asked."""
    if context.is_offline_mode():
        return before
    return _MAILBOX in sa.inspect(op.get_bind()).get_table_names(schema)
