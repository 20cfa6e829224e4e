"""Keep what was told of mail in trouble, the webhook's secret, and find what ended lately."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context, op
from sqlalchemy.dialects import mysql

from flask_interaction_mail.storage.migrations import schema_of

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_ALERT = "interaction_mail_alert"
_SETTINGS = "interaction_mail_settings"
_SECRET = "alert_secret"  # noqa: S105 - the name of a column
_DELIVERY = "interaction_mail_delivery"
_INDEX = f"ix_{_DELIVERY}_finished"
_FAMILY = ("mysql", "mariadb")
_INSTANT = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), *_FAMILY)
_LONG = sa.Text().with_variant(mysql.LONGTEXT(), *_FAMILY)


def upgrade() -> None:
    """Add a small table, an empty column and an index; no row is rewritten.

    Writers of messages wait while the index is made, which reads the table once. Run it again if
    it was stopped: MariaDB commits each statement.
    """
    schema = schema_of(context.config)
    present = set() if context.is_offline_mode() else _present(schema)
    if _ALERT not in present:
        options = {f"{dialect}_charset": "utf8mb4" for dialect in _FAMILY}
        op.create_table(_ALERT, *_columns(), schema=schema, **options)
    if _SECRET not in present:
        op.add_column(_SETTINGS, sa.Column(_SECRET, _LONG), schema=schema)
    if _INDEX not in present:
        filled = sa.text('"finished_at" IS NOT NULL')
        where = {"sqlite_where": filled, "postgresql_where": filled}
        op.create_index(_INDEX, _DELIVERY, ["status", "finished_at"], schema=schema, **where)


def downgrade() -> None:
    """Drop them. The secret has to be entered again; an alert that holds is told once more."""
    schema = schema_of(context.config)
    everything = {_ALERT, _SECRET, _INDEX}
    present = everything if context.is_offline_mode() else _present(schema)
    if _INDEX in present:
        op.drop_index(_INDEX, _DELIVERY, schema=schema)
    if _SECRET in present:
        op.drop_column(_SETTINGS, _SECRET, schema=schema)
    if _ALERT in present:
        op.drop_table(_ALERT, schema=schema)


def _present(schema: str | None) -> set[str]:
    """The names of the tables, of the settings' columns and of the index, where they are there."""
    inspector = sa.inspect(op.get_bind())
    columns = inspector.get_columns(_SETTINGS, schema)
    indexes = inspector.get_indexes(_DELIVERY, schema)
    tables = inspector.get_table_names(schema)
    return {*tables, *(str(found["name"]) for found in (*columns, *indexes))}


def _columns() -> list[sa.Column[object] | sa.PrimaryKeyConstraint]:
    return [
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("began_at", _INSTANT, nullable=False),
        sa.Column("ended_at", _INSTANT),
        sa.Column("detail", sa.String(1000), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("told", sa.BigInteger(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("due_at", _INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("name", name=f"pk_{_ALERT}"),
    ]
