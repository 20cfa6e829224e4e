"""What a session's transaction carries: commits, rollbacks, closed sessions, session=."""

# ruff: noqa: PT012 - which block ends with an exception is what these tests are about

from __future__ import annotations

import logging
import threading

import pytest
import sqlalchemy as sa
from flask import after_this_request
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from flask_interaction_mail.errors import SessionOver
from tests.transactions import SHARED, always, call_back, in_threads, on, send, waiting

# -- commit and rollback ---------------------------------------------------------------


def test_stored_with_the_commit_and_not_before(host):
    """Two messages and their recipients appear with the host's own work."""
    with host.app.app_context():
        host.add()
        send("one")
        send("two")
        assert host.subjects() == []
        host.session.commit()
        assert host.subjects() == ["one", "two"]
        assert len(host.addresses()) == 4
    assert host.subjects() == ["one", "two"]
    assert host.things() == ["t"]


def test_a_commit_without_other_work_stores(host):
    """The host need not have work of its own for its commit to count."""
    with host.app.app_context():
        send("one")
        host.session.commit()
        assert host.subjects() == ["one"]


@pytest.mark.parametrize("work", ["none", "added", "flushed"])
def test_gone_with_the_rollback(host, work):
    """A rollback takes the message along, whatever the host had done before."""
    with host.app.app_context():
        if work != "none":
            host.add()
        send("gone")
        if work == "flushed":
            host.session.flush()
        host.session.rollback()
    assert host.subjects() == []


def test_each_transaction_has_its_own(host):
    """What came before a rollback is gone, what comes after it is not."""
    with host.app.app_context():
        send("gone")
        host.session.rollback()
        send("first")
        host.session.commit()
        assert host.subjects() == ["first"]
        send("second")
        host.session.commit()
        host.session.commit()
    assert host.subjects() == ["first", "second"]


def test_with_begin_commits_or_rolls_back(host):
    """``with session.begin()`` decides as a commit or a rollback does."""
    with host.app.app_context():
        with host.session.begin():
            send("kept")
            host.add()
        assert host.subjects() == ["kept"]
        with pytest.raises(KeyError), host.session.begin():
            send("gone")
            raise KeyError
    assert host.subjects() == ["kept"]


def test_a_call_begins_the_transaction(host):
    """A call before ``with session.begin()`` has begun already: SQLAlchemy says so."""
    with host.app.app_context():
        send("one")
        with pytest.raises(sa.exc.InvalidRequestError, match="already begun"):
            host.session.begin()


@on("wal", "delete")
def test_the_write_lock_is_not_held_before_the_commit(make_host):
    """Between the call and the commit another writer gets in."""
    host = make_host(timeout=0.3)

    def other():
        with host.app.app_context():
            host.add("other")
            host.session.commit()

    with host.app.app_context():
        send("one")
        in_threads(other)
        assert host.things() == ["other"]
        host.session.commit()
    assert host.subjects() == ["one"]


@on(*SHARED)
def test_a_call_alone_takes_no_connection(host):
    """Once the tables have been seen, the pool is left alone until the commit."""
    with host.app.app_context():
        send("first")
        host.session.rollback()
        send("second")
        assert host.engine.pool.checkedout() == 0
        host.session.commit()
    assert host.subjects() == ["second"]


@pytest.mark.parametrize("expire", [True, False])
def test_expire_on_commit_makes_no_difference(make_host, expire):
    """The message is a value, not an object of the session."""
    host = make_host(session_options={"expire_on_commit": expire})
    with host.app.app_context():
        thing = host.add()
        send("one")
        host.session.commit()
        assert thing.name == "t"
    assert host.subjects() == ["one"]


# -- sessions that are closed ------------------------------------------------------------


