"""The tables as typed classes, for hosts that read them.

A message can be asked for what becomes of it, too: ``MessageRow.status`` and others are read from
its ``DeliveryRow``, which is faster to search. ``RecipientRow.status`` and ``reply`` are what
became of the recipient, wherever that is written. These are for reading alone.

What a column holds stands beside it in ``storage/tables.py``.
"""

# Hosts import it; the package itself needs only the tables, and mapping them takes 10 ms.

from __future__ import annotations

import uuid
from datetime import datetime
from typing import ClassVar

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, column_property

from .outbox.recipients import REPLY, STATUS
from .storage import tables
from .storage.tables import DELIVERY, MESSAGE, MOVED, RECIPIENT

__all__ = [
    "ActivityRow",
    "AlertRow",
    "AttemptRow",
    "CheckRow",
    "DeadAddressRow",
    "DeliveryRow",
    "MailboxRow",
    "MessageRow",
    "MetadataRow",
    "RecipientRow",
    "ReportRow",
    "SettingsRow",
    "TallyRow",
    "TokenRow",
]


class Base(DeclarativeBase):
    """Root of the classes; its metadata is the extension's own."""

    metadata: ClassVar[sa.MetaData] = tables.OURS


class SettingsRow(Base):
    """One revision of the settings; the highest is in force. Rows are never changed."""

    __table__: ClassVar[sa.Table] = tables.REVISION
    __tablename__ = __table__.name

    revision: Mapped[int]
    created_at: Mapped[datetime]
    created_by: Mapped[str]
    fields: Mapped[str]
    secret: Mapped[str | None]
    alert_secret: Mapped[str | None]
    secrets: Mapped[str | None]


class _Delivered:
    """Columns of ``DeliveryRow``, for which ``MessageRow`` can be asked, too: see the end."""

    status: Mapped[str]
    reason: Mapped[str | None]
    detail: Mapped[str | None]
    due_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    attempts: Mapped[int]
    fence: Mapped[int]
    lost_leases: Mapped[int]
    lease_until: Mapped[datetime | None]
    worker: Mapped[str | None]
    size: Mapped[int]


class MessageRow(_Delivered, Base):
    """One message: the intent, and once routing has succeeded the bytes that leave.

    It is written once. The purge empties intent and content.
    """

    __table__: ClassVar[sa.Table] = tables.MESSAGE
    __tablename__ = __table__.name

    id: Mapped[uuid.UUID]
    origin: Mapped[uuid.UUID]
    key: Mapped[str | None]
    pair: Mapped[str | None]
    kind: Mapped[str]
    source: Mapped[str]
    actor: Mapped[str | None]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    subject: Mapped[str]
    intent: Mapped[str]
    route: Mapped[str]
    message_id: Mapped[str | None]
    sender: Mapped[str | None]
    envelope_sender: Mapped[str | None]
    smtputf8: Mapped[bool]
    content: Mapped[bytes | None]
    resend_of: Mapped[uuid.UUID | None]
    key_number: Mapped[int]
    resent_by: Mapped[str | None]


class DeliveryRow(_Delivered, Base):
    """What becomes of one message: all that its delivery changes, in a row that stays short.

    A message whose last attempt was accepted for everybody with one reply has that attempt here,
    and in no row of its own.
    """

    __table__: ClassVar[sa.Table] = tables.DELIVERY
    __tablename__ = __table__.name

    id: Mapped[uuid.UUID]
    created_at: Mapped[datetime]
    priority: Mapped[int]
    started_at: Mapped[datetime | None]
    server: Mapped[str | None]
    reply: Mapped[str | None]
    relay: Mapped[str | None]
    provider_id: Mapped[str | None]
    returned: Mapped[str | None]
    closed: Mapped[str | None]
    lost_at: Mapped[datetime | None]


class RecipientRow(Base):
    """One recipient of a message, in the order of the header fields.

    The digest stands here and not at the message, because a digest is for one recipient: one
    message can be in a different digest for each of its own.
    """

    __table__: ClassVar[sa.Table] = tables.RECIPIENT
    __tablename__ = __table__.name

    message_id: Mapped[uuid.UUID]
    position: Mapped[int]
    field: Mapped[str]
    name: Mapped[str]
    address: Mapped[str]
    own_status: Mapped[str] = column_property(__table__.c.status)
    own_reply: Mapped[str | None] = column_property(__table__.c.reply)
    digest_id: Mapped[uuid.UUID | None]
    returned: Mapped[str | None]
    returned_at: Mapped[datetime | None]
    report: Mapped[str | None]

    # Added below.
    status: Mapped[str]
    reply: Mapped[str | None]


