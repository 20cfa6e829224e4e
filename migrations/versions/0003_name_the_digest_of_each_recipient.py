"""Name the digest in which a recipient gets a message; what is in a digest is held until then."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from alembic import context, op

from flask_interaction_mail.storage.migrations import schema_of

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_RECIPIENT = "interaction_mail_recipient"
_COLUMN = "digest_id"
_INDEX = f"ix_{_RECIPIENT}_digest"
_AT_ONCE = 500  # ids in one statement


def upgrade() -> None:
    """Add the column with its index, and fill it from the digests that were not sent.

    A sent digest is left out, because its outcome is final. One that failed can be sent again.

    Commits after each step and each digest, because the site may read and write these tables
    meanwhile. Run it again if it was stopped: it does what is left.
    """
    schema = schema_of(context.config)
    present = set() if context.is_offline_mode() else _columns_and_indexes(schema)
    if _COLUMN not in present:
        op.add_column(_RECIPIENT, sa.Column(_COLUMN, sa.Uuid()), schema=schema)
        _commit()
    if _INDEX not in present:
        # Not CONCURRENTLY: partitioned tables refuse that, and it leaves an invalid index when it
        # is stopped. Readers do not wait, and writers only while the table is read once.
        filled = sa.text(f'"{_COLUMN}" IS NOT NULL')
        where = {"sqlite_where": filled, "postgresql_where": filled}
        op.create_index(_INDEX, _RECIPIENT, [_COLUMN], schema=schema, **where)
        _commit()
    if not context.is_offline_mode():  # otherwise ``outbox.digests`` does it at the outcome
        _Tables.of(schema).name_digests()


def downgrade() -> None:
    """Write into each digest what is in it, and drop the column; what is in one is ``sending``.

    Commits after each digest. Run it again if it was stopped.
    """
    schema = schema_of(context.config)
    present = {_COLUMN, _INDEX}
    if not context.is_offline_mode():
        present = _columns_and_indexes(schema)
        if _COLUMN in present:
            _Tables.of(schema).list_members()
    if _INDEX in present:
        op.drop_index(_INDEX, _RECIPIENT, schema=schema)
    if _COLUMN in present:
        op.drop_column(_RECIPIENT, _COLUMN, schema=schema)


def _columns_and_indexes(schema: str | None) -> set[str]:
    """The names of those that the table of recipients has."""
    inspector = sa.inspect(op.get_bind())
    columns = inspector.get_columns(_RECIPIENT, schema)
    indexes = inspector.get_indexes(_RECIPIENT, schema)
    return {str(found["name"]) for found in (*columns, *indexes)}


def _commit() -> None:
    """Commit, and begin another transaction; both are done by Alembic's block."""
    with op.get_context().autocommit_block():
        pass


