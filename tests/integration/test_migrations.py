"""The tables reach a database by the host's own Alembic, or by the extension's chain."""

from __future__ import annotations

import configparser
import logging.config
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.cli import FlaskGroup
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy

from flask_interaction_mail import InteractionMail, clock
from flask_interaction_mail.errors import InteractionMailError
from flask_interaction_mail.storage import migrations as migrate
from flask_interaction_mail.storage.tables import MESSAGE, TABLES, Base, copy_to
from tests.databases import DIALECTS, fresh_database

# Flask-Migrate's template calls it.
pytestmark = pytest.mark.filterwarnings("ignore:'get_engine' is deprecated:DeprecationWarning")

OURS = {table.name for table in TABLES}


@pytest.fixture(params=[*DIALECTS, "mariadb as mysql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    dialect, _, older = request.param.partition(" as ")
    # Old databases lack letters that our tables have.
    with fresh_database(dialect, tmp_path, options="CHARACTER SET latin1" if older else "") as url:
        # Many hosts name MariaDB by the older scheme, which is another dialect to SQLAlchemy.
        yield url.replace("mariadb+", "mysql+") if older else url


@pytest.fixture
def engine(url: str) -> Iterator[sa.Engine]:
    engine = sa.create_engine(url)
    yield engine
    engine.dispose()


@pytest.fixture(autouse=True)
def own_logging(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flask-Migrate's template sets logging up anew, which would silence other tests' loggers."""
    monkeypatch.setattr(logging.config, "fileConfig", lambda *_: None)


class Host:
    """A host with one table of its own, and its ``flask db``."""

    def __init__(self, folder: Path, url: str, migrations: str) -> None:
        self.folder = folder / "migrations"
        self._config = {
            "SQLALCHEMY_DATABASE_URI": url,
            "INTERACTION_MAIL_MIGRATIONS": migrations,
        }

    def flask_db(self, command: str) -> None:
        """Run ``flask db command`` on an application made for it, as in a new process."""
        app, db = Flask("host"), SQLAlchemy()
        app.config.update(self._config)
        db.init_app(app)
        InteractionMail(db=db).init_app(app)
        db.Table("person", sa.Column("id", sa.Integer, primary_key=True))
        own = self._config["INTERACTION_MAIL_MIGRATIONS"] == "own"
        Migrate(app, db, str(self.folder), **({"include_name": migrate.not_ours} if own else {}))
        done = app.test_cli_runner().invoke(FlaskGroup(load_dotenv=False), ["db", command])
        with app.app_context():
            db.engine.dispose()
        assert done.exit_code == 0, (done.output, done.exception)

    def versions(self) -> str:
        """The text of all migrations that were generated."""
        return "".join(file.read_text() for file in self.folder.glob("versions/*.py"))


def _tables(engine: sa.Engine) -> set[str]:
    return set(sa.inspect(engine).get_table_names())


def test_the_hosts_own_autogenerate_looks_after_our_tables(
    url: str, engine: sa.Engine, tmp_path: Path
):
    """Generated, upgraded, found without a difference, and downgraded by the host's Alembic."""
    host = Host(tmp_path, url, "host")

    for command in ("init", "migrate", "upgrade"):
        host.flask_db(command)

    assert _tables(engine) == {"person", "alembic_version", *OURS}
    assert migrate.differences(engine) == []
    assert _character_sets(engine) <= {"utf8mb4"}
    assert "flask_interaction_mail" not in host.versions()  # it stands without the extension

    host.flask_db("check")  # finds no difference
    host.flask_db("downgrade")

    assert _tables(engine) == {"alembic_version"}


def test_own_chain_and_host_chain_leave_each_other_alone(
    url: str, engine: sa.Engine, tmp_path: Path
):
    """With both chains in one database, neither sees the other's tables."""
    migrate.upgrade(engine)
    host = Host(tmp_path, url, "own")

    for command in ("init", "migrate", "upgrade"):
        host.flask_db(command)

    host.flask_db("check")
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
    assert _character_sets(engine) <= {"utf8mb4"}
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
    return {
        name: (
            [
                (one["name"], str(one["type"]), one["nullable"], _default(one["default"]))
                for one in inspector.get_columns(name)
            ],
            inspector.get_pk_constraint(name),
            inspector.get_foreign_keys(name),
            _indexes(engine, inspector, name),
            inspector.get_table_options(name) if engine.name in ("mysql", "mariadb") else None,
        )
        for name in sorted(OURS)
    }


def _character_sets(engine: sa.Engine) -> set[str]:
    """Those of all texts of our tables; none where the database has but one."""
    if engine.name not in ("mysql", "mariadb"):
        return set()
    used = sa.text(
        "SELECT DISTINCT character_set_name FROM information_schema.columns"
        " WHERE table_schema = database() AND table_name IN :ours AND NOT"
        " character_set_name IS NULL"
    ).bindparams(sa.bindparam("ours", sorted(OURS), expanding=True))
    with engine.connect() as connection:
        return set(connection.scalars(used))


def _default(text: object) -> object:
    return text.strip("'") if isinstance(text, str) else text


def _indexes(engine: sa.Engine, inspector: sa.Inspector, name: str) -> object:
    if engine.dialect.name != "sqlite":
        return sorted(inspector.get_indexes(name), key=lambda index: str(index["name"]))
    # As they were written: the inspector's conditions cannot be compared.
    written = sa.text("SELECT sql FROM sqlite_master WHERE type = 'index' AND tbl_name = :name")
    with engine.connect() as connection:
        texts = connection.scalars(written, {"name": name})
        return sorted(re.sub(r"\s+", " ", text) for text in texts if text)


def _fill(engine: sa.Engine) -> None:
    """Rows in all tables, as the first version stored them."""
    with engine.begin() as connection:
        for name, values in _FIRST_ROWS.items():
            table = sa.Table(name, sa.MetaData(), autoload_with=connection)
            connection.execute(sa.insert(table), values)


_ID = "0193f7c0000070008000000000000001"
_AT = clock.to_db(datetime(2026, 11, 1, 12, 0, 0, 5, tzinfo=UTC))
_FIRST_ROWS: dict[str, dict[str, object]] = {
    "interaction_mail_message": {
        "id": _ID,
        "origin": _ID,
        "key": "order-1",
        "kind": "notification",
        "source": "call",
        "status": "cancelled",
        "created_at": _AT,
        "attempts": 1,
        "fence": 1,
        "lost_leases": 0,
        "subject": "Grüße",
        "intent": "{}",
        "route": "[]",
        "message_id": "<1@firm.example>",
        "smtputf8": False,
        "content": b"Subject: x\r\n\r\nx\r\n",
        "size": 18,
    },
    "interaction_mail_recipient": {
        "message_id": _ID,
        "position": 0,
        "field": "to",
        "name": "Ada Byron",
        "address": "ada@firm.example",
        "status": "cancelled",
    },
    "interaction_mail_attempt": {
        "message_id": _ID,
        "number": 1,
        "started_at": _AT,
        "server": "mail.firm.example:25",
        "worker": "w",
        "result": "transient",
        "stage": "rcpt",
        "verdicts": "{}",
    },
    "interaction_mail_settings": {
        "revision": 1,
        "created_at": _AT,
        "created_by": "Zoë",
        "fields": "{}",
    },
    "interaction_mail_check": {
        "id": _ID,
        "kind": "test",
        "at": _AT,
        "by": "Zoë",
        "fingerprint": "",
        "verdict": "passed",
        "steps": "[]",
    },
}


def _rows(engine: sa.Engine) -> dict[str, dict[str, object]]:
    """What stands in the columns of ``_FIRST_ROWS``."""
    found = {}
    with engine.connect() as connection:
        for name, values in _FIRST_ROWS.items():
            table = sa.Table(name, sa.MetaData(), autoload_with=connection)
            columns = [table.c[column] for column in values]
            found[name] = dict(connection.execute(sa.select(*columns)).one()._mapping)
    return found


def test_a_filled_database_is_carried_up_and_down(engine: sa.Engine):
    """Rows of the first version survive every later revision and the way back to it."""
    migrate.upgrade(engine, "0001")
    _fill(engine)
    first, described = _rows(engine), _described(engine)
    sets = _character_sets(engine)

    assert migrate.upgrade(engine) == migrate.newest()

    assert migrate.differences(engine) == []
    assert _rows(engine) == first
    assert _character_sets(engine) == sets  # doctor names the statement
    with engine.connect() as connection:
        new = connection.execute(sa.select(MESSAGE.c.key_number, MESSAGE.c.resent_by)).one()
    assert new == (0, None)

    assert migrate.downgrade(engine, "0001") == "0001"

    assert _rows(engine) == first
    assert _described(engine) == described
    assert migrate.upgrade(engine) == migrate.newest()
    assert _rows(engine) == first


@pytest.mark.parametrize("scheme", ["mariadb", "mysql"])
def test_tables_without_a_row_get_every_letter(tmp_path: Path, scheme: str):
    """MariaDB: each part of an old installation that holds nothing yet needs no repair."""
    with fresh_database("mariadb", tmp_path, options="CHARACTER SET latin1") as url:
        engine = sa.create_engine(url.replace("mariadb+", f"{scheme}+"), pool_size=1)
        migrate.upgrade(engine, "0001")
        _fill(engine)
        with engine.begin() as connection:
            connection.execute(sa.text("DELETE FROM interaction_mail_message"))

        migrate.upgrade(engine)

        inspector = sa.inspect(engine)
        options = {name: str(inspector.get_table_options(name)) for name in OURS}
        assert {name for name, found in options.items() if "latin1" in found} == {
            "interaction_mail_settings",
            "interaction_mail_check",
        }
        with engine.connect() as connection:
            assert connection.scalar(sa.text("SELECT @@foreign_key_checks")) == 1
        engine.dispose()


def test_tables_that_refer_to_each_other_keep_one_character_set(tmp_path: Path):
    """A message without an attempt yet: the attempts to come have its id in the same letters."""
    with fresh_database("mariadb", tmp_path, options="CHARACTER SET latin1") as url:
        engine = sa.create_engine(url.replace("mariadb+", "mysql+"), pool_size=1)
        migrate.upgrade(engine, "0001")
        _fill(engine)
        attempt = "interaction_mail_attempt"
        with engine.begin() as connection:
            connection.execute(sa.text(f"DELETE FROM {attempt}"))

        migrate.upgrade(engine)

        with engine.begin() as connection:
            table = sa.Table(attempt, sa.MetaData(), autoload_with=connection)
            connection.execute(sa.insert(table), _FIRST_ROWS[attempt])
        assert _character_sets(engine) == {"latin1"}
        engine.dispose()


def test_the_hosts_alembic_carries_a_filled_database_up_and_down(
    url: str, engine: sa.Engine, tmp_path: Path
):
    """A host that has the tables of the first version migrates with its rows in them."""
    migrate.upgrade(engine, "0001")
    with engine.begin() as connection:
        connection.execute(sa.text(f"DROP TABLE {migrate.VERSION_TABLE}"))
    _fill(engine)
    first = _rows(engine)
    host = Host(tmp_path, url, "host")

    for command in ("init", "migrate", "upgrade"):
        host.flask_db(command)

    assert migrate.differences(engine) == []
    assert _rows(engine) == first

    host.flask_db("downgrade")

    assert _rows(engine) == first


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
