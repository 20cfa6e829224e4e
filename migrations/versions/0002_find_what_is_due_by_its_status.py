"""Find what is due by its status: new and deferred messages are claimed side by side."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_TABLE = "interaction_mail_message"
_INDEX = "ix_interaction_mail_message_due"


def upgrade() -> None:
    """Put the status in front of the index of what is due."""
    op.drop_index(_INDEX, _TABLE)
    op.create_index(_INDEX, _TABLE, ["status", "due_at"])


def downgrade() -> None:
    """Index by time alone."""
    op.drop_index(_INDEX, _TABLE)
    op.create_index(_INDEX, _TABLE, ["due_at"])
