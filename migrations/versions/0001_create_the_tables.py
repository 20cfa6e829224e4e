"""Create the tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Written out here: a migration keeps its meaning when the models change.
_FAMILY = ("mysql", "mariadb")
_INSTANT = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), *_FAMILY)
_TEXT = sa.Text().with_variant(mysql.LONGTEXT(), *_FAMILY)
_BYTES = sa.LargeBinary().with_variant(mysql.LONGBLOB(), *_FAMILY)


def upgrade() -> None:
    """Create the five tables with their indexes."""
    _create_settings()
    _create_message()
    _create_recipient()
    _create_attempt()
    _create_check()


def downgrade() -> None:
    """Drop the five tables, and with them every setting and message."""
    for table in ("check", "attempt", "recipient", "message", "settings"):
        op.drop_table(f"interaction_mail_{table}")


def _create_settings() -> None:
    op.create_table(
        "interaction_mail_settings",
        sa.Column("revision", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("created_by", sa.String(255), nullable=False),
        sa.Column("fields", _TEXT, nullable=False),
        sa.Column("secret", _TEXT),
        sa.PrimaryKeyConstraint("revision", name="pk_interaction_mail_settings"),
    )


def _create_message() -> None:
    op.create_table(
        "interaction_mail_message",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("origin", sa.Uuid(), nullable=False),
        sa.Column("key", sa.String(255)),
        sa.Column("pair", sa.String(255)),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("source", sa.String(32), nullable=False),
        sa.Column("actor", sa.String(255)),
        sa.Column("status", sa.String(32), nullable=False),
        sa.Column("reason", sa.String(32)),
        sa.Column("detail", sa.String(1000)),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("due_at", _INSTANT, nullable=True),
        sa.Column("expires_at", _INSTANT),
        sa.Column("finished_at", _INSTANT),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("lost_leases", sa.Integer(), nullable=False),
        sa.Column("lease_until", _INSTANT),
        sa.Column("worker", sa.String(255)),
        sa.Column("subject", sa.String(998), nullable=False),
        sa.Column("intent", _TEXT, nullable=False),
        sa.Column("route", _TEXT, nullable=False),
        sa.Column("message_id", sa.String(255)),
        sa.Column("envelope_sender", sa.String(320)),
        sa.Column("smtputf8", sa.Boolean(), nullable=False),
        sa.Column("content", _BYTES),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("resend_of", sa.Uuid()),
        sa.PrimaryKeyConstraint("id", name="pk_interaction_mail_message"),
    )
    _index_where_set("message", "due", "status", "due_at")
    _index("message", "status", "status", "created_at")
    _index_where_set("message", "lease", "lease_until")
    _index("message", "created", "created_at")
    _index_where_set("message", "pair", "pair")
    _index_where_set("message", "key", "key")


def _create_recipient() -> None:
    op.create_table(
        "interaction_mail_recipient",
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("field", sa.String(32), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("address", sa.String(320), nullable=False),
        sa.Column("status", sa.String(32), nullable=False),
        sa.Column("reply", sa.String(1100)),
        sa.PrimaryKeyConstraint("message_id", "position", name="pk_interaction_mail_recipient"),
        _of_message("recipient"),
    )
    _index("recipient", "address", "address")


def _create_attempt() -> None:
    op.create_table(
        "interaction_mail_attempt",
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("started_at", _INSTANT, nullable=False),
        sa.Column("finished_at", _INSTANT),
        sa.Column("server", sa.String(255), nullable=False),
        sa.Column("worker", sa.String(255), nullable=False),
        sa.Column("result", sa.String(32), nullable=False),
        sa.Column("stage", sa.String(32), nullable=False),
        sa.Column("reply", sa.String(1100)),
        sa.Column("verdicts", _TEXT, nullable=False),
        sa.Column("diverted_to", sa.String(320)),
        sa.PrimaryKeyConstraint("message_id", "number", name="pk_interaction_mail_attempt"),
        _of_message("attempt"),
    )


def _create_check() -> None:
    op.create_table(
        "interaction_mail_check",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("at", _INSTANT, nullable=False),
        sa.Column("by", sa.String(255), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("verdict", sa.String(32), nullable=False),
        sa.Column("steps", _TEXT, nullable=False),
        sa.Column("until", _INSTANT),
        sa.PrimaryKeyConstraint("id", name="pk_interaction_mail_check"),
    )
    _index("check", "kind", "kind", "at")
    _index("check", "fingerprint", "fingerprint")


def _of_message(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["message_id"],
        ["interaction_mail_message.id"],
        name=f"fk_interaction_mail_{table}_message",
        ondelete="CASCADE",
    )


def _index(table: str, name: str, *columns: str, **where: sa.TextClause) -> None:
    table = f"interaction_mail_{table}"
    op.create_index(f"ix_{table}_{name}", table, list(columns), **where)


def _index_where_set(table: str, name: str, *columns: str) -> None:
    """Of the rows that have something in the last column, where the database can do that."""
    filled = sa.text(f'"{columns[-1]}" IS NOT NULL')
    _index(table, name, *columns, sqlite_where=filled, postgresql_where=filled)
