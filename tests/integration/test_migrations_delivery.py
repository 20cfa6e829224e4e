"""What delivery changes moves from the table of messages into a narrow one, and back.

``FIM_LONG=1`` carries 100,000 messages instead of 300, and stops after each write instead of each
ninth one.
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import op
from alembic.autogenerate import produce_migrations, render_python_code
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy.dialects import mysql

# As in a process that loads Alembic before the application.
from flask_interaction_mail.storage import migrations as migrate
from flask_interaction_mail.storage import migrations_of_hosts as migrations_of_hosts
from flask_interaction_mail.storage.database import missing_parts
from flask_interaction_mail.storage.tables import (
    ATTEMPT,
    DELIVERY,
    MESSAGE,
    METADATA,
    RECIPIENT,
    copy_to,
)
from tests.crash.commands import Commands
from tests.databases import DIALECTS, be_impatient, fresh_database
from tests.integration.test_migrations import Host, stops_after
from tests.integration.test_migrations import own_logging as own_logging
from tests.length import LONG

pytestmark = pytest.mark.filterwarnings("ignore:'get_engine' is deprecated:DeprecationWarning")

COUNT = 100_000 if LONG else 300
KEPT = Path(__file__).parents[1] / "kept_host"
AT = datetime(2026, 11, 1, 12, 0, 0, 5)  # noqa: DTZ001 - as the database has it, in UTC
LATER = AT + timedelta(minutes=5)
MOVED = (
    *("status", "reason", "detail", "due_at", "finished_at", "attempts", "fence"),
    *("lost_leases", "lease_until", "worker", "size"),
)
# What every revision has of an attempt.
ATTEMPTED = [column.name for column in ATTEMPT.c if column.name != "provider_id"]
Row = dict[str, Any]
STATES: list[Row] = [
    {"status": "queued", "due_at": AT},
    {"status": "sending", "lease_until": LATER, "worker": "vm:1", "fence": 3},
    {"status": "sent", "finished_at": LATER, "attempts": 1, "fence": 2**40},
    {"status": "deferred", "due_at": LATER, "detail": "450 4.2.1 später", "attempts": 2},
    {"status": "failed", "reason": "refused", "detail": "550 no", "finished_at": AT},
    {"status": "held", "reason": "rate", "due_at": LATER, "lost_leases": 2},
    {"status": "suppressed", "reason": "request", "finished_at": AT},
    {"status": "cancelled", "finished_at": AT, "size": 0},
]
ENDED = ("sent", "failed", "suppressed", "cancelled")


@pytest.fixture(params=DIALECTS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with fresh_database(request.param, tmp_path) as url:
        yield url


@pytest.fixture
def engine(url: str) -> Iterator[sa.Engine]:
    engine = sa.create_engine(url)
    with minding_foreign_keys():
        yield engine
    engine.dispose()


@contextmanager
def minding_foreign_keys() -> Iterator[None]:
    """On SQLite, where the host decides: what drops the table of messages drops recipients."""

    def connect(connection: Any, _: object) -> None:
        if "sqlite" in type(connection).__module__:
            connection.execute("PRAGMA foreign_keys = ON")

    sa.event.listen(sa.Engine, "connect", connect)
    yield
    sa.event.remove(sa.Engine, "connect", connect)


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrate, "AT_ONCE", 3)


def id_of(number: int) -> uuid.UUID:
    """Mostly in the order of time, as ids are; every seventh is made of a key."""
    if number % 7 == 0:
        return uuid.uuid5(uuid.NAMESPACE_URL, str(number))
    return uuid.UUID(int=(0x0193F7C00000 + number << 80) | 7 << 76 | number)


def a_message(number: int) -> Row:
    """As revision 0001 has it."""
    row: Row = dict.fromkeys(MOVED) | {"fence": 1, "attempts": 0, "lost_leases": 0, "size": number}
    row |= {"id": id_of(number), "origin": id_of(number), "kind": "notification", "source": "call"}
    row |= {"created_at": AT + timedelta(seconds=number), "subject": "Grüße", "intent": "{}"}
    row |= {"route": "[]", "smtputf8": False, "content": b"x" * (2000 if LONG else 20)}
    return row | STATES[number % len(STATES)]


def an_attempt(number: int) -> Row:
    row: Row = {"message_id": id_of(number), "number": 1, "started_at": AT, "server": "mail:25"}
    return row | {"worker": "w", "result": "transient", "stage": "rcpt", "verdicts": "{}"}


def a_recipient(number: int, position: int) -> Row:
    row: Row = {"message_id": id_of(number), "position": position, "field": "to", "name": ""}
    status = STATES[number % len(STATES)]["status"]
    return row | {"address": f"{position}@firm.example", "status": status, "reply": "250 ok"}


def fill(engine: sa.Engine, numbers: range, schema: str | None = None) -> None:
    """Messages in all states, with two recipients and an attempt each."""
    for start in numbers[::5000]:
        part = range(start, min(start + 5000, numbers.stop))
        with engine.begin() as connection:
            insert(connection, MESSAGE, [a_message(number) for number in part], schema)
            people = [a_recipient(number, place) for number in part for place in (0, 1)]
            insert(connection, RECIPIENT, people, schema)
            insert(connection, ATTEMPT, [an_attempt(number) for number in part], schema)


def insert(
    connection: sa.Connection, table: sa.Table, rows: list[Row], schema: str | None = None
) -> None:
    types = {column.name: column.type for column in (*DELIVERY.c, *table.c)}
    columns = [sa.column(name, types[name]) for name in rows[0]]
    connection.execute(sa.insert(sa.table(table.name, *columns, schema=schema)), rows)


Rows = dict[str, list[tuple[Any, ...]]]


def rows(engine: sa.Engine, schema: str | None = None) -> Rows:
    """What delivery changes of each message, and its recipients and attempts."""
    narrow = DELIVERY.name in sa.inspect(engine).get_table_names(schema)
    names = {
        DELIVERY.name if narrow else MESSAGE.name: ["id", "created_at", *MOVED],
        RECIPIENT.name: ["message_id", "position", "address", "status", "reply"],
        ATTEMPT.name: ATTEMPTED,
    }
    types = {one.name: one.type for one in (*ATTEMPT.c, *RECIPIENT.c, *DELIVERY.c)}
    found: Rows = {}
    with engine.connect() as connection:
        for name, wanted in names.items():
            columns = [sa.column(one, types[one]) for one in wanted]
            table = sa.table(name, *columns, schema=schema)
            key = "delivery" if name in (DELIVERY.name, MESSAGE.name) else name
            found[key] = sorted(map(tuple, connection.execute(sa.select(table))), key=str)
    return found


# -- the extension's own chain -------------------------------------------------------------


@pytest.mark.parametrize("first", ["0001", "0003"])
def test_every_state_is_carried_up_and_down_and_up(engine: sa.Engine, first: str) -> None:
    """Status, reason, lease, dates and counts are the same in the narrow row, and back."""
    migrate.upgrade(engine, first)
    fill(engine, range(COUNT))
    before = rows(engine)
    assert len(before["delivery"]) == COUNT

    assert migrate.upgrade(engine) == migrate.newest()
    assert migrate.differences(engine) == []
    assert rows(engine) == before

    assert migrate.downgrade(engine, first) == first
    assert rows(engine) == before

    assert migrate.upgrade(engine) == migrate.newest()
    assert rows(engine) == before


@pytest.mark.usefixtures("small_batches")
def test_a_migration_that_was_stopped_loses_nothing(engine: sa.Engine) -> None:
    """Whichever statement was the last, the next run finishes, up and down.

    Every ninth one in the short form, others on each kind of database.
    """
    migrate.upgrade(engine, "0003")
    fill(engine, range(8))
    before = rows(engine)
    writes = 0 if LONG else 3 * DIALECTS.index(engine.dialect.name)
    stopped = True
    while stopped:
        stopped = stops_after(writes, engine, lambda: migrate.upgrade(engine, "0004"))
        assert migrate.upgrade(engine, "0004") == "0004"
        assert rows(engine) == before, writes

        stopped |= stops_after(writes, engine, lambda: migrate.downgrade(engine, "0003"))
        assert migrate.downgrade(engine, "0003") == "0003"
        assert rows(engine) == before, writes
        writes += 1 if LONG else 9
    assert writes > 20


@contextmanager
def before_each(engine: sa.Engine, beginning: str, action: Callable[[int], None]) -> Iterator[None]:
    """Call ``action`` with 0, 1, 2… before each statement that begins so."""
    calls = 0

    def look(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        nonlocal calls
        if statement.startswith(beginning):
            calls += 1
            action(calls - 1)

    sa.event.listen(engine, "before_cursor_execute", look)
    yield
    sa.event.remove(engine, "before_cursor_execute", look)
    assert calls


@pytest.mark.usefixtures("small_batches")
def test_what_an_old_process_still_writes_is_not_lost(engine: sa.Engine, url: str) -> None:
    """It stores new messages and ends others while the batches run, and waits for no batch."""
    if engine.dialect.name == "sqlite":
        return  # all in one transaction, for which others wait
    migrate.upgrade(engine, "0003")
    fill(engine, range(16))
    old = sa.create_engine(url)
    be_impatient(old)
    message = sa.table(MESSAGE.name, *(sa.column(one.name, one.type) for one in DELIVERY.c))

    def go_on(call: int) -> None:
        if call > 1:
            return  # later the table is locked, and who writes waits
        fill(old, range(100 + call, 101 + call))
        ends = sa.update(message).where(message.c.id == id_of(call * 8))  # it was queued
        with old.begin() as connection:
            connection.execute(ends.values(status="sent", due_at=None, finished_at=LATER))

    with before_each(engine, "INSERT INTO interaction_mail_delivery", go_on):
        migrate.upgrade(engine, "0004")

    found = {row[0]: row[2] for row in rows(engine)["delivery"]}
    assert len(found) == 18
    assert (found[id_of(0)], found[id_of(8)]) == ("sent", "sent")
    old.dispose()


@pytest.mark.usefixtures("small_batches")
def test_the_new_version_waits_until_everything_is_copied(engine: sa.Engine) -> None:
    """Before the last step it names the column that is missing."""
    migrate.upgrade(engine, "0003")
    fill(engine, range(16))
    missing: list[list[str]] = []

    def look(call: int) -> None:
        if call == 0:  # at the last ones the table is locked
            other = sa.create_engine(engine.url)
            with other.connect() as connection:
                missing.append(missing_parts(connection, None))
            other.dispose()

    with before_each(engine, "INSERT INTO interaction_mail_delivery", look):
        migrate.upgrade(engine)

    assert "The column interaction_mail_message.sender is missing." in missing[0]
    with engine.connect() as connection:
        assert missing_parts(connection, None) == []


REPLY = '250 2.0.0 "taken", für \\ alle'


def add_narrow_attempt(engine: sa.Engine) -> Row:
    """A message that is sent, as the new version stores it: in its narrow row alone."""
    number = 1000
    moved = dict.fromkeys(MOVED) | {"status": "sent", "finished_at": LATER, "attempts": 1}
    narrow = moved | {"id": id_of(number), "created_at": AT, "priority": 0, "fence": 7, "size": 9}
    narrow |= {"lost_leases": 0, "started_at": AT, "server": "mail:25", "reply": REPLY}
    people = [a_recipient(number, place) for place in (0, 1, 2)]
    for person, status in zip(people, ("queued", "deferred", "failed"), strict=True):
        person |= {"status": status, "reply": None if status == "queued" else "550 no"}
    with engine.begin() as connection:
        kept = {name: value for name, value in a_message(number).items() if name not in MOVED}
        insert(connection, MESSAGE, [kept])
        insert(connection, DELIVERY, [narrow])
        insert(connection, RECIPIENT, people)
        tag = {"message_id": id_of(number), "name": "order", "value": "4711"}
        insert(connection, METADATA, [tag])
    return narrow


def assert_narrow_attempt_is_written_out(engine: sa.Engine, verdicts: dict[str, str]) -> None:
    found = rows(engine)
    people = [row[3:] for row in found[RECIPIENT.name] if row[0] == id_of(1000)]
    assert people == [("sent", REPLY), ("sent", REPLY), ("failed", "550 no")]
    attempts = [row for row in found[ATTEMPT.name] if row[0] == id_of(1000)]
    row = dict(zip(ATTEMPTED, attempts[0], strict=True))
    assert len(attempts) == 1
    assert json.loads(row.pop("verdicts")) == verdicts
    assert row == {
        "message_id": id_of(1000),
        "number": 7,
        "started_at": AT,
        "finished_at": LATER,
        "server": "mail:25",
        "worker": "",
        "result": "accepted",
        "stage": "content",
        "reply": REPLY,
        "diverted_to": None,
    }


def test_what_stands_in_the_narrow_row_only_is_written_out(engine: sa.Engine) -> None:
    """The accepted attempt, and the recipients who share the fate of their message."""
    migrate.upgrade(engine, "0004")
    add_narrow_attempt(engine)

    migrate.downgrade(engine, "0003")

    replies = {"0@firm.example": REPLY, "1@firm.example": REPLY}
    assert_narrow_attempt_is_written_out(engine, replies)


def test_new_tables_get_the_characters_of_the_old_ones(tmp_path: Path) -> None:
    """MariaDB: where ids are texts, a foreign key needs the same character set on both sides."""
    with fresh_database("mariadb", tmp_path, options="CHARACTER SET latin1") as url:
        engine = sa.create_engine(url)
        with engine.begin() as connection:
            assert migrate.characters_of(connection, None) == {}
            message = sa.Table(
                MESSAGE.name, sa.MetaData(), sa.Column("id", mysql.CHAR(32), primary_key=True)
            )
            message.create(connection)
            options = migrate.characters_of(connection, None)
            new = sa.Table(
                "new",
                message.metadata,
                sa.Column("id", mysql.CHAR(32), sa.ForeignKey(message.c.id), primary_key=True),
                mariadb_charset="utf8mb4",
            )
            with pytest.raises(sa.exc.OperationalError, match="incorrectly formed"):
                new.create(connection)
            new.kwargs.update(options)
            new.create(connection)
        engine.dispose()
    assert options["mariadb_charset"] == "latin1"
    assert options["mysql_collate"] == "latin1_swedish_ci"


# -- a host's own chain --------------------------------------------------------------------


def test_autogenerate_carries_the_rows(engine: sa.Engine, url: str, tmp_path: Path) -> None:
    """Flask-Migrate, which changes SQLite's tables in batches: up, down, and up again."""
    migrate.upgrade(engine, "0003")
    fill(engine, range(COUNT))
    before = rows(engine)
    with engine.begin() as connection:
        connection.execute(sa.text(f"DROP TABLE {migrate.VERSION_TABLE}"))
    host = Host(tmp_path, url, "host")

    for command in ("init", "migrate", "upgrade", "check"):
        host.flask_db(command)
    assert rows(engine) == before
    assert migrate.differences(engine) == []
    assert "flask_interaction_mail" not in host.versions()

    host.flask_db("downgrade")
    assert rows(engine) == before

    host.flask_db("upgrade")
    assert rows(engine) == before


