"""What happened to each recipient of a message, as a line of events. Nothing here reads a database.

A server answers for each recipient of a transaction. So recipients of one message can have
different lines; those that have the same share one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final, NamedTuple

from ..outcome import Result
from ..values import ENDED, OPEN, RETURNED, RecipientVerdict, Status
from .queries import Attempt, Details
from .reports import REPLIED, Entry, Report

STORED: Final = "stored"
CLAIMED: Final = "claimed"
TOLD: Final = "told"  # a report came that does not say what became of it
_ANSWERED: Final = tuple(map(str, Result))
_THAT_SAY: Final = {Status.SENT: _ANSWERED, **{state: (str(state),) for state in RETURNED}}
_OVER: Final = (Result.ACCEPTED, Result.PERMANENT)  # for one recipient; the others go on


class Event(NamedTuple):
    """Something that happened ``at`` (naive UTC), None where nobody knows when.

    ``what`` is ``STORED``, ``CLAIMED``, a ``Result`` of an attempt, what a report said (a
    ``Status`` or ``TOLD``), an automatic ``reply``, or the ``Status`` at its end, for which ``at``
    is the time of the next attempt where there will be one. ``report`` is the digest of a report
    that can be read, ``behind`` another mailbox that it is about.
    """

    what: str
    at: datetime | None
    reply: str | None = None
    server: str = ""
    stage: str = ""
    diverted_to: str | None = None
    provider_id: str | None = None
    behind: str = ""
    report: str = ""


class Timeline(NamedTuple):
    """The events of these recipients, oldest first."""

    recipients: tuple[RecipientVerdict, ...]
    events: tuple[Event, ...]


def timelines(details: Details) -> list[Timeline]:
    """The lines of all recipients, in the order of the first of each."""
    together: dict[tuple[Event, ...], list[RecipientVerdict]] = {}
    for position, recipient in enumerate(details.recipients):
        events = (*_events(details, recipient), *_came_back(details.reports, position))
        last = _end(details, recipient, events)
        together.setdefault((*events, last), []).append(recipient)
    return [Timeline(tuple(people), events) for events, people in together.items()]


def _events(details: Details, recipient: RecipientVerdict) -> Iterator[Event]:
    yield Event(STORED, details.row.created_at)
    for attempt in details.attempts:
        row, reply = attempt.row, _reply(attempt, recipient)
        if reply is None and attempt.replies and row["diverted_to"] is None:
            continue  # the attempt was for others
        yield Event(CLAIMED, row["started_at"], server=row["server"])
        result = _result(row["result"], reply)
        yield Event(
            result,
            row["finished_at"],
            reply=reply or row["reply"],
            stage=row["stage"],
            diverted_to=row["diverted_to"],
            provider_id=row["provider_id"] if result == Result.ACCEPTED else None,
        )
        if result in _OVER:
            break


def _came_back(reports: Iterable[Report], position: int) -> Iterator[Event]:
    """What reports say of one recipient, or of nobody who got the message."""
    for report in reports:
        digest = report.digest if report.has_content else ""
        if report.kind == REPLIED:
            yield Event(REPLIED, report.received_at, report=digest)
        for entry in report.entries:
            if entry.position in (position, None):
                yield _said(report, entry)._replace(report=digest)


def _said(report: Report, entry: Entry) -> Event:
    counts = entry.position is not None and entry.state is not None
    return Event(
        str(entry.state) if counts else TOLD,
        report.received_at,
        reply=entry.said,
        server=report.server,
        behind=entry.behind,
    )


def _reply(attempt: Attempt, recipient: RecipientVerdict) -> str | None:
    return attempt.replies.get(recipient.address)


def _result(result: str, reply: str | None) -> str:
    """What became of one recipient in an attempt that came to ``result`` for the message."""
    if result == Result.AMBIGUOUS or reply is None:
        return result
    by_digit = {"2": Result.ACCEPTED, "4": Result.TRANSIENT, "5": Result.PERMANENT}
    return by_digit.get(reply[:1], result)


def _end(details: Details, recipient: RecipientVerdict, events: Iterable[Event]) -> Event:
    row, status = details.row, recipient.status
    if status in OPEN and row.status == Status.SENDING:
        return Event(Status.SENDING, None)
    if status in OPEN or (status is Status.HELD and row.due_at is not None):
        return Event(status, row.due_at)
    if status is Status.SENT or status in RETURNED:
        known = [event.at for event in events if event.what in _THAT_SAY[status] and event.at]
        if known:
            return Event(status, known[-1] if status is Status.SENT else known[0])
    return Event(status, row.finished_at if status in ENDED else None)