WAYS_TO_WRITE = {
    "added": lambda host: host.add(),
    "flushed": lambda host: (host.add(), host.session.flush()),
    "changed": lambda host: setattr(host.session.scalar(sa.select(host.Thing)), "name", "other"),
    "deleted": lambda host: host.session.delete(host.session.scalar(sa.select(host.Thing))),
    "in a savepoint": lambda host: (host.session.begin_nested(), host.add()),
    "in a released savepoint": lambda host: _in_a_savepoint(host).commit(),
    "update()": lambda host: host.session.execute(sa.update(host.Thing).values(name="other")),
    "as text": lambda host: host.session.execute(sa.text(" /* app */ DELETE FROM thing")),
    "with": lambda host: host.session.execute(
        sa.text("WITH x AS (SELECT 1) INSERT INTO thing (name) SELECT 'x' FROM x")
        if host.kind != "mariadb"  # there a WITH holds no change
        else sa.text("INSERT INTO thing (name) WITH x AS (SELECT 1) SELECT 'x' FROM x")
    ),
    "by the connection": lambda host: host.session.connection().exec_driver_sql(
        "UPDATE thing SET name = 'other'"
    ),
}
WAYS_NOT_TO = {
    "nothing": lambda host: host.session(),
    "read": lambda host: host.session.scalar(sa.select(host.Thing)),
    "read with": lambda host: host.session.execute(
        sa.text("WITH x AS (SELECT 'INSERT' AS y) SELECT y FROM x")
    ),
    "no change": lambda host: setattr(host.session.scalar(sa.select(host.Thing)), "name", "first"),
    "rolled back": lambda host: _in_a_savepoint(host).rollback(),
    "before": lambda host: (host.session.execute(sa.delete(host.Thing)), host.session.commit()),
}
ENDINGS = ("close", "remove", "reset")


def _in_a_savepoint(host):
    savepoint = host.session.begin_nested()
    host.add()
    host.session.flush()
    return savepoint


@pytest.mark.parametrize("write", WAYS_TO_WRITE)
def test_closing_a_session_that_had_written_is_a_rollback(host, write, caplog):
    """The host's work is gone, so the message is, and the log says what it was and for whom."""
    sent_first = host.kind in ("wal", "mariadb")
    with host.real_begin(), host.app.app_context():
        host.add("first")
        host.session.commit()
        if sent_first:
            send("gone")
        WAYS_TO_WRITE[write](host)
        if not sent_first:
            send("gone")
        host.session.close()
        assert waiting(host.session()) == []
        send("kept")
    assert host.subjects() == ["kept"]
    assert host.things() == ["first"]
    assert "notification.dropped" in caplog.text
    assert "'gone' to a@x.example, b@x.example" in caplog.text


@on("memory")
@pytest.mark.parametrize(
    "change",
    [
        "INSERT OR IGNORE INTO thing (name) SELECT 'x' FROM x",
        "REPLACE INTO thing (name) SELECT 'x' FROM x",
        "UPDATE thing AS t SET name = 'x'",
        "UPDATE OR REPLACE thing\nSET name = 'x'",
        "DELETE FROM thing",
    ],
)
def test_a_change_behind_a_with_is_seen(host, change):
    """However it is spelt: what the text changes is lost with the session."""
    with host.app.app_context():
        send("gone")
        host.session.execute(sa.text(f"WITH x AS (SELECT 1) {change}"))
        host.session.close()
    assert host.subjects() == []


@on("memory", "postgresql", "mariadb")
@pytest.mark.parametrize("read", WAYS_NOT_TO)
def test_closing_a_session_that_only_read_leaves_it_to_the_context(host, read, caplog):
    """Nothing of the host's is lost, so the message is not either."""
    with host.real_begin(), host.app.app_context():
        host.add("first")
        host.session.commit()
        WAYS_NOT_TO[read](host)
        send("one")
        host.session.close()
        assert host.subjects() == []
        assert waiting(host.session()) == ["one"]
    assert host.subjects() == ["one"]
    assert "notification.dropped" not in caplog.text


@on("memory", "postgresql")
@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("wrote", [False, True])
def test_each_way_of_closing_is_the_same(host, ending, wrote):
    """``close()``, ``remove()``, ``reset()``, and the end of a ``with`` block."""
    with host.app.app_context():
        if wrote:
            host.add()
        send("one")
        getattr(host.session, ending)()
    with host.app.app_context(), host.session():
        if wrote:
            host.add()
        send("two")
    assert host.subjects() == ([] if wrote else ["one", "two"])
    assert host.things() == []


@on(*SHARED)
def test_an_invalidated_session_is_a_closed_one(host):
    """Its connections are thrown away, and with them what it has written."""
    with host.app.app_context():
        send("one")
        host.session().invalidate()
        host.add()
        host.session.flush()
        send("gone")
        host.session().invalidate()
    assert host.subjects() == ["one"]
    assert host.things() == []


def test_a_stated_fact_outlives_a_closed_session(host):
    """A denied merge is reported whatever became of the host's work."""
    with host.app.app_context():
        host.add()
        send("gone")
        always("fact")
        host.session.close()
    assert host.subjects() == ["fact"]


