"""Keep what a mail provider called a message with each attempt, and not only the last name."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context, op

from flask_interaction_mail.storage.migrations import schema_of

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_ATTEMPT = "interaction_mail_attempt"
_NAME = "provider_id"
_INDEX = f"ix_{_ATTEMPT}_{_NAME}"


def upgrade() -> None:
    """Add an empty column and an index of it; no row is rewritten.

    Run it again if it was stopped: MariaDB commits each statement.
    """
    schema = schema_of(context.config)
    present = set() if context.is_offline_mode() else _present(schema)
    if _NAME not in present:
        op.add_column(_ATTEMPT, sa.Column(_NAME, sa.String(255)), schema=schema)
    if _INDEX not in present:
        filled = sa.text(f'"{_NAME}" IS NOT NULL')
        where = {"sqlite_where": filled, "postgresql_where": filled}
        op.create_index(_INDEX, _ATTEMPT, [_NAME], schema=schema, **where)


def downgrade() -> None:
    """Drop both: only the last name that a message was given stays, beside its status."""
    schema = schema_of(context.config)
    present = {_NAME, _INDEX} if context.is_offline_mode() else _present(schema)
    if _INDEX in present:
        op.drop_index(_INDEX, _ATTEMPT, schema=schema)
    if _NAME in present:
        op.drop_column(_ATTEMPT, _NAME, schema=schema)


def _present(schema: str | None) -> set[str]:
    """The names of the attempts' columns and indexes that are there."""
    inspector = sa.inspect(op.get_bind())
    found = (*inspector.get_columns(_ATTEMPT, schema), *inspector.get_indexes(_ATTEMPT, schema))
    return {str(one["name"]) for one in found}