class AttemptRow(Base):
    """One attempt at one message: where, how far, and what was said."""

    __table__: ClassVar[sa.Table] = tables.ATTEMPT
    __tablename__ = __table__.name

    message_id: Mapped[uuid.UUID]
    number: Mapped[int]
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    server: Mapped[str]
    worker: Mapped[str]
    result: Mapped[str]
    stage: Mapped[str]
    reply: Mapped[str | None]
    verdicts: Mapped[str]
    diverted_to: Mapped[str | None]
    provider_id: Mapped[str | None]


class ReportRow(Base):
    """A report of a mail server about one message, or an automatic reply to it."""

    __table__: ClassVar[sa.Table] = tables.REPORT
    __tablename__ = __table__.name

    message_id: Mapped[uuid.UUID]
    digest: Mapped[str]
    received_at: Mapped[datetime]
    kind: Mapped[str]
    server: Mapped[str]
    notes: Mapped[str]
    content: Mapped[bytes | None]


class DeadAddressRow(Base):
    """One report that an address does not exist."""

    __table__: ClassVar[sa.Table] = tables.DEAD
    __tablename__ = __table__.name

    message_id: Mapped[uuid.UUID]
    address: Mapped[str]
    sent_at: Mapped[datetime]
    code: Mapped[str]


class MetadataRow(Base):
    """A name and a value that a host gave a message, to find it by."""

    __table__: ClassVar[sa.Table] = tables.METADATA
    __tablename__ = __table__.name

    message_id: Mapped[uuid.UUID]
    name: Mapped[str]
    value: Mapped[str]


class CheckRow(Base):
    """A test or a probe of the settings, what all workers know of a server, or somebody's deed."""

    __table__: ClassVar[sa.Table] = tables.CHECK
    __tablename__ = __table__.name

    id: Mapped[uuid.UUID]
    kind: Mapped[str]
    at: Mapped[datetime]
    by: Mapped[str]
    fingerprint: Mapped[str]
    verdict: Mapped[str]
    steps: Mapped[str]
    until: Mapped[datetime | None]


class AlertRow(Base):
    """One condition that is told of: whether it holds, and whether that was told."""

    __table__: ClassVar[sa.Table] = tables.ALERT
    __tablename__ = __table__.name

    name: Mapped[str]
    began_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    detail: Mapped[str]
    fence: Mapped[int]
    told: Mapped[int]
    tries: Mapped[int]
    due_at: Mapped[datetime]


class TokenRow(Base):
    """The access token for a mail server, which all workers share, and who asks for the next."""

    __table__: ClassVar[sa.Table] = tables.TOKEN
    __tablename__ = __table__.name

    name: Mapped[str]
    fence: Mapped[int]
    lease_until: Mapped[datetime | None]
    token: Mapped[str | None]
    ends_at: Mapped[datetime | None]
    refresh_at: Mapped[datetime]
    consent: Mapped[str | None]


class MailboxRow(Base):
    """A mailbox with returned mail: how far it was read, by whom now, and what came of it."""

    __table__: ClassVar[sa.Table] = tables.MAILBOX
    __tablename__ = __table__.name

    name: Mapped[str]
    fence: Mapped[int]
    lease_until: Mapped[datetime | None]
    due_at: Mapped[datetime]
    looked_at: Mapped[datetime | None]
    uid_validity: Mapped[int | None]
    uid: Mapped[int]
    failed_since: Mapped[datetime | None]
    failures: Mapped[int]
    fault: Mapped[str | None]
    trouble: Mapped[str | None]
    counts: Mapped[str]


class ActivityRow(Base):
    """How often something came of mail within an hour or a day."""

    __table__: ClassVar[sa.Table] = tables.ACTIVITY
    __tablename__ = __table__.name

    what: Mapped[str]
    at: Mapped[datetime]
    name: Mapped[str]
    span: Mapped[str]
    sent: Mapped[int]
    deferred: Mapped[int]
    failed: Mapped[int]
    held: Mapped[int]
    example: Mapped[str | None]


class TallyRow(Base):
    """What one process has counted in one hour that is not merged yet."""

    __table__: ClassVar[sa.Table] = tables.TALLY
    __tablename__ = __table__.name

    id: Mapped[uuid.UUID]
    hour: Mapped[datetime]
    counts: Mapped[str]


def _add(row: type, name: str, value: sa.ColumnElement[object], id: sa.Column[object]) -> None:
    """Have ``row.name`` read ``value`` of the message that is named in its column ``id``."""
    theirs = sa.select(value).where(DELIVERY.c.id == id).correlate(id.table).scalar_subquery()
    # Always true: it names the table of ``row`` where nothing else in a query does.
    read = sa.case((id.is_not(None), theirs))
    sa.inspect(row).add_property(name, column_property(read))


for _name in MOVED:
    _add(MessageRow, _name, DELIVERY.c[_name], MESSAGE.c.id)
for _name, _value in (("status", STATUS), ("reply", REPLY)):
    _add(RecipientRow, _name, _value, RECIPIENT.c.message_id)
