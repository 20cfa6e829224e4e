"""What came back, as it was stored beside its message. Nothing here writes.

``returned`` stores it.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from ..storage.tables import MESSAGE, RECIPIENT, REPORT
from ..values import RETURNED, Status

REPORTED: Final = "report"
REPLIED: Final = "reply"
ERASED: Final = "erased"  # in place of an address that was

_REPORTS: Final = sa.select(
    REPORT.c.digest,
    REPORT.c.received_at,
    REPORT.c.kind,
    REPORT.c.server,
    REPORT.c.notes,
    REPORT.c.content.is_not(None).label("has_content"),
)


class Entry(NamedTuple):
    """What a stored report says of one recipient.

    ``position`` is None where it names nobody who got the message, ``state`` where it tells none.
    ``behind`` is another mailbox to which the address leads, or "".
    """

    position: int | None
    state: Status | None
    code: str
    text: str
    behind: str

    @property
    def said(self) -> str:
        """The code, and the text without it."""
        return " ".join(filter(None, (self.code, self.text.removeprefix(self.code).strip())))

    @property
    def in_ascii(self) -> Entry:
        """The same in letters that every database can store."""
        return self._replace(text=in_ascii(self.text), behind=in_ascii(self.behind))


class Report(NamedTuple):
    """A report, or an automatic reply, as it was stored. ``received_at`` is naive UTC."""

    digest: str
    received_at: datetime
    kind: str
    server: str
    entries: tuple[Entry, ...]
    has_content: bool


class Recent(NamedTuple):
    """A report that came in, with the message that it is about."""

    id: uuid.UUID
    subject: str
    report: Report
    addresses: Mapping[int, str]  # of the recipients, by their position

    def whom(self, entry: Entry) -> str:
        """The address that ``entry`` is about, "" if that is nobody who got the message."""
        return "" if entry.position is None else self.addresses.get(entry.position, "")


def reports_of(connection: sa.Connection, id: uuid.UUID) -> tuple[Report, ...]:
    """What came back for the message ``id``, oldest first."""
    rows = connection.execute(
        _REPORTS.where(REPORT.c.message_id == id).order_by(REPORT.c.received_at, REPORT.c.digest)
    )
    return tuple(map(_report_from, rows))


def lately(connection: sa.Connection, most: int) -> tuple[Recent, ...]:
    """What came back last, newest first, at most ``most``."""
    newest = (
        _REPORTS.add_columns(REPORT.c.message_id, MESSAGE.c.subject)
        .join_from(REPORT, MESSAGE, MESSAGE.c.id == REPORT.c.message_id)
        .order_by(REPORT.c.received_at.desc(), REPORT.c.digest)
        .limit(most)
    )
    rows = connection.execute(newest).all()
    addresses: dict[uuid.UUID, dict[int, str]] = {}
    of_these = RECIPIENT.c.message_id.in_({row.message_id for row in rows})
    columns = (RECIPIENT.c.message_id, RECIPIENT.c.position, RECIPIENT.c.address)
    for id, position, address in connection.execute(sa.select(*columns).where(of_these)):
        addresses.setdefault(id, {})[position] = address
    return tuple(
        Recent(
            row.message_id,
            row.subject,
            _report_from(row),
            addresses.get(row.message_id, {}),
        )
        for row in rows
    )


def content_of(connection: sa.Connection, id: uuid.UUID, digest: str) -> bytes | None:
    """A report about the message ``id`` as it came; None if it is not kept."""
    found = sa.select(REPORT.c.content).where(REPORT.c.message_id == id, REPORT.c.digest == digest)
    content: bytes | None = connection.scalar(found)
    return content


def in_ascii(text: str) -> str:
    """``text`` with escapes for all letters that a database may lack."""
    return text.encode("ascii", "backslashreplace").decode()


def _report_from(row: sa.Row[Any]) -> Report:
    return Report(
        digest=row.digest,
        received_at=row.received_at,
        kind=row.kind,
        server=row.server,
        entries=tuple(map(_entry_from, json.loads(row.notes))),
        has_content=bool(row.has_content),
    )


def _entry_from(stored: dict[str, Any]) -> Entry:
    state = next((status for status in RETURNED if status == stored["state"]), None)
    return Entry(**{**stored, "state": state})