def test_what_a_closed_session_called_back_waits_again(host):
    """As after a rollback: calling back was part of what is gone."""
    with host.app.app_context():
        send("one")
        host.session.close()
        assert call_back(host.session, "one")
        host.add()
        send("two")
        assert call_back(host.session, "two")
        host.session.close()
        assert waiting(host.session()) == ["one"]
    assert host.subjects() == ["one"]


@on("memory", "wal")
@pytest.mark.parametrize("ours_first", [False, True])
@pytest.mark.parametrize("where", ["teardown_request", "teardown_appcontext", "first", "last"])
def test_closed_by_a_teardown_function_it_is_stored(make_host, ours_first, where):
    """The end of a request or a context is no decision against the message, in any order."""
    host = make_host(ours_first=ours_first)

    def teardown(error):
        host.session.remove()

    if where in ("first", "last"):  # they run from the last to the first
        at = 0 if where == "last" else len(host.app.teardown_appcontext_funcs)
        host.app.teardown_appcontext_funcs.insert(at, teardown)
    else:
        getattr(host.app, where)(teardown)

    @host.view()
    def view():
        host.add()
        host.session.flush()
        send("request")
        return "ok"

    assert host.client.get("/").data == b"ok"
    with host.app.app_context():
        host.add()
        send("context")
    assert host.subjects() == ["context", "request"]
    assert host.things() == []


@on("memory", "wal")
def test_closed_by_a_view_it_is_a_rollback(host, caplog):
    """In a request, a function of ``after_request`` included."""

    @host.view("/view")
    def view():
        host.add()
        send("gone")
        host.session.remove()
        return "ok"

    @host.view("/after")
    def after():
        host.add()
        send("gone too")

        @after_this_request
        def close(response):
            host.session.close()
            return response

        return "ok"

    with host.app.app_context():  # shared with the requests: their end is not its end
        host.client.get("/view")
        host.client.get("/after")
        host.add()
        send("gone as well")
        host.session.remove()
    assert host.subjects() == []
    assert caplog.text.count("notification.dropped") == 3


def test_a_removed_session_leaves_nothing_to_the_next(host):
    """The next session of the same context commits its own work only."""
    with host.app.app_context():
        send("one")
        host.session.remove()
        host.add()
        host.session.commit()
        assert host.subjects() == []
    assert host.subjects() == ["one"]


# -- session= ----------------------------------------------------------------------------


def test_an_explicit_session_is_strict(host, caplog):
    """``session=`` stores with that session's commit and in no other case."""
    with host.app.app_context():
        with Session(host.engine) as own:
            send("committed", session=own)
            own.commit()
            assert host.subjects() == ["committed"]
            send("rolled back", session=own)
            own.rollback()
            assert "dropped" not in caplog.text
            send("closed", session=own)
        assert "notification.dropped" in caplog.text
        assert "not committed" in caplog.text
    assert host.subjects() == ["committed"]


def test_an_explicit_session_may_outlive_the_context(host):
    """The app context decides nothing about a session that is not its own."""
    with host.app.app_context():
        own = Session(host.engine)
        send("one", session=own)
    assert host.subjects() == []
    own.commit()
    own.close()
    assert host.subjects() == ["one"]


def test_an_explicit_session_that_has_failed_is_refused(host):
    """The call says what to do, and nothing is stored behind the host's back."""
    with host.app.app_context(), Session(host.engine) as own:
        host.add("taken")
        host.session.commit()
        own.add(host.Thing(name="taken"))
        with pytest.raises(IntegrityError):
            own.flush()
        with pytest.raises(SessionOver, match=r"rollback\(\)"):
            send("refused", session=own)
        own.rollback()
        send("kept", session=own)
        own.commit()
    assert host.subjects() == ["kept"]


def test_the_scoped_session_may_be_named(host, caplog):
    """``session=db.session`` means the session that it stands for, and is strict as well."""
    with host.app.app_context():
        send("committed", session=host.session)
        host.session.commit()
        send("closed", session=host.session)
    assert host.subjects() == ["committed"]
    assert "notification.dropped" in caplog.text


def test_something_else_is_no_session(host):
    """An engine, or an ``AsyncSession``, is refused by name."""
    with host.app.app_context(), pytest.raises(TypeError, match=r"not Engine.*run_sync"):
        send("one", session=host.engine)


@pytest.mark.allowed_skip("a driver that the extension does not need")
@on("wal")
def test_an_asyncio_session_carries_it_through_run_sync(host):
    """The session below an ``AsyncSession`` is a session like any other."""
    pytest.importorskip("aiosqlite")
    import asyncio

    from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

    async def work() -> None:
        engine = create_async_engine(host.url.replace("sqlite:", "sqlite+aiosqlite:"))
        async with AsyncSession(engine) as session:
            await session.run_sync(lambda own: send("kept", session=own))
            await session.commit()
            await session.run_sync(lambda own: send("gone", session=own))
            await session.rollback()
        await engine.dispose()

    with host.app.app_context():
        asyncio.run(work())
    assert host.subjects() == ["kept"]


