"""The tables, in a metadata of their own.

``copy_to`` puts plain copies of them into a host's metadata, so that the host's ``create_all`` and
Alembic's autogenerate see them, while statements are written against the originals; both render
the same SQL. Only types that every migration can render are used: times are naive UTC (see
``flask_interaction_mail.clock``), structures are JSON text. No column refers to a table of the
host. The typed classes in ``models`` say what a row of each table is.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles


# MariaDB's own types would import its dialect, which takes 10 ms, also where another is in use.
class Instant(sa.DateTime):
    """A moment, with its microseconds."""


class LongText(sa.Text):
    """A text of up to 4 GB."""


class LongBinary(sa.LargeBinary):
    """Up to 4 GB."""


_OWN_TYPES: Final = (Instant, LongText, LongBinary)


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


_ID: Final = sa.Uuid()
_CODE: Final = sa.String(32)  # a word of one of our enums
_NAME: Final = sa.String(255)
_ADDRESS: Final = sa.String(320)  # RFC 5321 §4.5.3.1: 64 + 1 + 255
_REPLY: Final = sa.String(1100)
_INSTANT: Final = Instant()
_TEXT: Final = LongText()
_JSON: Final = _TEXT
_COUNT: Final = sa.Integer()

FITTED: Final = ("sqlite", "postgresql", "mysql")  # the databases that get options of their own
_WHERE_SET: dict[str, str] = {}  # index -> column


def _where_set(name: str, *columns: str, filled: str = "") -> sa.Index:
    """An index of the rows that have something in its last column (MariaDB: of all rows).

    ``filled`` names another one of its columns that decides.

    Every change of an indexed column costs; most messages have left these columns behind.
    """
    _WHERE_SET[name] = filled or columns[-1]
    return sa.Index(name, *columns)


def _of_message(name: str, column: str = "message_id") -> sa.ForeignKeyConstraint:
    """The rows of table ``name`` go with their message."""
    return sa.ForeignKeyConstraint(
        [column],
        ["interaction_mail_message.id"],
        name=f"fk_interaction_mail_{name}_message",
        ondelete="CASCADE",
    )


def _filled(name: str, type_: sa.types.TypeEngine[Any], **more: Any) -> sa.Column[Any]:
    """A column in which every row has something."""
    return sa.Column(name, type_, nullable=False, **more)


OURS: Final = sa.MetaData()

REVISION: Final = sa.Table(
    "interaction_mail_settings",
    OURS,
    # Given by the saver as its base + 1: two savers from one base collide on the key.
    _filled("revision", _COUNT, autoincrement=False),
    _filled("created_at", _INSTANT),
    _filled("created_by", _NAME),
    _filled("fields", _JSON),  # the fields that this layer sets, without secrets
    sa.Column("secret", _TEXT),  # password and destination, encrypted
    sa.Column("alert_secret", _TEXT),  # the webhook's and its URL, encrypted
    sa.Column("secrets", _JSON),  # of sign-ins: name -> the secret and where it may go, encrypted
    sa.PrimaryKeyConstraint("revision", name="pk_interaction_mail_settings"),
)

MESSAGE: Final = sa.Table(
    "interaction_mail_message",
    OURS,
    _filled("id", _ID),
    _filled("origin", _ID),  # which call wrote the row: tells the winner of a race for a key
    sa.Column("key", _NAME),
    sa.Column("pair", _NAME),  # a merge request's contacts
    _filled("kind", _CODE),
    # call, merge_denied, merge_completed, flask_mail, resend, notice, digest, redirect
    _filled("source", _CODE),
    sa.Column("actor", _NAME),  # who caused it: the host's id of the user
    _filled("created_at", _INSTANT),
    sa.Column("expires_at", _INSTANT),
    _filled("subject", sa.String(998)),
    # Text, html, unresolved parties, headers, attachments: see messages/intent.py.
    _filled("intent", _JSON),
    _filled("route", _JSON),  # the steps that led to recipients and sender
    sa.Column("message_id", _NAME),
    sa.Column("sender", sa.String(998)),  # From, as the list shows it
    sa.Column("envelope_sender", _ADDRESS),
    _filled("smtputf8", sa.Boolean(), default=False),
    sa.Column("content", LongBinary()),
    sa.Column("resend_of", _ID),
    # How many messages had its key before; an id is made of both.
    _filled("key_number", _COUNT, server_default="0"),
    sa.Column("resent_by", _NAME),  # who asked for it, where it is a resend
    sa.PrimaryKeyConstraint("id", name="pk_interaction_mail_message"),
    _where_set("ix_interaction_mail_message_pair", "pair"),
    _where_set("ix_interaction_mail_message_key", "key"),
    _where_set("ix_interaction_mail_message_resend", "resend_of"),
    _where_set("ix_interaction_mail_message_message_id", "message_id"),
)

DELIVERY: Final = sa.Table(
    "interaction_mail_delivery",
    OURS,
    _filled("id", _ID),  # the message's
    _filled("status", _CODE),
    sa.Column("reason", _CODE),
    sa.Column("detail", sa.String(1000)),  # the same for people, or the last reply
    _filled("created_at", _INSTANT),  # the message's, for the indexes
    _filled("priority", sa.SmallInteger(), default=0),  # lower ones leave first
    sa.Column("due_at", _INSTANT),  # when the next attempt may begin; NULL unless one will
    sa.Column("finished_at", _INSTANT),  # when the status became final
    _filled("attempts", _COUNT, default=0),  # counted ones
    _filled("fence", sa.BigInteger(), default=0),  # grows with every claim
    _filled("lost_leases", _COUNT, default=0),
    sa.Column("lease_until", _INSTANT),
    sa.Column("worker", _NAME),
    _filled("size", _COUNT, default=0),  # bytes of content, also after the purge
    # The attempt that the server has accepted for everybody, with its one reply.
    sa.Column("started_at", _INSTANT),
    sa.Column("server", _NAME),  # host:port
    sa.Column("reply", _REPLY),
    # The relay that has it, or is to have it, and what the provider has called it last.
    sa.Column("relay", _NAME),
    sa.Column("provider_id", _NAME),
    sa.Column("returned", _CODE),  # what came back: the worst of its recipients
    sa.Column("closed", _CODE),  # why nobody need get it any more: merged, withdrawn
    sa.Column("lost_at", _INSTANT),  # when a request had reached nobody, nor could the default To
    sa.PrimaryKeyConstraint("id", name="pk_interaction_mail_delivery"),
    _of_message("delivery", "id"),
    _where_set("ix_interaction_mail_delivery_due", "status", "priority", "due_at"),
    sa.Index("ix_interaction_mail_delivery_status", "status", "created_at"),
    sa.Index("ix_interaction_mail_delivery_created", "created_at"),
    _where_set("ix_interaction_mail_delivery_lease", "lease_until"),
    _where_set("ix_interaction_mail_delivery_provider_id", "provider_id"),
    _where_set("ix_interaction_mail_delivery_finished", "status", "finished_at"),
    _where_set(
        "ix_interaction_mail_delivery_returned", "returned", "created_at", filled="returned"
    ),
    _where_set("ix_interaction_mail_delivery_lost", "lost_at"),
)
# Each message beside what becomes of it.
OUTBOX: Final = DELIVERY.join(MESSAGE, MESSAGE.c.id == DELIVERY.c.id)

RECIPIENT: Final = sa.Table(
    "interaction_mail_recipient",
    OURS,
    _filled("message_id", _ID),
    _filled("position", _COUNT),
    _filled("field", _CODE),  # to, cc, bcc
    _filled("name", _NAME),
    _filled("address", _ADDRESS),
    # Not of what the server has accepted for everybody: see outbox/recipients.py.
    _filled("status", _CODE),
    sa.Column("reply", _REPLY),
    # The digest in which they get the message: the first one, where that was sent again.
    sa.Column("digest_id", _ID),
    # What came back, of those who are sent: a status, when, and the reason that was given.
    sa.Column("returned", _CODE),
    sa.Column("returned_at", _INSTANT),
    sa.Column("report", _REPLY),
    sa.PrimaryKeyConstraint("message_id", "position", name="pk_interaction_mail_recipient"),
    _of_message("recipient"),
    sa.Index("ix_interaction_mail_recipient_address", "address"),
    _where_set("ix_interaction_mail_recipient_digest", "digest_id"),
)

ATTEMPT: Final = sa.Table(
    "interaction_mail_attempt",
    OURS,
    _filled("message_id", _ID),
    _filled("number", _COUNT),  # the claim's fence: unique and growing
    _filled("started_at", _INSTANT),
    sa.Column("finished_at", _INSTANT),
    _filled("server", _NAME),  # host:port
    _filled("worker", _NAME),
    _filled("result", _CODE),  # accepted, transient, permanent, ambiguous, server
    _filled("stage", _CODE),
    sa.Column("reply", _REPLY),
    _filled("verdicts", _JSON),  # envelope recipient -> reply
    sa.Column("diverted_to", _ADDRESS),
    sa.Column("provider_id", _NAME),  # what the provider calls the message since
    sa.PrimaryKeyConstraint("message_id", "number", name="pk_interaction_mail_attempt"),
    _of_message("attempt"),
    _where_set("ix_interaction_mail_attempt_provider_id", "provider_id"),
)

METADATA: Final = sa.Table(
    "interaction_mail_metadata",
    OURS,
    _filled("message_id", _ID),
    _filled("name", sa.String(64)),
    _filled("value", _NAME),
    sa.PrimaryKeyConstraint("message_id", "name", name="pk_interaction_mail_metadata"),
    _of_message("metadata"),
    sa.Index("ix_interaction_mail_metadata_value", "name", "value"),
)

REPORT: Final = sa.Table(
    "interaction_mail_report",
    OURS,
    _filled("message_id", _ID),
    _filled("digest", sa.String(64)),  # of what it says: the same one that comes again is one row
    _filled("received_at", _INSTANT),
    _filled("kind", _CODE),  # report, reply
    _filled("server", _NAME),  # that reports, as it calls itself
    _filled("notes", _JSON),  # of each recipient: see outbox/returned.py
    sa.Column("content", LongBinary()),  # the first 256 KiB, as it came
    sa.PrimaryKeyConstraint("message_id", "digest", name="pk_interaction_mail_report"),
    _of_message("report"),
    sa.Index("ix_interaction_mail_report_received", "received_at"),
)

# Of each report that says that an address does not exist; its rows are counted.
DEAD: Final = sa.Table(
    "interaction_mail_dead_address",
    OURS,
    _filled("message_id", _ID),
    _filled("address", _ADDRESS),  # in lower case
    _filled("sent_at", _INSTANT),  # when the message was made
    _filled("code", _CODE),  # 5.1.1 and the like
    sa.PrimaryKeyConstraint("message_id", "address", name="pk_interaction_mail_dead_address"),
    _of_message("dead_address"),
    sa.Index("ix_interaction_mail_dead_address_address", "address"),
)

CHECK: Final = sa.Table(
    "interaction_mail_check",
    OURS,
    _filled("id", _ID),
    _filled("kind", _CODE),  # test, probe, breaker, room, login, connections, deed, minute, purge
    _filled("at", _INSTANT),
    _filled("by", _NAME),
    _filled("fingerprint", sa.String(64)),  # of the settings that were tried
    # passed, failed, partial, suppressed, no_answer; open, closed; known
    _filled("verdict", _CODE),
    _filled("steps", _JSON),
    sa.Column("until", _INSTANT),  # breaker: not before; room: counts so long; purge: done so far
    sa.PrimaryKeyConstraint("id", name="pk_interaction_mail_check"),
    sa.Index("ix_interaction_mail_check_kind", "kind", "at"),
    sa.Index("ix_interaction_mail_check_fingerprint", "fingerprint"),
)

# It holds no address, also where it quotes a server, and a row for each kind of alert: neither the
# purge nor *erase* has anything to do here.
ALERT: Final = sa.Table(
    "interaction_mail_alert",
    OURS,
    _filled("name", _CODE),
    _filled("began_at", _INSTANT),  # the last time
    sa.Column("ended_at", _INSTANT),  # NULL while it holds
    _filled("detail", sa.String(1000)),
    # How often it has begun or ended, and the last of these that was told.
    _filled("fence", sa.BigInteger()),
    _filled("told", sa.BigInteger()),
    _filled("tries", _COUNT),  # of telling the present one
    _filled("due_at", _INSTANT),  # when it may be told: a worker that tells moves it on
    sa.PrimaryKeyConstraint("name", name="pk_interaction_mail_alert"),
)

# It holds no address: a token is encrypted, and its row is named by a digest.
TOKEN: Final = sa.Table(
    "interaction_mail_token",
    OURS,
    _filled("name", sa.String(64)),  # digest of the relay, and of what is asked for
    _filled("fence", sa.BigInteger()),  # grows with every lease
    sa.Column("lease_until", _INSTANT),  # while one worker asks
    sa.Column("token", _TEXT),  # encrypted, with the name of the row
    sa.Column("ends_at", _INSTANT),
    _filled("refresh_at", _INSTANT),  # when it may be asked for again
    sa.Column("consent", _TEXT),  # what a person agreed to: encrypted, with the name of the row
    sa.PrimaryKeyConstraint("name", name="pk_interaction_mail_token"),
)

# It holds no address: a row is named by a digest, and what a server said is told without one.
MAILBOX: Final = sa.Table(
    "interaction_mail_mailbox",
    OURS,
    _filled("name", sa.String(64)),  # digest of server, port, login and folder
    _filled("fence", sa.BigInteger()),  # grows with every lease
    sa.Column("lease_until", _INSTANT),  # while one worker reads
    _filled("due_at", _INSTANT),  # when it may be read again
    sa.Column("looked_at", _INSTANT),  # when it was last read to its end
    # All messages up to this one have been looked at (RFC 3501 §2.3.1.1).
    sa.Column("uid_validity", sa.BigInteger()),
    _filled("uid", sa.BigInteger()),
    sa.Column("failed_since", _INSTANT),  # NULL while it can be read
    _filled("failures", _COUNT),  # in a row
    sa.Column("fault", _CODE),
    sa.Column("trouble", sa.String(1000)),
    _filled("counts", _JSON),  # of the last look and of all: see outbox/mailboxes.py
    sa.PrimaryKeyConstraint("name", name="pk_interaction_mail_mailbox"),
)

ACTIVITY: Final = sa.Table(
    "interaction_mail_activity",
    OURS,
    # total, kind, domain, recipients, latency, refusal: see outbox/counts.py
    _filled("what", _CODE),
    _filled("at", _INSTANT),  # when the hour or day began
    _filled("name", _NAME),  # which kind, domain, bucket or refusal
    _filled("span", _CODE),  # hour, day
    _filled("sent", sa.BigInteger()),
    _filled("deferred", sa.BigInteger()),
    _filled("failed", sa.BigInteger()),
    _filled("held", sa.BigInteger()),
    sa.Column("example", sa.String(32)),  # refusal: the id of a message that met it
    sa.PrimaryKeyConstraint("what", "at", "name", "span", name="pk_interaction_mail_activity"),
    sqlite_with_rowid=False,  # one tree instead of two
)

# What one process has counted in one hour, until it is merged into the rows above.
TALLY: Final = sa.Table(
    "interaction_mail_tally",
    OURS,
    _filled("id", _ID),
    _filled("hour", _INSTANT),  # when it began
    _filled("counts", _JSON),  # see ``Document`` in outbox/counts.py
    sa.PrimaryKeyConstraint("id", name="pk_interaction_mail_tally"),
)

TABLES: Final[tuple[sa.Table, ...]] = tuple(OURS.sorted_tables)
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
                if type(column.type) in _OWN_TYPES:
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
    for column in OURS.tables[table.name].columns:
        if variant := own.get(type(column.type)):
            fitted = column.type.as_generic().with_variant(variant, "mysql", "mariadb")
            table.c[column.key].type = fitted
