"""The tables, as typed classes.

The classes belong to a metadata of their own. ``copy_to`` puts plain copies of the tables into
a host's metadata, so that the host's ``create_all`` and Alembic's autogenerate see them, while
queries are written against the typed originals; both render the same SQL. Only types that
every migration can render are used: times are naive UTC (see ``flask_interaction_mail.clock``),
structures are JSON text. No column refers to a table of the host.
"""

# No annotations as text here: SQLAlchemy evaluates each of them, and that is slower.

import uuid
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, cast

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


# MariaDB's own types would import its dialect, which takes 10 ms, also where another is in use.
class Instant(sa.DateTime):
    """A moment, with its microseconds."""


class LongText(sa.Text):
    """A text of up to 4 GB."""


class LongBinary(sa.LargeBinary):
    """Up to 4 GB."""


def _of_mysql() -> dict[type, sa.types.TypeEngine[Any]]:
    """What stands for each of them in MySQL and MariaDB."""
    from sqlalchemy.dialects import mysql

    return {
        Instant: mysql.DATETIME(fsp=6),
        LongText: mysql.LONGTEXT(),
        LongBinary: mysql.LONGBLOB(),
    }


@compiles(Instant, "mysql", "mariadb")
@compiles(LongText, "mysql", "mariadb")
@compiles(LongBinary, "mysql", "mariadb")
def _render(type_: sa.types.TypeEngine[Any], compiler: Any, **named: Any) -> str:
    return str(compiler.process(_of_mysql()[type(type_)], **named))


Code = Annotated[str, mapped_column(sa.String(32))]  # a word of one of our enums
Name = Annotated[str, mapped_column(sa.String(255))]
Address = Annotated[str, mapped_column(sa.String(320))]  # RFC 5321 §4.5.3.1: 64 + 1 + 255
Json = Annotated[str, mapped_column(LongText)]


FITTED: Final = ("sqlite", "postgresql", "mysql")  # the databases that get options of their own
_WHERE_SET: dict[str, str] = {}  # index -> column


def _where_set(name: str, *columns: str) -> sa.Index:
    """An index of the rows that have something in its last column (MariaDB: of all rows).

    Every change of an indexed column costs; most messages have left these columns behind.
    """
    _WHERE_SET[name] = columns[-1]
    return sa.Index(name, *columns)


def _of_message(name: str, column: str = "message_id") -> sa.ForeignKeyConstraint:
    """The rows of table ``name`` go with their message."""
    return sa.ForeignKeyConstraint(
        [column],
        ["interaction_mail_message.id"],
        name=f"fk_interaction_mail_{name}_message",
        ondelete="CASCADE",
    )