@dataclass(frozen=True)
class _Tables:
    """The columns that are read or changed, as they are at this revision."""

    connection: sa.Connection
    message: sa.TableClause
    recipient: sa.TableClause

    @classmethod
    def of(cls, schema: str | None) -> _Tables:
        names = ("status", "reason", "detail", "due_at", "finished_at", "lease_until", "intent")
        message = sa.table(
            "interaction_mail_message",
            *(sa.column(name, sa.Uuid()) for name in ("id", "resend_of")),
            *(sa.column(name) for name in ("source", *names)),
            schema=schema,
        )
        recipient = sa.table(
            _RECIPIENT,
            *(sa.column(name, sa.Uuid()) for name in ("message_id", "digest_id")),
            *(sa.column(name) for name in ("address", "status")),
            schema=schema,
        )
        return cls(op.get_bind(), message, recipient)

    def name_digests(self) -> None:
        """From the list of each digest that was not sent to its members."""
        for digest, address in self._digests(self.message.c.status != "sent"):
            for ids in _parts(_members_in(self._intent(digest))):
                self._name(self._first(digest), address, ids)
                _commit()

    def _name(self, digest: uuid.UUID, address: str, ids: Sequence[uuid.UUID]) -> None:
        message, recipient = self.message.c, self.recipient.c
        # As everywhere, messages are locked before recipients, in the order of their ids.
        locked = sa.select(message.id).where(message.id.in_(ids)).order_by(message.id)
        self.connection.execute(locked.with_for_update())
        theirs = sa.and_(recipient.message_id.in_(ids), recipient.address == address)
        self._change(self.recipient, theirs, digest_id=digest)
        self._change(self.recipient, theirs, recipient.status == "sending", status="held")
        # Also what was sent to all its other recipients: it waits for the digest, too.
        self._change(
            self.message,
            message.id.in_(ids),
            message.status.in_(("sending", "sent")),
            message.lease_until.is_(None),
            self._has_one_in_digest(),
            status="held",
            reason="rate",
            detail=f"It is in the digest {digest}.",
            finished_at=None,
        )

    def list_members(self) -> None:
        """From the members to the digest's own list."""
        message, recipient = self.message.c, self.recipient.c
        for digest, _ in self._digests():
            first = self._first(digest)
            members = sa.select(recipient.message_id).where(recipient.digest_id == first).distinct()
            ids = sorted(self.connection.scalars(members))
            if ids and (kept := _kept(self._intent(digest))):
                text = json.dumps({**kept, "gathers": [id.hex for id in ids]})
                self._change(self.message, message.id == digest, intent=text)
                _commit()
        self._change(
            self.message,
            message.status == "held",
            message.reason == "rate",
            message.due_at.is_(None),
            self._has_one_in_digest(),
            status="sending",
        )
        in_digest = recipient.digest_id.is_not(None)
        self._change(self.recipient, in_digest, recipient.status == "held", status="sending")
        _commit()

    def _digests(self, *conditions: sa.ColumnElement[bool]) -> Sequence[Any]:
        """Id and address of each, without their texts, which can be large."""
        message, recipient = self.message.c, self.recipient.c
        both = self.message.join(self.recipient, recipient.message_id == message.id)
        query = sa.select(message.id, recipient.address).select_from(both)
        return self.connection.execute(query.where(message.source == "digest", *conditions)).all()

    def _intent(self, digest: uuid.UUID) -> str:
        """Its stored intent; empty where the digest was removed meanwhile."""
        found = sa.select(self.message.c.intent).where(self.message.c.id == digest)
        return self.connection.scalar(found) or ""

    def _first(self, digest: uuid.UUID) -> uuid.UUID:
        """The one that ``digest`` was made of by resends."""
        original = sa.select(self.message.c.resend_of)
        found = self.connection.scalar(original.where(self.message.c.id == digest))
        return digest if found is None else self._first(found)

    def _has_one_in_digest(self) -> sa.ColumnElement[bool]:
        recipient = self.recipient.c
        in_digest = sa.and_(recipient.status == "held", recipient.digest_id.is_not(None))
        theirs = recipient.message_id == self.message.c.id
        return sa.exists().where(theirs, in_digest).correlate(self.message)

    def _change(
        self, table: sa.TableClause, *conditions: sa.ColumnElement[bool], **values: object
    ) -> None:
        self.connection.execute(sa.update(table).where(*conditions).values(**values))


def _members_in(intent: str) -> list[uuid.UUID]:
    """The ids that a digest lists, without damaged ones."""
    listed = _kept(intent).get("gathers")
    return [id for text in listed if (id := _as_id(text))] if isinstance(listed, list) else []


def _as_id(text: object) -> uuid.UUID | None:
    try:
        return uuid.UUID(str(text))
    except ValueError:
        return None


def _kept(intent: str) -> dict[str, Any]:
    """The intent of a digest; empty where its text was purged, or is damaged."""
    try:
        kept = json.loads(intent)
    except ValueError:
        return {}
    return kept if isinstance(kept, dict) else {}


def _parts(ids: Sequence[uuid.UUID]) -> Iterator[Sequence[uuid.UUID]]:
    for start in range(0, len(ids), _AT_ONCE):
        yield ids[start : start + _AT_ONCE]
