"""Add the tables of counts, from which the page Activity is made."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context, op
from sqlalchemy.dialects import mysql

from flask_interaction_mail.storage.migrations import schema_of

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_ACTIVITY, _TALLY = "interaction_mail_activity", "interaction_mail_tally"
_FAMILY = ("mysql", "mariadb")
_INSTANT = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), *_FAMILY)
_LONG = sa.Text().with_variant(mysql.LONGTEXT(), *_FAMILY)
_COUNTED = ("sent", "deferred", "failed", "held")


def upgrade() -> None:
    """Create the tables, empty. ``activity rebuild`` counts what was sent before.

    Run it again if it was stopped.
    """
    schema = schema_of(context.config)
    present = _present(schema)
    options = {f"{dialect}_charset": "utf8mb4" for dialect in _FAMILY}
    if _ACTIVITY not in present:
        op.create_table(
            _ACTIVITY,
            sa.Column("what", sa.String(32), nullable=False),
            sa.Column("at", _INSTANT, nullable=False),
            sa.Column("name", sa.String(255), nullable=False),
            sa.Column("span", sa.String(32), nullable=False),
            *(sa.Column(name, sa.BigInteger(), nullable=False) for name in _COUNTED),
            sa.Column("example", sa.String(32)),
            sa.PrimaryKeyConstraint("what", "at", "name", "span", name=f"pk_{_ACTIVITY}"),
            schema=schema,
            sqlite_with_rowid=False,
            **options,
        )
    if _TALLY not in present:
        op.create_table(
            _TALLY,
            sa.Column("id", sa.Uuid(), nullable=False),
            sa.Column("hour", _INSTANT, nullable=False),
            sa.Column("counts", _LONG, nullable=False),
            sa.PrimaryKeyConstraint("id", name=f"pk_{_TALLY}"),
            schema=schema,
            **options,
        )


def downgrade() -> None:
    """Drop the tables. The messages are still there to count them again."""
    schema = schema_of(context.config)
    there = {_TALLY, _ACTIVITY} if context.is_offline_mode() else _present(schema)
    for table in (_TALLY, _ACTIVITY):
        if table in there:
            op.drop_table(table, schema=schema)


def _present(schema: str | None) -> set[str]:
    """The names of the tables that are there; nobody knows them where SQL is only written."""
    if context.is_offline_mode():
        return set()
    return {*sa.inspect(op.get_bind()).get_table_names(schema)}
