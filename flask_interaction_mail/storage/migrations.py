"""The extension's own Alembic chain, and what keeps a host's chain away from our tables.

A host whose own Alembic migrates our tables needs none of this. With
``INTERACTION_MAIL_MIGRATIONS="own"`` the tables are not in the host's metadata, so its
autogenerate would drop them; ``not_ours`` makes it ignore them::

    Migrate(app, db, include_name=not_ours)

``schema`` is the one that holds our tables, None the database's default.

Alembic is an extra (``flask-interaction-mail[migrations]``), imported when a function needs it.
"""

from __future__ import annotations

import importlib.resources
import itertools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from ..errors import InteractionMailError
from .tables import DELIVERY, MESSAGE, TABLES, copy_to

if TYPE_CHECKING:
    from alembic.config import Config

VERSION_TABLE: Final = "interaction_mail_alembic_version"
AT_ONCE: Final = 5000  # messages that a migration changes in one transaction
_NAMES: Final = frozenset(table.name for table in TABLES)
_FAMILY: Final = ("mysql", "mariadb")
_MISSING: Final = "Alembic is not installed: pip install 'flask-interaction-mail[migrations]'."


def is_ours(name: str | None, type_: str, _parents: Mapping[str, str | None]) -> bool:
    """Alembic's ``include_name`` for our chain: no table but ours."""
    return type_ != "table" or name in _NAMES


def not_ours(name: str | None, type_: str, _parents: Mapping[str, str | None]) -> bool:
    """Alembic's ``include_name`` for a host's chain: every table but ours."""
    return type_ != "table" or name not in (*_NAMES, VERSION_TABLE)


def upgrade(engine: sa.Engine, revision: str = "head", *, schema: str | None = None) -> str | None:
    """Bring the tables up to ``revision``; returns the revision that they have afterwards.

    Tables that ``create_all`` of the host made are taken over if they are exactly as this version
    needs them. Commits after each migration, and within those that take long.

    Raises:
        InteractionMailError: Alembic is missing, there is no such revision, or tables that did
            not come from this chain are not as this version needs them.
    """
    with _migrating(engine, schema) as (config, connection):
        from alembic import command

        _take_over(config, connection, schema)
        command.upgrade(config, revision)
        return _current(connection, schema)


def downgrade(engine: sa.Engine, revision: str = "-1", *, schema: str | None = None) -> str | None:
    """Take the tables back to ``revision``; returns the revision that they have afterwards.

    "base" removes the tables. Takes over and commits as ``upgrade`` does, and raises the same.
    """
    with _migrating(engine, schema) as (config, connection):
        from alembic import command

        _take_over(config, connection, schema)
        command.downgrade(config, revision)
        return _current(connection, schema)


def current(engine: sa.Engine, *, schema: str | None = None) -> str | None:
    """The revision of our chain in the database; None before the first."""
    with engine.connect() as connection:
        return _current(connection, schema)


def schema_of(config: Config) -> str | None:
    """The schema of our tables, for migrations that run with ``config``."""
    schema: str | None = config.attributes["schema"]
    return schema


def newest() -> str:
    """The newest revision of our chain.

    Raises:
        InteractionMailError: Alembic is missing.
    """
    try:
        from alembic.script import ScriptDirectory
    except ImportError as error:
        raise InteractionMailError(_MISSING) from error
    return str(ScriptDirectory.from_config(_config()).get_current_head())


def differences(engine: sa.Engine, *, schema: str | None = None) -> list[str]:
    """One sentence for each difference between the tables and what this version needs.

    Changes nothing.

    Raises:
        InteractionMailError: Alembic is missing.
    """
    with engine.connect() as connection:
        return _differences(connection, schema)


def _differences(connection: sa.Connection, schema: str | None) -> list[str]:
    try:
        from alembic.autogenerate import compare_metadata
        from alembic.migration import MigrationContext
    except ImportError as error:
        raise InteractionMailError(_MISSING) from error
    # Alembic expects no name for the default schema.
    schema = None if schema == connection.dialect.default_schema_name else schema
    copy_to(wanted := sa.MetaData(schema=schema))
    options = {
        "include_name": partial(_is_ours_in, schema),
        "include_schemas": schema is not None,
        "compare_type": True,
    }
    context = MigrationContext.configure(connection, opts=options)
    found: list[Any] = compare_metadata(context, wanted)
    # The changes of one column come as a list of their own.
    lists = (item if isinstance(item, list) else [item] for item in found)
    # Rows that a host's migration would carry are no difference between tables.
    ignored = {"carry_rows"}
    if is_partitioned(connection, schema):
        # Their foreign keys are from partition to partition (docs/scale.md).
        ignored.add("add_fk")
    return [
        _sentence(difference)
        for difference in itertools.chain.from_iterable(lists)
        if difference[0] not in ignored
    ]


def _is_ours_in(
    schema: str | None, name: str | None, type_: str, parents: Mapping[str, str | None]
) -> bool:
    if type_ == "schema":
        return name == schema
    return is_ours(name, type_, parents) and parents.get("schema_name") == schema


