"""What Alembic runs: our tables alone, and a version table of our own."""

from __future__ import annotations

from alembic import context

from flask_interaction_mail.storage.migrations import VERSION_TABLE, is_ours, schema_of
from flask_interaction_mail.storage.tables import OURS


def run() -> None:
    """Run the migrations on the connection that ``storage.migrations`` gives."""
    connection = context.config.attributes["connection"]
    context.configure(
        connection=connection,
        target_metadata=OURS,
        version_table=VERSION_TABLE,
        version_table_schema=schema_of(context.config),
        # The database is the host's: what else is in it does not concern us.
        include_name=is_ours,
        compare_type=True,
        transaction_per_migration=True,
        # SQLite changes a table only by copying it.
        render_as_batch=connection.dialect.name == "sqlite",
    )
    with context.begin_transaction():
        context.run_migrations()


run()
