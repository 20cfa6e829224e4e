"""What Alembic runs: our tables alone, and a version table of our own."""

from __future__ import annotations

from alembic import context

from flask_interaction_mail.migrate import VERSION_TABLE, is_ours
from flask_interaction_mail.models import Base


def run() -> None:
    """Run the migrations on the connection that ``flask_interaction_mail.migrate`` gives."""
    connection = context.config.attributes["connection"]
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        version_table=VERSION_TABLE,
        # The database is the host's: what else is in it does not concern us.
        include_name=is_ours,
        compare_type=True,
        # SQLite changes a table only by copying it.
        render_as_batch=connection.dialect.name == "sqlite",
    )
    with context.begin_transaction():
        context.run_migrations()


run()