@contextmanager
def autogenerated(
    engine: sa.Engine, schema: str | None = None, *, batch: bool = False
) -> Iterator[tuple[str, str]]:
    """The code of both ways, as plain Alembic writes it for a metadata with our tables."""
    metadata = sa.MetaData(schema=schema)
    copy_to(metadata)
    options = {
        "include_schemas": schema is not None,
        "include_name": lambda name, kind, _: kind != "schema" or name == schema,
        "target_metadata": metadata,
        "render_as_batch": batch,
        "sqlalchemy_module_prefix": "sa.",
        "alembic_module_prefix": "op.",
        "user_module_prefix": None,
    }
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts=options)
        script = produce_migrations(context, metadata)
        ways = (script.upgrade_ops, script.downgrade_ops)
        yield tuple(render_python_code(way, render_as_batch=batch) for way in ways)  # type: ignore[misc]


def run(engine: sa.Engine, code: str) -> None:
    with engine.begin() as connection, Operations.context(MigrationContext.configure(connection)):
        names = {"sa": sa, "op": op, "mysql": mysql}
        exec("if True:\n    " + code, names)  # noqa: S102 - Alembic has written it


def test_plain_alembic_carries_the_rows_too(engine: sa.Engine) -> None:
    """Without batches; what stands in the narrow row only is written out on the way back."""
    migrate.upgrade(engine, "0003")
    fill(engine, range(16))
    before = rows(engine)
    with autogenerated(engine) as (up, down):
        pass

    run(engine, up)
    assert rows(engine) == before
    add_narrow_attempt(engine)

    run(engine, down)
    assert_narrow_attempt_is_written_out(engine, {})
    with engine.begin() as connection:
        message = sa.table(MESSAGE.name, sa.column("id", sa.Uuid()))
        connection.execute(sa.delete(message).where(message.c.id == id_of(1000)))
    assert rows(engine) == before


