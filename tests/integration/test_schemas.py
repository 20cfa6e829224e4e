"""The host's tables, and so ours, in a schema of their own: by its metadata or its engine."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from flask_interaction_mail import (
    TablesMissing,
    cancel_notification,
    get_notification,
    operations,
    request_merge,
    send_notification,
)
from flask_interaction_mail.outbox import messages
from flask_interaction_mail.storage import migrations
from flask_interaction_mail.storage.schema import second_connection
from flask_interaction_mail.storage.tables import MESSAGE, TABLES
from tests.catcher import Catcher
from tests.databases import DIALECTS, fresh_database
from tests.host import a_merge, opened
from tests.terminal import done, run

OURS = {table.name for table in TABLES}


@dataclass(frozen=True)
class Place:
    """A database with an empty schema beside its default one."""

    url: str
    schema: str
    options: dict[str, Any] = field(default_factory=dict)  # of the engine

    def engine(self) -> sa.Engine:
        return sa.create_engine(self.url, **self.options)

    def tables(self, schema: str | None) -> set[str]:
        """Those of ours in ``schema``; None is the default one."""
        engine = self.engine()
        try:
            return OURS.intersection(sa.inspect(engine).get_table_names(schema))
        finally:
            engine.dispose()


@pytest.fixture(params=DIALECTS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with fresh_database(request.param, tmp_path) as url:
        if request.param == "sqlite":

            def attached() -> sqlite3.Connection:
                connection = sqlite3.connect(sa.make_url(url).database, check_same_thread=False)
                connection.execute("ATTACH ? AS crm", (f"{tmp_path}/crm.sqlite",))
                return connection

            yield Place(url, "crm", {"creator": attached})
            return
        engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        name = f"crm_{uuid.uuid4().hex[:8]}"  # MariaDB's are the server's
        with engine.connect() as connection:
            connection.execute(sa.schema.CreateSchema(name))
        yield Place(url, name)
        with engine.connect() as connection:
            cascade = request.param == "postgresql"
            connection.execute(sa.schema.DropSchema(name, cascade=cascade))


def _named_by(how: str, place: Place) -> dict[str, Any]:
    """What such a host gives to Flask-SQLAlchemy."""
    translations = {"metadata": {}, "engine": {None: place.schema}, "both": {"own": place.schema}}
    options = dict(place.options)
    if translations[how]:
        options["execution_options"] = {"schema_translate_map": translations[how]}
    schema = {"metadata": place.schema, "engine": None, "both": "own"}[how]
    return {"schema": schema, "SQLALCHEMY_ENGINE_OPTIONS": options}


@pytest.mark.parametrize("how", ["metadata", "engine", "both"])
def test_all_works_in_a_schema(place: Place, how: str, catcher: Catcher):
    """Storing, delivering, looking after and tidying, with nothing in the default schema."""
    with opened(place.url, **_named_by(how, place)) as host:
        host.configure(smtp_port=catcher.port)
        with host.app.app_context():
            host.db.session.add(host.Thing(name="work of the host"))
            sent = send_notification("bob", "Joined", text="x", key="once")
            again = send_notification("bob", "Joined", text="x", key="once")
            host.db.session.commit()
            assert again.id == sent.id
            send_notification(["bob", "eve"], "Left over", text="x")
            called_back = send_notification("bob", "Called back", text="x")
            host.db.session.commit()
            assert cancel_notification(called_back.id)
            host.db.session.commit()
            assert request_merge(a_merge()) is not None
        with host.app.app_context():
            progress = host.dispatcher(connections=2).drain()
            assert progress.sent == 3
            assert get_notification(sent.id).status == "sent"
            operations.resend(host.state, sent.id)
            operations.purge(host.state)
            assert host.state.settings.current().revision == 1
        assert len(catcher.mails) == 3
        assert "Left over" in done(host, "outbox", "list").out
        done(host, "status")
        said = {one["topic"]: one for one in run(host, "doctor", "--json").json}
        assert said["tables"]["text"] == "as this version needs them"
        done(host, "db", "check")
    assert place.tables(None) == set()
    assert place.tables(place.schema) == OURS


@pytest.mark.parametrize("first", ["send", "get", "cancel"])
def test_any_call_may_be_the_first_of_a_process(place: Place, first: str):
    """It looks whether the tables are there, on the connection of the host's transaction."""
    with opened(place.url, **_named_by("metadata", place)) as host:
        host.configure()
        host.state.database.tables_seen = False
        with host.app.app_context():
            host.db.session.execute(sa.select(host.Thing))
            if first == "send":
                assert send_notification("bob", "Hello", text="x").status == "queued"
            elif first == "get":
                assert get_notification(uuid.uuid4()) is None
            else:
                assert not cancel_notification(uuid.uuid4())


@pytest.mark.parametrize("how", ["metadata", "engine"])
def test_own_chain_works_in_the_schema(place: Place, how: str):
    """Made, compared and dropped in the schema of metadata or engine, version table included."""
    options = _named_by(how, place)
    with opened(place.url, INTERACTION_MAIL_MIGRATIONS="own", **options) as host:
        with host.app.app_context(), pytest.raises(TablesMissing, match=place.schema):
            host.state.settings.current()
        assert f"revision {migrations.newest()}" in done(host, "db", "upgrade").out
        done(host, "db", "check")
        done(host, "db", "upgrade")  # twice is once
        host.configure()
        with host.app.app_context():
            send_notification("bob", "Hello", text="x")
        assert place.tables(place.schema) == OURS
        assert place.tables(None) == set()
        done(host, "db", "downgrade", "0001", "--yes")
        assert "key_number is missing" in run(host, "db", "check").err
        done(host, "db", "downgrade", "base", "--yes")
        assert place.tables(place.schema) == set()


def test_a_sessions_own_schema_is_not_ours(place: Place):
    """A host with a schema for each of its clients: messages stay where delivery looks."""
    with opened(place.url, SQLALCHEMY_ENGINE_OPTIONS=place.options) as host:
        host.configure()
        with host.app.app_context():
            session = host.db.session
            options = {"schema_translate_map": {None: place.schema}}
            connection = session.connection(execution_options=options)
            sent = send_notification("bob", "Hello", text="x", key="k")
            session.commit()
            session.connection(execution_options=options)
            assert get_notification(sent.id).status == "queued"
            assert connection.get_execution_options() == options
        with host.app.app_context(), host.db.engine.connect() as connection:
            assert connection.scalar(sa.select(sa.func.count()).select_from(MESSAGE)) == 1
    assert place.tables(place.schema) == set()


def test_a_second_connection_looks_in_the_schema(place: Place):
    """Who asks beside the host's transaction whether a key is taken asks the right table."""
    with opened(place.url, **_named_by("metadata", place)) as host:
        host.configure()
        with host.app.app_context():
            sent = send_notification("bob", "Hello", text="x")
            host.db.session.commit()
            connection = host.state.database.connection_of(host.db.session())
            with second_connection(connection) as other:
                assert other is not connection
                assert messages.load(other, [sent.id]).keys() == {sent.id}
