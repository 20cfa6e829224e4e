"""Test suites of hosts that join their sessions into one outer transaction."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import sqlalchemy as sa
from flask import abort

from flask_interaction_mail.storage.tables import MESSAGE
from flask_interaction_mail.unit_of_work import retry_queue
from tests.transactions import Host, always, on, send


@contextmanager
def joined_into(host: Host) -> Iterator[sa.Connection]:
    """``db.session`` of ``host`` works inside one connection's transaction, rolled back at last."""
    engines = host.db._app_engines[host.app]
    with host.real_begin(), host.engine.connect() as connection, connection.begin() as outer:
        engines[None] = connection
        before = host.db.session
        host.db.session = host.db._make_scoped_session(
            {"join_transaction_mode": "create_savepoint"}
        )
        try:
            yield connection
        finally:
            engines[None], host.db.session = host.engine, before
            outer.rollback()


def inside(connection: sa.Connection) -> list[str]:
    return sorted(connection.scalars(sa.select(MESSAGE.c.subject)))


def test_everything_stays_in_the_outer_transaction(host):
    """Commits, ends of contexts and requests: visible inside, gone with the outer rollback."""

    @host.view()
    def view():
        send("request")
        always("fact")
        abort(403)

    with joined_into(host) as connection:
        with host.app.app_context():
            send("committed")
            host.session.commit()
        with host.app.app_context():
            send("end of context")
        host.client.get("/")
        assert inside(connection) == ["committed", "end of context", "fact", "request"]
    assert host.subjects() == []


@on("memory", "wal", "postgresql", "mariadb")
def test_a_failure_of_ours_leaves_the_outer_transaction_usable(host, monkeypatch, caplog):
    """Ours fails inside a savepoint of its own."""
    monkeypatch.setattr(retry_queue, "DELAYS", ())
    with joined_into(host) as connection:
        with host.app.app_context():
            host.add()
            host.session.commit()
            send("refused", to=(None,))
            host.session.close()
        assert "notification.lost" in caplog.text
        assert inside(connection) == []
        with host.app.app_context():
            assert host.session.scalar(sa.select(host.Thing.name)) == "t"
    assert host.things() == []


@pytest.mark.parametrize("writing", [False, True])
def test_our_own_transactions_are_inside_too(host, writing):
    """Settings and delivery of a test see what the test has done, and leave nothing behind."""
    with joined_into(host) as connection:
        with host.app.app_context():
            send("one")
            host.session.commit()
        with host.database.writing() if writing else host.database.reading() as own:
            assert own is connection
            assert inside(own) == ["one"]
            if writing:
                own.execute(sa.update(MESSAGE).values(subject="changed"))
        assert inside(connection) == (["changed"] if writing else ["one"])
    assert host.subjects() == []
