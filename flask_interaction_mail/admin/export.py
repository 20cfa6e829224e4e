"""Files for spreadsheets: what happened to each message, without its text, and other tables."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime
from itertools import islice
from typing import Final

import sqlalchemy as sa

from ..outbox import listing
from ..outbox.filters import Filters
from ..values import RecipientVerdict
from .message_view import from_of

COLUMNS: Final = (
    *("created (UTC)", "finished (UTC)", "status", "reason", "details", "kind", "subject"),
    *("from", "to", "cc", "bcc", "replies", "attempts", "message id", "number"),
)
_LINES: Final = 500  # of a piece
_BOM: Final = "\ufeff"  # without it spreadsheets guess another encoding than UTF-8
# = + - @ and their fullwidth, small and typographic forms.
_STARTS: Final = r"=+\-@\uff1d\uff0b\uff0d\uff20\ufe66\ufe62\ufe63\ufe6b\u2212"
# A formula may follow blanks, quotes and the like. It may also follow what a spreadsheet with
# other settings takes for the end of a cell.
_RISKY: Final = re.compile(rf"(?:\A|(?<=[;,\t\r\n]))(?=[^\w;,\t\r\n]*[{_STARTS}])|\A(?=[\t\r\n])")


def pieces(
    reading: Callable[[], AbstractContextManager[sa.Connection]], filters: Filters
) -> Iterator[str]:
    """The file in pieces of up to 500 messages, newest first.

    No transaction is open while a piece is on its way to the reader.
    """
    mark, head = _BOM, [COLUMNS]
    while True:
        with reading() as connection:
            page = listing.export_page(connection, filters)
        if head or page.lines:  # an empty piece could be taken for the end
            yield mark + _text([*head, *(map(safe, _cells(line)) for line in page.lines)])
        if not page.older:
            return
        mark, head, filters = "", [], replace(filters, before=page.older)


def table(columns: Sequence[str], lines: Iterable[Sequence[str]]) -> Iterator[str]:
    """A file with these ``lines`` in pieces of up to 500, the head before them."""
    rest = iter(lines)
    yield _BOM + _text([columns])
    while piece := list(islice(rest, _LINES)):
        yield _text(map(safe, line) for line in piece)


def safe(text: str) -> str:
    """``text`` as a cell that no spreadsheet takes for a formula, with an apostrophe in front.

    Source: OWASP, "CSV Injection".
    """
    return _RISKY.sub("'", text)


def _text(lines: Iterable[Iterable[str]]) -> str:
    written = io.StringIO(newline="")
    csv.writer(written, quoting=csv.QUOTE_ALL).writerows(lines)
    return written.getvalue()


def _cells(line: listing.Line) -> tuple[str, ...]:
    row = line.row
    return (
        _instant(row.created_at),
        _instant(row.finished_at),
        row.status,
        row.reason or "",
        row.detail or "",
        row.kind,
        row.subject,
        row.sender or from_of(row.head),
        *(_people(line.recipients, field) for field in ("to", "cc", "bcc")),
        "; ".join(map(_verdict, line.recipients)),
        str(row.attempts),
        row.message_id or "",
        str(row.id),
    )


def _instant(instant: datetime | None) -> str:
    return instant.isoformat(" ", "seconds") if instant else ""


def _people(recipients: Iterable[RecipientVerdict], field: str) -> str:
    return ", ".join(
        f"{recipient.name} <{recipient.address}>" if recipient.name else recipient.address
        for recipient in recipients
        if recipient.field == field
    )


def _verdict(recipient: RecipientVerdict) -> str:
    reply = f" ({recipient.reply})" if recipient.reply else ""
    return f"{recipient.address}: {recipient.status}{reply}"
