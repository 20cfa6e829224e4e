"""Keep what a person agreed to, beside the access tokens that are asked for with it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context, op
from sqlalchemy.dialects import mysql

from flask_interaction_mail.storage.migrations import schema_of

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_TOKEN = "interaction_mail_token"  # noqa: S105 - the name of a table
_CONSENT = "consent"
_LONG = sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")


def upgrade() -> None:
    """Add an empty column. Run it again if it was stopped."""
    schema = schema_of(context.config)
    if not _is_present(schema, before=False):
        op.add_column(_TOKEN, sa.Column(_CONSENT, _LONG), schema=schema)


def downgrade() -> None:
    """Drop it. Mailboxes have to be connected again."""
    schema = schema_of(context.config)
    if _is_present(schema, before=True):
        op.drop_column(_TOKEN, _CONSENT, schema=schema)


def _is_present(schema: str | None, *, before: bool) -> bool:
    """Whether the column is there; ``before`` where the database cannot be asked."""
    if context.is_offline_mode():
        return before
    columns = sa.inspect(op.get_bind()).get_columns(_TOKEN, schema)
    return _CONSENT in {found["name"] for found in columns}
