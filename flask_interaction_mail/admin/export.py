"""The outbox as a file for spreadsheets: what happened to which message, never its text."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from ..outbox.filters import Filters
from ..values import RecipientVerdict
from . import listing
from .message_view import from_of

COLUMNS: Final = (
    *("created (UTC)", "finished (UTC)", "status", "reason", "details", "kind", "subject"),
    *("from", "to", "cc", "bcc", "replies", "attempts", "message id", "number"),
)
_BOM: Final = "\ufeff"  # without it spreadsheets take UTF-8 for something else
# = + - @ and their wider, smaller and typographic forms.
_STARTS: Final = r"=+\-@\uff1d\uff0b\uff0d\uff20\ufe66\ufe62\ufe63\ufe6b\u2212"
# Blanks, quotes and the like do not keep a formula from being one. Behind what another
# spreadsheet may take for the end of a cell, a new one begins.
_RISKY: Final = re.compile(rf"(?:\A|(?<=[;,\t\r\n]))(?=[^\w;,\t\r\n]*[{_STARTS}])|\A(?=[\t\r\n])")


def pieces(
    reading: Callable[[], AbstractContextManager[sa.Connection]], filters: Filters
) -> Iterator[str]:
    """The file in pieces, newest message first, whatever the length of the outbox.

    No transaction is open while a piece is on its way to the reader.
    """
    mark, head = _BOM, [COLUMNS]
    while True:
        with reading() as connection:
            page = listing.batch(connection, filters)
        if head or page.lines:  # an empty piece could be taken for the end
            yield mark + _text([*head, *map(_cells, page.lines)])
        if not page.older:
            return
        mark, head, filters = "", [], replace(filters, before=page.older)


def safe(text: str) -> str:
    """``text`` as a cell that no spreadsheet takes for a formula: it gets an apostrophe in front.

    See OWASP, "CSV Injection".
    """
    return _RISKY.sub("'", text)


def _text(lines: Iterable[Iterable[str]]) -> str:
    written = io.StringIO(newline="")
    csv.writer(written, quoting=csv.QUOTE_ALL).writerows(map(safe, line) for line in lines)
    return written.getvalue()


def _cells(line: listing.Listed) -> tuple[str, ...]:
    row = line.row
    return (
        _instant(row.created_at),
        _instant(row.finished_at),
        row.status,
        row.reason or "",
        row.detail or "",
        row.kind,
        row.subject,
        from_of(row.head),
        *(_people(line.recipients, field) for field in ("to", "cc", "bcc")),
        "; ".join(map(_verdict, line.recipients)),
        str(row.attempts),
        row.message_id or "",
        str(row.id),
    )


def _instant(instant: datetime | None) -> str:
    return instant.isoformat(" ", "seconds") if instant else ""


def _people(recipients: Iterable[RecipientVerdict], field: str) -> str:
    chosen = (one for one in recipients if one.field == field)
    return ", ".join(f"{one.name} <{one.address}>" if one.name else one.address for one in chosen)


def _verdict(one: RecipientVerdict) -> str:
    return f"{one.address}: {one.status}" + (f" ({one.reply})" if one.reply else "")
