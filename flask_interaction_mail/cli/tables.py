"""``db upgrade|downgrade|check``: the tables, for hosts whose own migrations leave them alone."""

from __future__ import annotations

import click
import sqlalchemy as sa

from ..config import Migrations
from ..state import state_of
from ..storage import migrations
from .output import Commands, as_json, dump, fail, main, say


@main.group(cls=Commands)
def db() -> None:
    """Look after the tables with the extension's own migrations."""


@db.command()
@click.argument("revision", default="head")
@as_json
def upgrade(revision: str, as_json: bool) -> None:
    """Bring the tables up to REVISION, by default the newest."""
    _refuse_if_the_hosts()
    _say_reached(migrations.upgrade(_engine(), revision, schema=_schema()), as_json)


@db.command()
@click.argument("revision", default="-1")
@click.confirmation_option(prompt="This can drop tables with all that is in them. Go on?")
@as_json
def downgrade(revision: str, as_json: bool) -> None:
    """Take the tables back to REVISION, by default by one; "base" drops them."""
    _refuse_if_the_hosts()
    _say_reached(migrations.downgrade(_engine(), revision, schema=_schema()), as_json)


@db.command()
@as_json
def check(as_json: bool) -> None:
    """Compare the tables with what this version needs."""
    found = migrations.differences(_engine(), schema=_schema())
    if as_json:
        dump({"differences": list(found)})
    if found:
        fail("\n  ".join(["the tables are not as this version needs them.", *found]))
    if not as_json:
        say("The tables are as this version needs them.")


def _say_reached(revision: str | None, as_json: bool) -> None:
    if as_json:
        dump({"revision": revision})
    else:
        say(f"The tables are at revision {revision}." if revision else "The tables are gone.")


def _refuse_if_the_hosts() -> None:
    if state_of().config.migrations is Migrations.HOST:
        fail(
            "The application's own migrations look after these tables (flask db migrate, "
            "flask db upgrade). To use the extension's, set INTERACTION_MAIL_MIGRATIONS = 'own'."
        )


def _engine() -> sa.Engine:
    return state_of().database.bind.engine


def _schema() -> str | None:
    return state_of().database.schema
