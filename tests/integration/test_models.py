"""What a host reads through the typed classes is the same, wherever it is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from flask_interaction_mail.delivery.dispatcher import Dispatcher
from flask_interaction_mail.models import AttemptRow, DeliveryRow, MessageRow, RecipientRow
from flask_interaction_mail.transport.smtp.transport import SmtpTransport
from tests.catcher import Catcher
from tests.databases import DIALECTS, fresh_database
from tests.outbox_rows import Store, a_message
from tests.servers.clients import settings


@pytest.fixture(params=DIALECTS)
def session(request: pytest.FixtureRequest, tmp_path: Path, catcher: Catcher) -> Iterator[Session]:
    """After a drain: one sent to both, one refused for one of two, one that waits."""
    with fresh_database(request.param, tmp_path) as url:
        store = Store(url)
        catcher.refuse = {"no@firm.example": "550 5.1.1 no such user"}
        store.put(
            a_message("ada@firm.example", "bob@firm.example", key="both"),
            a_message("eve@firm.example", "no@firm.example", key="one"),
        )
        chosen = settings(catcher.port)
        Dispatcher(store.ports(settings=lambda: chosen, transport=SmtpTransport)).drain()
        store.put(a_message("zoe@firm.example", key="waits"))
        with Session(store.engine) as session:
            yield session
        store.engine.dispose()


def of(session: Session, *columns: Any) -> Counter[Any]:
    """How often each value, or each group of values, is there."""
    rows = session.execute(sa.select(*columns)).all()
    return Counter(row[0] if len(row) == 1 else tuple(row) for row in rows)


def test_recipients_have_what_became_of_them(session: Session) -> None:
    """By itself, in a condition, beside other columns, and of one that was loaded."""
    assert of(session, RecipientRow.status) == {"sent": 3, "failed": 1, "queued": 1}
    sent = sa.select(RecipientRow.address).where(RecipientRow.status == "sent")
    assert set(session.scalars(sent)) == {f"{name}@firm.example" for name in ("ada", "bob", "eve")}
    both = sa.select(RecipientRow, MessageRow.key).join(
        MessageRow, MessageRow.id == RecipientRow.message_id
    )
    replies = {(row[1], row[0].address): row[0].reply for row in session.execute(both)}
    assert replies["waits", "zoe@firm.example"] is None
    assert replies["one", "no@firm.example"] == "550 5.1.1 no such user"
    assert str(replies["both", "bob@firm.example"]).startswith("250 ")


def test_messages_have_what_becomes_of_them(session: Session) -> None:
    """The columns that stood in their own table before are read as before."""
    assert of(session, MessageRow.key, MessageRow.status) == {
        ("both", "sent"): 1,
        ("one", "failed"): 1,
        ("waits", "queued"): 1,
    }
    assert of(session, MessageRow.status) == {"sent": 1, "failed": 1, "queued": 1}
    (failed,) = session.scalars(sa.select(MessageRow).filter_by(status="failed"))
    assert (failed.reason, failed.attempts) == ("refused", 1)
    assert failed.finished_at is not None
    assert failed.lease_until is None


def test_an_attempt_has_a_row_where_fates_differ(session: Session) -> None:
    """One that was accepted for everybody is part of the delivery row."""
    (apart,) = session.scalars(sa.select(AttemptRow))
    (within,) = session.scalars(sa.select(DeliveryRow).where(DeliveryRow.server.is_not(None)))
    message = session.get(MessageRow, apart.message_id)
    assert message is not None
    assert message.key == "one"
    both = session.get(MessageRow, within.id)
    assert both is not None
    assert both.key == "both"
    assert (within.status, within.server) == ("sent", apart.server)
    assert within.started_at is not None
    assert within.finished_at is not None
    assert within.started_at <= within.finished_at
