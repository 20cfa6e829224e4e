"""The tables reach a database by the host's own Alembic, or by the extension's chain.

``FIM_LONG=1`` stops a migration after each write instead of each third one, and under the older
name of MariaDB, too.
"""

from __future__ import annotations

import configparser
import io
import itertools
import json
import logging.config
import re
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.command import downgrade, upgrade
from flask import Flask
from flask.cli import FlaskGroup
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.engine.interfaces import ReflectedColumn

from flask_interaction_mail import InteractionMail, clock
from flask_interaction_mail.errors import InteractionMailError
from flask_interaction_mail.storage import migrations as migrate
from flask_interaction_mail.storage.tables import (
    ACTIVITY,
    ALERT,
    ATTEMPT,
    DEAD,
    DELIVERY,
    MAILBOX,
    MESSAGE,
    METADATA,
    OURS,
    RECIPIENT,
    REPORT,
    REVISION,
    TABLES,
    TALLY,
    TOKEN,
    copy_to,
)
from tests.databases import DIALECTS, be_impatient, fresh_database
from tests.length import LONG

# Flask-Migrate's template calls it.
pytestmark = pytest.mark.filterwarnings("ignore:'get_engine' is deprecated:DeprecationWarning")

NAMES = {table.name for table in TABLES}
OLD = NAMES - {
    ACTIVITY.name,
    ALERT.name,
    DEAD.name,
    DELIVERY.name,
    MAILBOX.name,
    METADATA.name,
    REPORT.name,
    TALLY.name,
    TOKEN.name,
}  # of the first version


KINDS = (*DIALECTS, "mariadb as mysql")
# The server that is stopped is the same under both names.
stopped_on = pytest.mark.parametrize("url", KINDS if LONG else DIALECTS, indirect=True)


@pytest.fixture(params=KINDS)
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

    assert _tables(engine) == {"person", "alembic_version", *NAMES}
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
    assert _tables(engine) == {"person", "alembic_version", migrate.VERSION_TABLE, *NAMES}
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
    assert not _tables(engine) & NAMES


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
            # In no order: a column that is added, or put back, comes last.
            sorted(
                (one["name"], str(one["type"]), one["nullable"], _default(engine, one))
                for one in inspector.get_columns(name)
            ),
            inspector.get_pk_constraint(name),
            inspector.get_foreign_keys(name),
            _indexes(engine, inspector, name),
            inspector.get_table_options(name) if engine.name in ("mysql", "mariadb") else None,
        )
        for name in sorted(NAMES & _tables(engine))
    }


def _character_sets(engine: sa.Engine, tables: set[str] = NAMES) -> set[str]:
    """Those of all texts of ``tables``; none where the database has but one."""
    if engine.name not in ("mysql", "mariadb"):
        return set()
    used = sa.text(
        "SELECT DISTINCT character_set_name FROM information_schema.columns"
        " WHERE table_schema = database() AND table_name IN :ours AND NOT"
        " character_set_name IS NULL"
    ).bindparams(sa.bindparam("ours", sorted(tables), expanding=True))
    with engine.connect() as connection:
        return set(connection.scalars(used))


def _default(engine: sa.Engine, column: ReflectedColumn) -> object:
    """SQLite keeps that of a column that was put back, because dropping it copies the table."""
    if engine.name == "sqlite" and column["name"] in DELIVERY.c:
        return None
    text = column["default"]
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
            stored = dict(_one_row(connection, name))
            if name == MESSAGE.name and DELIVERY.name in _tables(engine):
                stored |= _one_row(connection, DELIVERY.name)
            found[name] = {column: stored[column] for column in values}
    return found


def _one_row(connection: sa.Connection, name: str) -> sa.RowMapping:
    table = sa.Table(name, sa.MetaData(), autoload_with=connection)
    return connection.execute(sa.select(table)).mappings().one()


def _of_delivery(engine: sa.Engine) -> sa.FromClause:
    """The table that has the status: the narrow one, or that of messages before revision 0004."""
    name = DELIVERY.name if DELIVERY.name in _tables(engine) else MESSAGE.name
    return sa.table(name, *(sa.column(column.name, column.type) for column in DELIVERY.c))


