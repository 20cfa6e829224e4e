"""Keep access tokens for mail servers, and the secrets that they are asked for with."""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import context, op
from sqlalchemy.dialects import mysql

from flask_interaction_mail.logs import log
from flask_interaction_mail.storage.migrations import schema_of

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_TOKEN = "interaction_mail_token"  # noqa: S105 - the name of a table
_SETTINGS = "interaction_mail_settings"
_SECRETS = "secrets"
_FAMILY = ("mysql", "mariadb")
_INSTANT = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), *_FAMILY)
_LONG = sa.Text().with_variant(mysql.LONGTEXT(), *_FAMILY)


def upgrade() -> None:
    """Add an empty table and an empty column. Run it again if it was stopped."""
    schema = schema_of(context.config)
    present = set() if context.is_offline_mode() else _present(schema)
    if _TOKEN not in present:
        options = {f"{dialect}_charset": "utf8mb4" for dialect in _FAMILY}
        op.create_table(
            _TOKEN,
            sa.Column("name", sa.String(64), nullable=False),
            sa.Column("fence", sa.BigInteger(), nullable=False),
            sa.Column("lease_until", _INSTANT),
            sa.Column("token", _LONG),
            sa.Column("ends_at", _INSTANT),
            sa.Column("refresh_at", _INSTANT, nullable=False),
            sa.PrimaryKeyConstraint("name", name=f"pk_{_TOKEN}"),
            schema=schema,
            **options,
        )
    if _SECRETS not in present:
        op.add_column(_SETTINGS, sa.Column(_SECRETS, _LONG), schema=schema)


def downgrade() -> None:
    """Drop them. Tokens are asked for anew; the secrets of OAuth 2 have to be entered again.

    Of several relays, whose passwords are among those secrets, "default" alone stays.
    """
    schema = schema_of(context.config)
    if not context.is_offline_mode():
        _keep_default(schema)
    present = {_TOKEN, _SECRETS} if context.is_offline_mode() else _present(schema)
    if _SECRETS in present:
        op.drop_column(_SETTINGS, _SECRETS, schema=schema)
    if _TOKEN in present:
        op.drop_table(_TOKEN, schema=schema)


def _keep_default(schema: str | None) -> None:
    """Drop the settings of all other relays, in every revision; they are said in the log."""
    table = sa.table(
        _SETTINGS, sa.column("revision", sa.Integer), sa.column("fields", sa.Text), schema=schema
    )
    rows = op.get_bind().execute(sa.select(table).order_by(table.c.revision)).all()
    dropped: list[str] = []
    for row in rows:
        try:
            values = dict(json.loads(row.fields))
        except ValueError:  # damaged: what reads it says so
            continue
        kept = {name: value for name, value in values.items() if name.split(".")[0] != "relays"}
        if kept != values:
            dropped += [name for name in values.get("relays", ()) if name != "default"]
            change = sa.update(table).where(table.c.revision == row.revision)
            op.execute(change.values(fields=json.dumps(kept)))
    if dropped:
        gone = ", ".join(dict.fromkeys(dropped))
        log.warning("migrations.relays: %s dropped from the settings; default stays", gone)


def _present(schema: str | None) -> set[str]:
    """The names of the tables and of the settings' columns, where they are there."""
    inspector = sa.inspect(op.get_bind())
    columns = inspector.get_columns(_SETTINGS, schema)
    return {*inspector.get_table_names(schema), *(str(found["name"]) for found in columns)}