def is_partitioned(connection: sa.Connection, schema: str | None) -> bool:
    """Whether the tables are divided by day (docs/scale.md)."""
    if connection.dialect.name != "postgresql":
        return False
    kind = sa.text("SELECT relkind::text FROM pg_class WHERE oid = to_regclass(:name)")
    preparer = connection.dialect.identifier_preparer
    name = preparer.format_table(sa.table(MESSAGE.name, schema=schema))
    return bool(connection.scalar(kind, {"name": name}) == "p")


def without_delivery(connection: sa.Connection, schema: str | None) -> int:
    """How many of the first thousand messages have no row that says what becomes of them.

    They are neither delivered nor listed. A migration from which somebody took the step that
    copies the rows leaves all older messages like that, so the first by id show it.
    """
    message = sa.table(MESSAGE.name, sa.column("id"), schema=schema)
    delivery = sa.table(DELIVERY.name, sa.column("id"), schema=schema)
    first = sa.select(message.c.id).order_by(message.c.id).limit(1000).subquery()
    has_row = sa.exists().where(delivery.c.id == first.c.id)
    return connection.scalar(sa.select(sa.func.count()).select_from(first).where(~has_row)) or 0


def characters_of(connection: sa.Connection, schema: str | None) -> dict[str, str]:
    """MariaDB: options that give a new table the characters of the messages' ids.

    A foreign key needs the same character set and collation on both sides. Empty on other
    databases, and where ids are no texts.
    """
    if connection.dialect.name not in _FAMILY:
        return {}
    query = sa.text(
        "SELECT character_set_name, collation_name FROM information_schema.columns"
        " WHERE table_schema = coalesce(:schema, database()) AND table_name = :message"
        " AND column_name = 'id' AND character_set_name IS NOT NULL"
    )
    found = connection.execute(query, {"schema": schema, "message": MESSAGE.name}).first() or ()
    both = zip(("charset", "collate"), found, strict=False)
    return {f"{dialect}_{option}": value for option, value in both for dialect in _FAMILY}


def _sentence(difference: tuple[Any, ...]) -> str:
    match difference:
        case ("add_table", table):
            return f"The table {table.name} is missing."
        case ("add_column" | "remove_column" as what, _, table, column):
            word = "missing" if what == "add_column" else "not expected"
            return f"The column {table}.{column.name} is {word}."
        case ("modify_type", _, table, column, _, found, wanted):
            return f"The column {table}.{column} is {found!r} and must be {wanted!r}."
        case ("modify_nullable", _, table, column, *_):
            return f"The column {table}.{column} differs in whether it may be empty."
        case (str() as what, thing, *_):
            kind = what.partition("_")[2].replace("fk", "foreign key")
            word = "missing" if what.startswith("add_") else "not expected"
            return f"The {kind} {getattr(thing, 'name', thing)} is {word}."
    return str(difference)


@contextmanager
def _migrating(engine: sa.Engine, schema: str | None) -> Iterator[tuple[Config, sa.Connection]]:
    """Alembic's configuration and a connection; its errors become ours.

    Alembic begins and commits transactions itself. It leaves that to its caller on a connection
    that is in one already.
    """
    config = _config()
    from alembic.util import CommandError

    # Revision 0001 names no schema, so it needs this translation. Later ones name it themselves,
    # because Alembic translates nothing in what alters a table.
    translated = {None: schema} if schema else None
    with engine.execution_options(schema_translate_map=translated).connect() as connection:
        config.attributes.update(connection=connection, schema=schema)
        try:
            yield config, connection
        except CommandError as error:
            raise InteractionMailError(f"The tables were not migrated: {error}") from error


def _config() -> Config:
    try:
        from alembic.config import Config
    except ImportError as error:
        raise InteractionMailError(_MISSING) from error
    config = Config()
    config.set_main_option("script_location", str(_folder()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _folder() -> Path:
    try:
        return Path(str(importlib.resources.files("flask_interaction_mail.migrations")))
    except ModuleNotFoundError:  # run from a checkout that is not installed
        return Path(__file__).resolve().parents[2] / "migrations"


def _existing(connection: sa.Connection, schema: str | None) -> frozenset[str]:
    return _NAMES.intersection(sa.inspect(connection).get_table_names(schema))


def _current(connection: sa.Connection, schema: str | None) -> str | None:
    if not sa.inspect(connection).has_table(VERSION_TABLE, schema):
        return None
    version = sa.table(VERSION_TABLE, sa.column("version_num"), schema=schema)
    return connection.scalar(sa.select(version.c.version_num))


def _take_over(config: Config, connection: sa.Connection, schema: str | None) -> None:
    """Take tables that are there without a revision for those of the newest one."""
    from alembic import command

    if _current(connection, schema) is not None or not _existing(connection, schema):
        connection.commit()
        return
    if wrong := _differences(connection, schema):
        raise InteractionMailError(
            "There are tables of this extension that its own migrations did not make, and they "
            "are not as this version needs them: " + " ".join(wrong)
        )
    command.stamp(config, "head")
    connection.commit()