def test_a_filled_database_is_carried_up_and_down(engine: sa.Engine):
    """Rows of the first version survive every later revision and the way back to it."""
    migrate.upgrade(engine, "0001")
    _fill(engine)
    first, described = _rows(engine), _described(engine)
    sets = _character_sets(engine)

    assert migrate.upgrade(engine) == migrate.newest()

    assert migrate.differences(engine) == []
    assert _rows(engine) == first
    assert _character_sets(engine, OLD) == sets  # doctor names the statement
    assert _character_sets(engine, NAMES - OLD) <= {"utf8mb4"}
    with engine.connect() as connection:
        new = connection.execute(sa.select(MESSAGE.c.key_number, MESSAGE.c.resent_by)).one()
    assert new == (0, None)

    assert migrate.downgrade(engine, "0001") == "0001"

    assert _rows(engine) == first
    assert _described(engine) == described
    assert migrate.upgrade(engine) == migrate.newest()
    assert _rows(engine) == first


def test_what_a_provider_called_attempts_is_kept_up_and_forgotten_down(engine: sa.Engine):
    """On the way down the last name stays beside the status; the rows stay as they were."""
    migrate.upgrade(engine, "0001")
    _fill(engine)
    migrate.upgrade(engine, "0011")
    with engine.begin() as connection:
        connection.execute(sa.update(DELIVERY).values(provider_id="the last"))
    first, described = _rows(engine), _described(engine)

    def names() -> tuple[object, object]:
        with engine.connect() as connection:
            both = (DELIVERY.name, ATTEMPT.name)
            last, of_attempt = (_one_row(connection, name) for name in both)
            return last["provider_id"], of_attempt.get("provider_id", "no column")

    for _ in range(2):
        migrate.upgrade(engine, "0012")
        assert _rows(engine) == first
        assert names() == ("the last", None)
        with engine.begin() as connection:
            connection.execute(sa.update(ATTEMPT).values(provider_id="its own"))
        assert names() == ("the last", "its own")

        assert migrate.downgrade(engine, "0011") == "0011"
        assert _rows(engine) == first
        assert _described(engine) == described
        assert names() == ("the last", "no column")


# -- digests that are on their way ---------------------------------------------------------

# As version 0.1 left them: id -> status, reason, and each recipient's status by name. Of the
# digests "open" has not left, "failed" was refused and sent again, "cancelled" never left,
# "done" was sent, and of "half" one id is damaged.
_DAMAGED = {
    "purged": "{}",
    "cut off": "{",
    "an array": "[1]",
    "no list": '{"gathers": null}',
    "a text": '{"gathers": "abc"}',
    "no ids": '{"gathers": ["not-an-id", 7, null, []]}',
}
_MESSAGES: dict[str, tuple[str, str | None, dict[str, str]]] = {
    "open": ("queued", None, {"stewards": "queued"}),
    "failed": ("failed", "refused", {"stewards": "failed"}),
    "again": ("deferred", None, {"stewards": "deferred"}),
    "cancelled": ("cancelled", None, {"stewards": "cancelled"}),
    "done": ("sent", None, {"stewards": "sent"}),
    "half": ("deferred", None, {"cleo": "deferred"}),
    **{name: ("queued", None, {"stewards": "queued"}) for name in _DAMAGED},
    "first": ("sending", "rate", {"stewards": "sending"}),
    "second": ("sending", "rate", {"stewards": "sending", "ben": "sent"}),
    "sent to ben": ("sent", None, {"ben": "sent", "stewards": "sending"}),
    "queued for ben": ("queued", None, {"ben": "queued", "stewards": "sending"}),
    "refused": ("failed", "rate", {"stewards": "failed"}),
    "withdrawn": ("cancelled", "rate", {"stewards": "cancelled"}),
    "gone": ("sent", "rate", {"stewards": "sent"}),
    "for cleo": ("sending", "rate", {"cleo": "sending"}),
    "held": ("held", "rate", {"stewards": "held"}),
    "claimed": ("sending", None, {"stewards": "queued"}),
}
_IN_DIGESTS = {
    "open": ["first", "second", "sent to ben", "queued for ben"],
    "failed": ["refused"],
    "again": ["refused"],
    "cancelled": ["withdrawn"],
    "done": ["gone"],
    "half": ["for cleo"],
}
# What is different afterwards, and which digest each recipient's row names.
_HELD_NOW: dict[str, tuple[str, str | None, dict[str, str]]] = {
    "first": ("held", "rate", {"stewards": "held"}),
    "second": ("held", "rate", {"stewards": "held", "ben": "sent"}),
    "sent to ben": ("held", "rate", {"ben": "sent", "stewards": "held"}),
    "queued for ben": ("queued", None, {"ben": "queued", "stewards": "held"}),
    "for cleo": ("held", "rate", {"cleo": "held"}),
}
# After the way back: what the digest "open" makes of it is not known yet.
_BACK = _MESSAGES | {"sent to ben": ("sending", "rate", _MESSAGES["sent to ben"][2])}
_NAMED = {
    **dict.fromkeys([(name, "stewards") for name in _IN_DIGESTS["open"]], "open"),
    ("refused", "stewards"): "failed",
    ("withdrawn", "stewards"): "cancelled",
    ("for cleo", "cleo"): "half",
}


