"""Messages for tests of the outbox, put in without a host."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from flask_interaction_mail import clock
from flask_interaction_mail.delivery import prefetch, recorder
from flask_interaction_mail.delivery.ports import DispatcherPorts
from flask_interaction_mail.messages.intent import Intent
from flask_interaction_mail.messages.message import NewMessage, id_of_key, new_id
from flask_interaction_mail.outbox import messages as outbox
from flask_interaction_mail.outbox.insert import insert
from flask_interaction_mail.settings.model import MessagingSettings
from flask_interaction_mail.storage import tables
from flask_interaction_mail.transport.memory import MemoryTransport
from flask_interaction_mail.values import Party, RecipientVerdict, Status
from tests.tables import create_all

SETTINGS = MessagingSettings(
    smtp_server="mail.example", encryption="none", default_from="crm@firm.example"
)


# Each message with what became of it, in one row.
ROWS = sa.select(
    tables.MESSAGE, *(column for column in tables.DELIVERY.c if column.key not in tables.MESSAGE.c)
).select_from(tables.OUTBOX)


def change(connection: sa.Connection, id: uuid.UUID | None = None, **values: object) -> None:
    """Write ``values`` into the rows of message ``id``, or of all, whichever table has them."""
    for table in (tables.MESSAGE, tables.DELIVERY):
        if own := {name: value for name, value in values.items() if name in table.c}:
            statement = sa.update(table).values(own)
            connection.execute(statement if id is None else statement.where(table.c.id == id))


class Store:
    """A database with our tables and nothing else; what delivery needs of it."""

    single_connection = False

    def __init__(self, url: str) -> None:
        arguments = {"timeout": 20} if url.startswith("sqlite") else {}
        self.engine = sa.create_engine(url, connect_args=arguments)
        metadata = sa.MetaData()
        tables.copy_to(metadata)
        create_all(metadata, self.engine)

    def ports(self, **changes: Any) -> DispatcherPorts:
        """Delivery from here, to nobody unless a ``transport`` or ``settings`` are named."""
        transport = MemoryTransport()
        values: dict[str, Any] = {
            "store": self,
            "settings": lambda: SETTINGS,
            "transport": lambda _: transport,
            "announce": lambda _: None,
            "worker": "test",
            "connections": 2,
            "lease": timedelta(seconds=60),
        }
        return DispatcherPorts(**{**values, **changes})

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        with self.engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        with self.engine.begin() as connection:
            yield connection

    def put(self, *messages: NewMessage) -> None:
        with self.writing() as connection:
            insert(connection, messages)

    def statuses(self) -> dict[str, int]:
        """How many messages have which status."""
        with self.reading() as connection:
            rows = connection.execute(
                sa.select(outbox.DELIVERY.c.status, sa.func.count()).group_by(
                    outbox.DELIVERY.c.status
                )
            )
            return {row.status: row[1] for row in rows}

    def message(self, id: uuid.UUID) -> sa.Row[tuple[object, ...]]:
        with self.reading() as connection:
            return connection.execute(ROWS.where(tables.MESSAGE.c.id == id)).one()

    def verdicts(self, id: uuid.UUID) -> dict[str, tuple[str, str | None]]:
        """Address to status and reply."""
        with self.reading() as connection:
            found = outbox.recipients_of(connection, [id]).get(id, ())
        return {one.address: (one.status.value, one.reply) for one in found}


def records_of(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Have ``count`` messages in a record at most, however fast the database is."""
    monkeypatch.setattr(recorder, "_AT_FIRST", count)
    monkeypatch.setattr(recorder, "fitting", lambda *_: count)


def claims_of(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Have ``count`` messages in each claim, however soon the last ones left."""
    monkeypatch.setattr(prefetch, "FIRST", count)
    monkeypatch.setattr(prefetch, "MOST", count)


def before_records(monkeypatch: pytest.MonkeyPatch, look: Callable[..., object]) -> None:
    """Call ``look`` before each record, with the same arguments."""
    record = recorder.record

    def looked_at(*given: Any, **named: Any) -> Any:
        look(*given, **named)
        return record(*given, **named)

    monkeypatch.setattr(recorder, "record", looked_at)


def a_message(
    *addresses: str,
    key: str | None = None,
    pair: str | None = None,
    status: Status = Status.QUEUED,
    due_in: timedelta = timedelta(0),
    expires_at: datetime | None = None,
    content: bytes = b"Subject: x\r\n\r\nx\r\n",
) -> NewMessage:
    """A routed message to ``addresses`` (default one), due now."""
    to = addresses or ("ada@firm.example",)
    origin = new_id()
    now = clock.now()
    intent = Intent(
        kind="notification",
        source="call",
        subject="x",
        text="x",
        to=tuple(Party("", address) for address in to),
    )
    return NewMessage(
        id=id_of_key(key) if key else origin,
        origin=origin,
        key=key,
        pair=pair,
        actor="7" if pair else None,
        intent=intent,
        stored_intent=intent.to_json(),
        status=status,
        reason=None,
        detail=None,
        recipients=tuple(RecipientVerdict(address=address) for address in to),
        route=(),
        message_id=f"<{origin}@firm.example>",
        envelope_sender="crm@firm.example",
        smtputf8=False,
        content=content,
        created_at=now,
        due_at=now + due_in,
        expires_at=expires_at,
    )