class Base(DeclarativeBase):
    """Root of the extension's own metadata."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {datetime: Instant(), uuid.UUID: sa.Uuid()}


class SettingsRow(Base):
    """One revision of the settings; the highest is in force. Rows are never changed."""

    __tablename__ = "interaction_mail_settings"
    __table_args__ = (sa.PrimaryKeyConstraint("revision", name="pk_interaction_mail_settings"),)

    # Given by the saver as its base + 1: two savers from one base collide on the key.
    revision: Mapped[int] = mapped_column(sa.Integer, autoincrement=False)
    created_at: Mapped[datetime]
    created_by: Mapped[Name]
    fields: Mapped[Json]  # the fields that this layer sets, without the password
    secret: Mapped[str | None] = mapped_column(LongText)  # password and destination, encrypted
    alert_secret: Mapped[str | None] = mapped_column(LongText)  # and that of the webhook, its URL


class MessageRow(Base):
    """One message: the intent, and once routing has succeeded the bytes that leave.

    It is written once. The purge empties intent and content.
    """

    __tablename__ = "interaction_mail_message"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=False)
    origin: Mapped[uuid.UUID]  # which call wrote the row: tells the winner of a race for a key
    key: Mapped[str | None] = mapped_column(sa.String(255))
    pair: Mapped[str | None] = mapped_column(sa.String(255))  # a merge request's contacts
    kind: Mapped[Code]
    source: Mapped[Code]  # call, merge_denied, merge_completed, flask_mail, resend, notice, digest
    actor: Mapped[Name | None]  # who caused it: the host's id of the user
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]

    subject: Mapped[str] = mapped_column(sa.String(998))
    intent: Mapped[
        Json
    ]  # text, html, unresolved parties, headers, attachments: see messages/intent.py
    route: Mapped[Json]  # the steps that led to recipients and sender

    message_id: Mapped[str | None] = mapped_column(sa.String(255))
    sender: Mapped[str | None] = mapped_column(sa.String(998))  # From, as the list shows it
    envelope_sender: Mapped[Address | None]
    smtputf8: Mapped[bool] = mapped_column(sa.Boolean, default=False)
    content: Mapped[bytes | None] = mapped_column(LongBinary)
    resend_of: Mapped[uuid.UUID | None]
    # How many messages had its key before; an id is made of both.
    key_number: Mapped[int] = mapped_column(sa.Integer, server_default="0")
    resent_by: Mapped[Name | None]  # who asked for it, where it is a resend

    if TYPE_CHECKING:  # of ``DeliveryRow``, added in ``models``
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

    __table_args__ = (
        sa.PrimaryKeyConstraint("id", name="pk_interaction_mail_message"),
        _where_set("ix_interaction_mail_message_pair", "pair"),
        _where_set("ix_interaction_mail_message_key", "key"),
        _where_set("ix_interaction_mail_message_resend", "resend_of"),
        _where_set("ix_interaction_mail_message_message_id", "message_id"),
    )


class DeliveryRow(Base):
    """What becomes of one message: all that its delivery changes, in a row that stays short.

    A message whose last attempt was accepted for everybody with one reply has that attempt here,
    and in no row of its own.
    """

    __tablename__ = "interaction_mail_delivery"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=False)  # the message's
    status: Mapped[Code]
    reason: Mapped[Code | None]
    # The same for people, or the last reply.
    detail: Mapped[str | None] = mapped_column(sa.String(1000))

    created_at: Mapped[datetime]  # the message's, for the indexes
    priority: Mapped[int] = mapped_column(sa.SmallInteger, default=0)  # lower ones leave first
    # When the next attempt may begin; NULL unless one will.
    due_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]  # when the status became final

    attempts: Mapped[int] = mapped_column(sa.Integer, default=0)  # counted ones
    fence: Mapped[int] = mapped_column(sa.BigInteger, default=0)  # grows with every claim
    lost_leases: Mapped[int] = mapped_column(sa.Integer, default=0)
    lease_until: Mapped[datetime | None]
    worker: Mapped[Name | None]
    size: Mapped[int] = mapped_column(
        sa.Integer, default=0
    )  # bytes of content, also after the purge

    # The attempt that the server has accepted for everybody, with its one reply.
    started_at: Mapped[datetime | None]
    server: Mapped[Name | None]  # host:port
    reply: Mapped[str | None] = mapped_column(sa.String(1100))

    # Empty so far: the relay that has it, its name there, and what came back.
    relay: Mapped[Name | None]
    provider_id: Mapped[Name | None]
    returned: Mapped[Code | None]

    __table_args__ = (
        sa.PrimaryKeyConstraint("id", name="pk_interaction_mail_delivery"),
        _of_message("delivery", "id"),
        _where_set("ix_interaction_mail_delivery_due", "status", "priority", "due_at"),
        sa.Index("ix_interaction_mail_delivery_status", "status", "created_at"),
        sa.Index("ix_interaction_mail_delivery_created", "created_at"),
        _where_set("ix_interaction_mail_delivery_lease", "lease_until"),
        _where_set("ix_interaction_mail_delivery_provider_id", "provider_id"),
        _where_set("ix_interaction_mail_delivery_finished", "status", "finished_at"),
    )


class RecipientRow(Base):
    """One recipient of a message, in the order of the header fields.

    The digest stands here and not at the message, because a digest is for one recipient: one
    message can be in a different digest for each of its own.
    """

    __tablename__ = "interaction_mail_recipient"

    message_id: Mapped[uuid.UUID]
    position: Mapped[int] = mapped_column(sa.Integer)
    field: Mapped[Code]  # to, cc, bcc
    name: Mapped[Name]
    address: Mapped[Address]
    # Not of what the server has accepted for everybody: see outbox/recipients.py.
    own_status: Mapped[str] = mapped_column("status", sa.String(32))
    own_reply: Mapped[str | None] = mapped_column("reply", sa.String(1100))
    # The digest in which they get the message: the first one, where that was sent again.
    digest_id: Mapped[uuid.UUID | None]

    if TYPE_CHECKING:  # added in ``models``
        status: Mapped[str]
        reply: Mapped[str | None]

    __table_args__ = (
        sa.PrimaryKeyConstraint("message_id", "position", name="pk_interaction_mail_recipient"),
        _of_message("recipient"),
        sa.Index("ix_interaction_mail_recipient_address", "address"),
        _where_set("ix_interaction_mail_recipient_digest", "digest_id"),
    )


class AttemptRow(Base):
    """One attempt at one message: where, how far, and what was said."""

    __tablename__ = "interaction_mail_attempt"

    message_id: Mapped[uuid.UUID]
    number: Mapped[int] = mapped_column(sa.Integer)  # the claim's fence: unique and growing
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    server: Mapped[Name]  # host:port
    worker: Mapped[Name]
    result: Mapped[Code]  # accepted, transient, permanent, ambiguous, server
    stage: Mapped[Code]
    reply: Mapped[str | None] = mapped_column(sa.String(1100))
    verdicts: Mapped[Json]  # envelope recipient -> reply
    diverted_to: Mapped[Address | None]

    __table_args__ = (
        sa.PrimaryKeyConstraint("message_id", "number", name="pk_interaction_mail_attempt"),
        _of_message("attempt"),
    )


class MetadataRow(Base):
    """A name and a value that a host gave a message, to find it by."""

    __tablename__ = "interaction_mail_metadata"

    message_id: Mapped[uuid.UUID]
    name: Mapped[str] = mapped_column(sa.String(64))
    value: Mapped[Name]

    __table_args__ = (
        sa.PrimaryKeyConstraint("message_id", "name", name="pk_interaction_mail_metadata"),
        _of_message("metadata"),
        sa.Index("ix_interaction_mail_metadata_value", "name", "value"),
    )


class CheckRow(Base):
    """A test or a probe of the settings, or what all workers know of a server."""

    __tablename__ = "interaction_mail_check"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=False)
    kind: Mapped[Code]  # test, probe, breaker, room, login, connections
    at: Mapped[datetime]
    by: Mapped[Name]
    fingerprint: Mapped[str] = mapped_column(sa.String(64))  # of the settings that were tried
    verdict: Mapped[Code]  # passed, failed, partial, suppressed, no_answer; open, closed; known
    steps: Mapped[Json]
    until: Mapped[datetime | None]  # breaker: no attempt before; room: counts so long

    __table_args__ = (
        sa.PrimaryKeyConstraint("id", name="pk_interaction_mail_check"),
        sa.Index("ix_interaction_mail_check_kind", "kind", "at"),
        sa.Index("ix_interaction_mail_check_fingerprint", "fingerprint"),
    )


class AlertRow(Base):
    """One condition that is told of: whether it holds, and whether that was told.

    Nothing in it was written by a stranger, and no address stands in it, so that neither the purge
    nor *erase* has anything to do here.
    """

    __tablename__ = "interaction_mail_alert"

    name: Mapped[Code]
    began_at: Mapped[datetime]  # the last time
    ended_at: Mapped[datetime | None]  # NULL while it holds
    detail: Mapped[str] = mapped_column(sa.String(1000))
    # How often it has begun or ended, and the last of these that was told.
    fence: Mapped[int] = mapped_column(sa.BigInteger)
    told: Mapped[int] = mapped_column(sa.BigInteger)
    tries: Mapped[int] = mapped_column(sa.Integer)  # of telling the present one
    due_at: Mapped[datetime]  # when it may be told: a worker that tells moves it on

    __table_args__ = (sa.PrimaryKeyConstraint("name", name="pk_interaction_mail_alert"),)


# The same tables for statements; SQLAlchemy's own annotation of __table__ is too wide for them.
MESSAGE = cast(sa.Table, MessageRow.__table__)
DELIVERY = cast(sa.Table, DeliveryRow.__table__)
# Each message beside what becomes of it.
OUTBOX = DELIVERY.join(MESSAGE, MESSAGE.c.id == DELIVERY.c.id)
RECIPIENT = cast(sa.Table, RecipientRow.__table__)
ATTEMPT = cast(sa.Table, AttemptRow.__table__)
METADATA = cast(sa.Table, MetadataRow.__table__)
CHECK = cast(sa.Table, CheckRow.__table__)
ALERT = cast(sa.Table, AlertRow.__table__)
TABLES: tuple[sa.Table, ...] = tuple(Base.metadata.sorted_tables)
# What stood in the table of messages up to version 0.1.
MOVED: Final = (
    *("status", "reason", "detail", "due_at", "finished_at", "attempts", "fence"),
    *("lost_leases", "lease_until", "worker", "size"),
)


def copy_to(metadata: sa.MetaData, *, dialects: Iterable[str] = FITTED) -> None:
    """Put a copy of every table into ``metadata`` that is not there yet.

    The copies get the options of ``dialects``: each of those is imported for it, which takes
    20 ms for PostgreSQL's, so that a host names only what it uses.
    """
    schema = metadata.schema
    for table in TABLES:
        copy = metadata.tables.get(f"{schema}.{table.name}" if schema else table.name)
        if copy is None:
            copy = table.to_metadata(metadata)
            for column in copy.columns:
                column.type = column.type.as_generic()  # what any migration can render
        for dialect in dialects:
            _fit(copy, dialect)


def _fit(table: sa.Table, dialect: str) -> None:
    match dialect:
        case "sqlite" | "postgresql":
            for index in table.indexes:
                if name := _WHERE_SET.get(str(index.name)):
                    filled = sa.text(f'"{name}" IS NOT NULL')
                    index.dialect_kwargs[f"{dialect}_where"] = filled
        case "mysql" | "mariadb":
            _fit_mysql(table)


def _fit_mysql(table: sa.Table) -> None:
    # Names and texts in every script, whatever the database's own character set is.
    for dialect in ("mysql", "mariadb"):
        table.dialect_kwargs[f"{dialect}_charset"] = "utf8mb4"
    own = _of_mysql()
    for column in Base.metadata.tables[table.name].columns:
        if variant := own.get(type(column.type)):
            fitted = column.type.as_generic().with_variant(variant, "mysql", "mariadb")
            table.c[column.key].type = fitted