def _id(name: str) -> uuid.UUID:
    return uuid.uuid5(uuid.UUID(_ID), name)


def _fill_with_digests(engine: sa.Engine) -> None:
    message, recipient = (f"interaction_mail_{name}" for name in ("message", "recipient"))
    with engine.begin() as connection:
        for name, (status, reason, people) in _MESSAGES.items():
            row = _FIRST_ROWS[message] | {"id": _id(name).hex, "origin": _id(name).hex, "key": None}
            row |= {"status": status, "reason": reason, "intent": _intent(name)}
            row["source"] = "digest" if name in (*_IN_DIGESTS, *_DAMAGED) else "call"
            row["due_at"] = _AT if status in ("queued", "deferred", "held") else None
            row["lease_until"] = _AT if name == "claimed" else None
            row["resend_of"] = _id("failed").hex if name == "again" else None
            row["finished_at"] = _AT if status in ("sent", "failed") else None
            _insert(connection, message, row)
            for position, (to, of_recipient) in enumerate(people.items()):
                person = {"message_id": _id(name).hex, "position": position, "name": to}
                person |= {"address": f"{to}@firm.example", "status": of_recipient}
                _insert(connection, recipient, _FIRST_ROWS[recipient] | person)


def _intent(name: str) -> str:
    if name in _DAMAGED:
        return _DAMAGED[name]
    intent: dict[str, object] = {"kind": "notification", "source": "x", "subject": name}
    if name in _IN_DIGESTS:
        damage = ["not-an-id"] if name == "half" else []
        intent["gathers"] = [*damage, *(_id(member).hex for member in _IN_DIGESTS[name])]
    return json.dumps(intent)


def _insert(connection: sa.Connection, table: str, row: dict[str, object]) -> None:
    connection.execute(sa.insert(sa.Table(table, sa.MetaData(), autoload_with=connection)), row)


def _as_stored(engine: sa.Engine) -> dict[str, tuple[str, str | None, dict[str, str]]]:
    names = {_id(name): name for name in _MESSAGES}
    message, recipient = _of_delivery(engine).c, RECIPIENT.c
    people: dict[str, dict[str, str]] = {}
    with engine.connect() as connection:
        of_people = sa.select(recipient.message_id, recipient.name, recipient.status)
        for row in connection.execute(of_people.order_by(recipient.position)):
            people.setdefault(names[row.message_id], {})[row.name] = row.status
        rows = connection.execute(sa.select(message.id, message.status, message.reason)).all()
    found = ((names[row.id], row.status, row.reason) for row in rows)
    return {name: (status, reason, people[name]) for name, status, reason in found}


def test_digests_on_their_way_are_carried_up_and_down(engine: sa.Engine):
    """What is in one is held and names it; on the way back the digest names what is in it."""
    migrate.upgrade(engine, "0002")
    _fill_with_digests(engine)
    assert _as_stored(engine) == _MESSAGES

    assert migrate.upgrade(engine) == migrate.newest()

    assert _as_stored(engine) == _MESSAGES | _HELD_NOW
    assert _named(engine) == _NAMED
    with engine.begin() as connection:
        for name in _IN_DIGESTS["open"][:3]:
            row = connection.execute(sa.select(DELIVERY).where(DELIVERY.c.id == _id(name))).one()
            assert row.detail == f"It is in the digest {_id('open')}."
            assert (row.due_at, row.finished_at) == (None, None)
        # What this version makes says nothing of it in the intent.
        new = json.dumps({"kind": "notification", "source": "digest", "subject": "open"})
        connection.execute(sa.update(MESSAGE).where(MESSAGE.c.id == _id("open")).values(intent=new))

    assert migrate.downgrade(engine, "0002") == "0002"

    assert _as_stored(engine) == _BACK
    _assert_listed(engine)

    assert migrate.upgrade(engine) == migrate.newest()
    assert _as_stored(engine) == _MESSAGES | _HELD_NOW