def test_the_statements_name_the_schema(tmp_path: Path) -> None:
    """PostgreSQL: the tables are in a schema that must be quoted."""
    with fresh_database("postgresql", tmp_path) as url:
        engine, schema = sa.create_engine(url), "The CRM"
        with engine.begin() as connection:
            connection.execute(sa.schema.CreateSchema(schema))
        migrate.upgrade(engine, "0003", schema=schema)
        fill(engine, range(16), schema)
        before = rows(engine, schema)

        assert migrate.upgrade(engine, "0004", schema=schema) == "0004"
        assert rows(engine, schema) == before
        migrate.downgrade(engine, "0003", schema=schema)
        assert rows(engine, schema) == before

        with autogenerated(engine, schema, batch=True) as (up, down):
            pass
        run(engine, up)
        assert rows(engine, schema) == before
        run(engine, down)
        assert rows(engine, schema) == before
        engine.dispose()


def test_without_such_columns_autogenerate_adds_nothing(engine: sa.Engine) -> None:
    """A new database, and one that is up to date."""
    with autogenerated(engine) as (up, down):
        assert "execute" not in up + down
    migrate.upgrade(engine)
    with autogenerated(engine) as (up, down):
        assert "execute" not in up + down


@pytest.mark.parametrize("url", DIALECTS if LONG else ["postgresql"], indirect=True)
def test_a_host_of_the_first_version_migrates_by_its_own_processes(
    terminal: Commands, url: str, engine: sa.Engine, tmp_path: Path
) -> None:
    """``flask db`` of the application that is kept: its statuses survive, also the way back.

    Each is a process of its own, which ``test_kept_host`` has from its start, on SQLite.
    """
    folder = tmp_path / "host"
    shutil.copytree(KEPT, folder)

    def flask_db(*command: str) -> None:
        line = ("--app", "app", "db", *command)
        (said,) = terminal.flask(line, at=folder, HOST_DATABASE=url)
        assert said.status == 0, said.out + said.err

    flask_db("init")
    shutil.copytree(KEPT / "versions", folder / "migrations/versions", dirs_exist_ok=True)
    flask_db("upgrade")
    fill(engine, range(COUNT))
    before = rows(engine)

    flask_db("migrate", "-m", "Update")
    flask_db("upgrade")
    assert rows(engine) == before
    assert migrate.differences(engine) == []

    flask_db("downgrade")
    assert rows(engine) == before


# -- messages that were left behind --------------------------------------------------------


def test_messages_without_a_narrow_row_are_counted(engine: sa.Engine) -> None:
    """As after a migration from which somebody took the step that copies."""
    migrate.upgrade(engine, "0003")
    fill(engine, range(16))
    migrate.upgrade(engine, "0004")
    with engine.begin() as connection:
        assert migrate.without_delivery(connection, None) == 0
        connection.execute(sa.delete(DELIVERY).where(DELIVERY.c.status.in_(ENDED)))
        assert migrate.without_delivery(connection, None) == 8
