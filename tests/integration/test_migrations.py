"""The tables reach a database by the host's own Alembic, or by the extension's chain."""

from __future__ import annotations

import configparser
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from flask_interaction_mail import migrate
from flask_interaction_mail.errors import InteractionMailError
from flask_interaction_mail.models import TABLES, Base, copy_to
from tests.databases import DIALECTS, fresh_database

OURS = {table.name for table in TABLES}

# A host with one table of its own, as its developer would write it.
HOST = """
import os
import sqlalchemy as sa
from flask import Flask
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from flask_interaction_mail import InteractionMail
from flask_interaction_mail.migrate import not_ours

db = SQLAlchemy()
app = Flask("host")
app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["DATABASE"]
app.config["INTERACTION_MAIL_MIGRATIONS"] = os.environ["MIGRATIONS"]
db.init_app(app)
InteractionMail(db=db).init_app(app)

class Person(db.Model):
    id = sa.orm.mapped_column(sa.Integer, primary_key=True)

own = os.environ["MIGRATIONS"] == "own"
Migrate(app, db, **({"include_name": not_ours} if own else {}))
"""


@pytest.fixture(params=[*DIALECTS, "mariadb as mysql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    dialect = request.param.partition(" ")[0]
    with fresh_database(dialect, tmp_path) as url:
        # Many hosts name MariaDB by the older scheme, which is another dialect to SQLAlchemy.
        yield url.replace("mariadb+", "mysql+") if request.param != dialect else url


@pytest.fixture
def engine(url: str) -> Iterator[sa.Engine]:
    engine = sa.create_engine(url)
    yield engine
    engine.dispose()


class Host:
    """The host's ``flask db`` in a process of its own, as Alembic reconfigures logging."""

    def __init__(self, folder: Path, url: str, migrations: str) -> None:
        (folder / "host.py").write_text(HOST, encoding="utf-8")
        self.folder = folder
        self._environment = {**os.environ, "DATABASE": url, "MIGRATIONS": migrations}

    def flask_db(self, *command: str) -> str:
        """Run ``flask db command``, as a developer does, and give what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "flask", "--app", "host", "db", *command],
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        printed = done.stdout + done.stderr
        assert done.returncode == 0, printed
        return printed

    def versions(self) -> str:
        """The text of all migrations that were generated."""
        return "".join(file.read_text() for file in self.folder.glob("migrations/versions/*.py"))


def _tables(engine: sa.Engine) -> set[str]:
    return set(sa.inspect(engine).get_table_names())


def test_the_hosts_own_autogenerate_looks_after_our_tables(
    url: str, engine: sa.Engine, tmp_path: Path
):
    """Generated, upgraded, found without a difference, and downgraded by the host's Alembic."""
    host = Host(tmp_path, url, "host")

    host.flask_db("init")
    host.flask_db("migrate")
    host.flask_db("upgrade")

    assert "No new upgrade operations detected" in host.flask_db("check")
    assert _tables(engine) == {"person", "alembic_version", *OURS}
    assert migrate.differences(engine) == []
    assert "flask_interaction_mail" not in host.versions()  # it stands without the extension

    host.flask_db("downgrade")

    assert _tables(engine) == {"alembic_version"}


def test_own_chain_and_host_chain_leave_each_other_alone(
    url: str, engine: sa.Engine, tmp_path: Path
):
    """With both chains in one database, neither sees the other's tables."""
    migrate.upgrade(engine)
    host = Host(tmp_path, url, "own")

    host.flask_db("init")
    host.flask_db("migrate")
    host.flask_db("upgrade")

    assert "No new upgrade operations detected" in host.flask_db("check")
    assert "interaction_mail" not in host.versions()
    assert _tables(engine) == {"person", "alembic_version", migrate.VERSION_TABLE, *OURS}
    assert migrate.differences(engine) == []

    migrate.downgrade(engine, "base")

    assert _tables(engine) == {"person", "alembic_version", migrate.VERSION_TABLE}


def test_own_chain_makes_what_the_models_say(engine: sa.Engine):
    """From nothing to the newest revision and back, with no difference to the models."""
    assert migrate.current(engine) is None
    assert any("interaction_mail_message is missing" in one for one in migrate.differences(engine))

    assert migrate.upgrade(engine) == migrate.newest()
    assert migrate.differences(engine) == []
    assert migrate.upgrade(engine) == migrate.newest()  # twice is once

    assert migrate.downgrade(engine, "base") is None
    assert not _tables(engine) & OURS


def test_own_chain_makes_the_same_as_create_all(engine: sa.Engine):
    """Columns, keys and indexes are the same whichever way the tables came about."""
    migrate.upgrade(engine)
    migrated = _described(engine)
    migrate.downgrade(engine, "base")

    metadata = sa.MetaData()
    copy_to(metadata)
    metadata.create_all(engine)

    assert _described(engine) == migrated


def _described(engine: sa.Engine) -> dict[str, object]:
    inspector = sa.inspect(engine)
    if engine.dialect.name == "sqlite":
        with engine.connect() as connection:
            rows = connection.exec_driver_sql(
                "SELECT name, sql FROM sqlite_master WHERE name LIKE '%interaction_mail_%'"
            ).all()
        return {row.name: _canonical(row.sql) for row in rows if row.name[0] in "iI"}
    return {
        name: (
            [
                (one["name"], str(one["type"]), one["nullable"])
                for one in inspector.get_columns(name)
            ],
            inspector.get_pk_constraint(name),
            inspector.get_foreign_keys(name),
            sorted(inspector.get_indexes(name), key=lambda index: str(index["name"])),
        )
        for name in sorted(OURS)
    }


def _canonical(sql: str | None) -> str:
    return re.sub(r"\s+", " ", sql or "")


def test_tables_that_create_all_made_are_taken_over(engine: sa.Engine):
    """A host that moves from create_all to the own chain keeps its rows."""
    Base.metadata.create_all(engine)
    insert = sa.insert(Base.metadata.tables["interaction_mail_settings"])
    with engine.begin() as connection:
        moment = sa.func.current_timestamp()
        connection.execute(
            insert.values(revision=1, created_at=moment, created_by="x", fields="{}")
        )

    assert migrate.upgrade(engine) == migrate.newest()

    with engine.connect() as connection:
        count = sa.text("SELECT count(*) FROM interaction_mail_settings")
        assert connection.scalar(count) == 1


def test_foreign_tables_under_our_names_are_refused(engine: sa.Engine):
    """Tables that are there and wrong are named, and left as they are."""
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE interaction_mail_check (something INTEGER)"))

    with pytest.raises(InteractionMailError, match="interaction_mail_settings is missing"):
        migrate.upgrade(engine)

    assert _tables(engine) & OURS == {"interaction_mail_check"}
    found = "\n".join(migrate.differences(engine))
    assert "The column interaction_mail_check.verdict is missing." in found
    assert "The column interaction_mail_check.something is not expected." in found


def test_an_unknown_revision_is_an_error_of_ours(engine: sa.Engine):
    """A revision that the chain does not have is named, without a traceback of Alembic."""
    with pytest.raises(InteractionMailError, match="9999"):
        migrate.upgrade(engine, "9999")


def test_the_chain_is_listed_for_the_wheel():
    """The distribution maps the top-level folder to flask_interaction_mail.migrations."""
    metadata = configparser.ConfigParser()
    metadata.read(Path(__file__).parents[2] / "setup.cfg", encoding="utf-8")

    assert "flask_interaction_mail.migrations" in metadata["options"]["packages"].split()
    assert "flask_interaction_mail.migrations = migrations" in metadata["options"]["package_dir"]
    patterns = metadata["options.package_data"]["flask_interaction_mail.migrations"].split()
    assert {"*.mako", "versions/*.py"} <= set(patterns)