def _named(engine: sa.Engine) -> dict[tuple[str, str], str]:
    """The digest that each recipient's row names."""
    names = {_id(name): name for name in _MESSAGES}
    with engine.connect() as connection:
        columns = (RECIPIENT.c.message_id, RECIPIENT.c.name, RECIPIENT.c.digest_id)
        named = sa.select(*columns).where(RECIPIENT.c.digest_id.is_not(None))
        rows = connection.execute(named)
        return {(names[row.message_id], row.name): names[row.digest_id] for row in rows}


def _assert_listed(engine: sa.Engine) -> None:
    """Each digest lists what is in it; where nothing is known of that, its text stays."""
    names = {_id(name): name for name in _MESSAGES}
    with engine.connect() as connection:
        is_digest = MESSAGE.c.source == "digest"
        intents = connection.execute(sa.select(MESSAGE.c.id, MESSAGE.c.intent).where(is_digest))
        texts = {names[row.id]: row.intent for row in intents}
    assert {name: texts.pop(name) for name in _DAMAGED} == _DAMAGED
    for name, text in texts.items():
        members = [_id(member).hex for member in _IN_DIGESTS[name]]
        assert sorted(json.loads(text)["gathers"]) == sorted(members), name


@stopped_on
def test_a_migration_that_was_stopped_is_run_again(engine: sa.Engine):
    """Whichever statement was the last, the next run finishes, up and down.

    Every third one in the short form, another third on each kind of database.
    """
    migrate.upgrade(engine, "0002")
    _fill_with_digests(engine)
    writes = 0 if LONG else DIALECTS.index(engine.dialect.name)
    stopped = True
    while stopped:
        stopped = stops_after(writes, engine, lambda: migrate.upgrade(engine, "0003"))
        assert migrate.upgrade(engine, "0003") == "0003"
        assert _as_stored(engine) == _MESSAGES | _HELD_NOW, writes
        assert _named(engine) == _NAMED, writes

        stopped |= stops_after(writes, engine, lambda: migrate.downgrade(engine, "0002"))
        assert migrate.downgrade(engine, "0002") == "0002"
        assert _as_stored(engine) == _BACK, writes
        _assert_listed(engine)
        writes += 1 if LONG else 3
    assert writes > 15


@stopped_on
def test_the_step_to_alerts_that_was_stopped_is_run_again(engine: sa.Engine):
    """Up and down, whichever statement was the last; what was there before is there after."""
    migrate.upgrade(engine, "0004")
    settings = _FIRST_ROWS["interaction_mail_settings"]
    with engine.begin() as connection:
        _insert(connection, "interaction_mail_settings", settings | {"secret": "token"})
    writes = 0
    stopped = True
    while stopped:
        stopped = stops_after(writes, engine, lambda: migrate.upgrade(engine, "0005"))
        assert migrate.upgrade(engine, "0005") == "0005"
        assert ALERT.name in _tables(engine), writes
        assert _ended_index(engine), writes
        assert "alert_secret" in _columns(engine, "interaction_mail_settings"), writes

        stopped |= stops_after(writes, engine, lambda: migrate.downgrade(engine, "0004"))
        assert migrate.downgrade(engine, "0004") == "0004"
        assert ALERT.name not in _tables(engine)
        assert not _ended_index(engine)
        with engine.connect() as connection:
            row = _one_row(connection, "interaction_mail_settings")
        assert (row["secret"], "alert_secret" in row) == ("token", False)
        writes += 1
    assert writes >= 3


def _columns(engine: sa.Engine, table: str) -> set[str]:
    return {column["name"] for column in sa.inspect(engine).get_columns(table)}


def _ended_index(engine: sa.Engine) -> bool:
    """Whether the index of what ended when is there."""
    indexes = sa.inspect(engine).get_indexes(DELIVERY.name)
    return "ix_interaction_mail_delivery_finished" in {index["name"] for index in indexes}


class _Stopped(Exception):
    """Comes where a process would have been killed."""