def test_a_session_in_an_external_transaction(host):
    """SQLAlchemy's recipe for test suites: the outer rollback takes everything along."""
    with host.app.app_context(), host.real_begin(), host.engine.connect() as connection:
        outer = connection.begin()
        own = Session(bind=connection, join_transaction_mode="create_savepoint")
        send("one", session=own)
        own.commit()
        own.close()
        assert connection.scalar(sa.text("SELECT count(*) FROM interaction_mail_message")) == 1
        outer.rollback()
    assert host.subjects() == []


# -- sessions of all sorts ----------------------------------------------------------------


@on("memory", *SHARED)
def test_several_databases_in_one_session(make_host, tmp_path):
    """Binds of the host: the messages go to the default one."""
    host = make_host(binds={"other": f"sqlite:///{tmp_path}/other.sqlite"})
    with host.app.app_context():
        host.session.add(host.Other(name="other"))
        host.add()
        send("one")
        host.session.commit()
        host.session.add(host.Other(name="next"))
        host.session.flush()
        send("two")
    assert host.subjects() == ["one", "two"]
    with host.app.app_context():
        host.session.add(host.Other(name="next"))
        send("gone")
        host.session.rollback()
    assert host.subjects() == ["one", "two"]


@on("mariadb")
def test_two_phase_commit(make_host):
    """A prepared transaction has stored at its preparation, and rolls back whole."""
    host = make_host(session_options={"twophase": True})
    with host.app.app_context():
        host.add()
        send("one")
        host.session.commit()
        send("two")
        host.session().prepare()
        host.session.commit()
        send("gone")
        host.session().prepare()
        host.session.rollback()
    assert host.subjects() == ["one", "two"]


def test_autocommit_isolation(make_host):
    """An engine in AUTOCOMMIT loses atomicity of its own, but no message."""
    host = make_host(engine_options={"isolation_level": "AUTOCOMMIT"})
    with host.app.app_context():
        send("gone")
        host.session.rollback()
        send("one")
        host.session.commit()
        send("two")
    assert host.subjects() == ["one", "two"]


def test_a_session_that_does_not_begin_by_itself(make_host):
    """``autobegin=False``: the call begins where the host has not."""
    host = make_host(session_options={"autobegin": False})
    with host.app.app_context():
        host.session.begin()
        send("one")
        host.session.commit()
        send("two")
    assert host.subjects() == ["one", "two"]


@on("wal")
def test_a_session_that_reads_from_replicas(make_host, tmp_path):
    """A routing session writes the messages where it writes its own."""
    from flask_sqlalchemy.session import Session as FlaskSession

    replica = sa.create_engine(f"sqlite:///{tmp_path}/replica.sqlite")

    class Routing(FlaskSession):
        def get_bind(self, mapper=None, clause=None, **others):
            if self._flushing or isinstance(clause, sa.Update | sa.Delete):
                return super().get_bind(mapper, clause, **others)
            return replica

    host = make_host(session_options={"class_": Routing})
    with host.app.app_context():
        host.add()
        send("one")
        host.session.commit()
    assert host.subjects() == ["one"]
    replica.dispose()


def test_a_custom_scope_of_the_session(make_host):
    """A session per thread instead of per app context."""
    host = make_host(session_options={"scopefunc": threading.get_ident})
    with host.app.app_context():
        send("one")
    assert host.subjects() == ["one"]


def test_nothing_stays_behind_in_the_session(host):
    """Ended transactions leave no trace, so a long-lived session does not grow."""
    with host.app.app_context():
        for turn in range(6):
            send("one")
            (host.session.commit if turn % 2 else host.session.rollback)()
            savepoint = host.session.begin_nested()
            send("two")
            assert call_back(host.session, "two")
            (savepoint.commit if turn % 3 else savepoint.rollback)()
            host.session.rollback()
        assert not any(host.session().info.values())


def test_it_is_quiet_where_nothing_goes_wrong(host, caplog):
    """No warning and no error for commits and rollbacks."""
    with caplog.at_level(logging.INFO), host.app.app_context():
        send("one")
        host.session.commit()
        send("two")
        host.session.rollback()
    assert [one for one in caplog.records if one.name == "flask_interaction_mail"] == []
