"""Delivery where something around it goes wrong: settings, receivers, tables, deadlines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from flask_interaction_mail import breaker, clock, outbox
from flask_interaction_mail.errors import TransportError
from flask_interaction_mail.outcome import Stage
from tests.catcher import Catcher, catching
from tests.integration.test_delivery import SETTINGS, Desk
from tests.outbox_rows import Store, a_message


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    store = Store(f"sqlite:///{tmp_path}/outbox.sqlite")
    yield Desk(store)
    store.engine.dispose()


@pytest.fixture
def catcher() -> Iterator[Catcher]:
    with catching() as catcher:
        yield catcher


def test_mail_that_cannot_be_diverted_waits_and_says_why(desk: Desk) -> None:
    """An override may name a short address without a company domain."""
    desk.settings = replace(SETTINGS, divert_to="staging", company_domain=None)
    desk.store.put(a_message())
    assert "staging" in str(desk.drain().held_up_by)
    assert desk.transport.tried == []
    assert desk.store.statuses() == {"queued": 1}


def test_a_message_past_its_time_is_no_probe(desk: Desk) -> None:
    """Nobody has spoken with the server, so the breaker stays open."""
    desk.store.put(a_message())
    desk.transport.answer_with(TransportError("535", stage=Stage.AUTHENTICATION))
    desk.drain()
    past = clock.now() - timedelta(seconds=1)
    with desk.store.writing() as connection:
        connection.execute(sa.update(breaker.CHECK).values(until=past))
        connection.execute(sa.update(outbox.MESSAGE).values(expires_at=past))
    desk.drain()
    assert desk.store.statuses() == {"failed": 1}
    with desk.store.reading() as connection:
        assert breaker.read(connection, desk.settings) is not None


def test_no_claim_is_left_where_expired_messages_cannot_be_recorded(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What came in the same claim is given back, not left to the end of its lease."""
    good, late = a_message(), a_message(expires_at=clock.now() - timedelta(minutes=1))
    desk.store.put(good, late)

    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("disk full")

    monkeypatch.setattr("flask_interaction_mail.queue.record", broken)
    with pytest.raises(RuntimeError):
        desk.drain()
    assert desk.transport.tried == []
    assert desk.store.message(good.id).status == "queued"