def stops_after(writes: int, engine: sa.Engine, migration: Callable[[], object]) -> bool:
    """Whether ``migration`` wanted to write more often than that; it is stopped there."""
    left = itertools.count(writes, -1)

    def count(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if not statement.startswith(("SELECT", "PRAGMA", "SHOW")) and next(left) == 0:
            raise _Stopped

    sa.event.listen(engine, "before_cursor_execute", count)
    try:
        migration()
    except _Stopped:
        return True
    finally:
        sa.event.remove(engine, "before_cursor_execute", count)
        engine.dispose()  # its connections would have ended, too
    return False


@stopped_on
def test_the_step_to_counts_may_be_stopped_and_run_again(engine: sa.Engine):
    """Up and down, whichever statement was the last; the rest of the tables stays as it is.

    In the short form as above.
    """
    newest = migrate.newest()
    migrate.upgrade(engine, f"{newest}-1")
    before, stopped = _described(engine), True
    writes = 0 if LONG else DIALECTS.index(engine.dialect.name)
    while stopped:
        stopped = stops_after(writes, engine, lambda: migrate.upgrade(engine))
        assert migrate.upgrade(engine) == newest
        assert migrate.differences(engine) == []
        stopped |= stops_after(writes, engine, lambda: migrate.downgrade(engine))
        if migrate.current(engine) == newest:
            migrate.downgrade(engine)
        assert _described(engine) == before
        writes += 1 if LONG else 3
    assert writes > 2


@pytest.mark.parametrize("schema", [None, "crm"])
def test_the_site_goes_on_while_digests_are_named(tmp_path: Path, schema: str | None):
    """PostgreSQL: the new column locks its table for a moment, not until the rows are filled."""
    with fresh_database("postgresql", tmp_path) as url, ThreadPoolExecutor() as pool:
        engine = sa.create_engine(url)
        if schema:
            with engine.begin() as connection:
                connection.execute(sa.schema.CreateSchema(schema))
            engine.dispose()
            engine = sa.create_engine(f"{url}?options=-csearch_path%3D{schema}")
        migrate.upgrade(engine, "0002", schema=schema)
        _fill_with_digests(engine)
        with engine.begin() as holder:
            member = sa.select(MESSAGE.c.id).where(MESSAGE.c.id == _id("first"))
            holder.execute(member.with_for_update())
            upgraded = pool.submit(migrate.upgrade, engine, schema=schema)
            _wait_until_one_waits(engine)

            site = sa.create_engine(engine.url)
            be_impatient(site)
            with site.begin() as connection:
                assert connection.execute(sa.select(RECIPIENT.c.name)).all()
                held = sa.update(RECIPIENT).where(RECIPIENT.c.message_id == _id("held"))
                connection.execute(held.values(reply="450 4.2.1 later"))
            site.dispose()
            assert not upgraded.done()
        assert upgraded.result(timeout=30) == migrate.newest()
        assert _as_stored(engine) == _MESSAGES | _HELD_NOW
        engine.dispose()


def _wait_until_one_waits(engine: sa.Engine) -> None:
    """Until some connection to the database waits for a lock of another."""
    waiting = sa.text(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    give_up = time.monotonic() + 30
    with engine.connect() as connection:
        while not connection.scalar(waiting):
            connection.rollback()
            assert time.monotonic() < give_up
            time.sleep(0.05)


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
        options = {name: str(inspector.get_table_options(name)) for name in NAMES}
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
        assert _character_sets(engine, OLD) == {"latin1"}
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


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_the_chain_can_be_written_as_sql(tmp_path: Path, dialect: str):
    """Alembic's ``--sql``: the statements make the same tables, and take them away."""
    with fresh_database(dialect, tmp_path) as url:
        engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
        for command, revisions in ((upgrade, "base:head"), (downgrade, "head:0002")):
            with migrate._migrating(engine, None) as (config, _):
                config.output_buffer = io.StringIO()
                command(config, revisions, sql=True)
            with engine.connect() as connection:
                for statement in config.output_buffer.getvalue().split(";\n"):
                    connection.exec_driver_sql(statement)
            assert migrate.current(engine) == (migrate.newest() if command is upgrade else "0002")
            assert bool(migrate.differences(engine)) == (command is downgrade)
        engine.dispose()


def test_tables_that_create_all_made_are_dropped_as_well(engine: sa.Engine):
    """Who uninstalls need not know who made the tables."""
    OURS.create_all(engine)
    assert migrate.downgrade(engine, "base") is None
    assert _tables(engine) & NAMES == set()


def test_tables_that_create_all_made_are_taken_over(engine: sa.Engine):
    """A host that moves from create_all to the own chain keeps its rows."""
    OURS.create_all(engine)
    insert = sa.insert(REVISION)
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

    assert _tables(engine) & NAMES == {"interaction_mail_check"}
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
