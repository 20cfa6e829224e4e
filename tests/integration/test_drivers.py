"""Other drivers than those that the tests use everywhere."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from flask_interaction_mail.delivery.dispatcher import Dispatcher
from flask_interaction_mail.transport.memory import MemoryTransport
from tests.databases import fresh_database
from tests.outbox_rows import Store, a_message


def test_the_older_driver_of_postgresql_stores_and_delivers(tmp_path: Path) -> None:
    """One message, several at once with their own recipients each, and one with a key."""
    pytest.importorskip("psycopg2")
    with fresh_database("postgresql", tmp_path) as url:
        other = sa.make_url(url).set(drivername="postgresql+psycopg2")
        store = Store(other.render_as_string(hide_password=False))
        store.put(a_message("one@firm.example"))
        store.put(
            a_message("two@firm.example", "three@firm.example"),
            a_message("four@firm.example"),
            a_message("five@firm.example", key="import-7"),
        )
        transport = MemoryTransport()
        ports = store.ports(transport=lambda _: transport)
        assert Dispatcher(ports).drain().sent == 4
        assert store.statuses() == {"sent": 4}
        reached = {address for one in transport.delivered for address in one.recipients}
        assert reached == {
            f"{name}@firm.example" for name in ["one", "two", "three", "four", "five"]
        }
        store.engine.dispose()
