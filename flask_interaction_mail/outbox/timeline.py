"""What happened to each recipient of a message, as a line of events. Nothing here reads a database.

A server answers for each recipient of a transaction. So recipients of one message can have
different lines; those that have the same share one.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final, NamedTuple

from ..outcome import Result
from ..values import ENDED, OPEN, RecipientVerdict, Status
from .queries import Attempt, Details

STORED: Final = "stored"
CLAIMED: Final = "claimed"
_OVER: Final = (Result.ACCEPTED, Result.PERMANENT)  # for one recipient; the others go on


class Event(NamedTuple):
    """Something that happened ``at`` (naive UTC), None where nobody knows when.

    ``what`` is ``STORED``, ``CLAIMED``, a ``Result`` of an attempt, or the ``Status`` at its end,
    for which ``at`` is the time of the next attempt where there will be one.
    """

    what: str
    at: datetime | None
    reply: str | None = None
    server: str = ""
    stage: str = ""
    diverted_to: str | None = None


class Timeline(NamedTuple):
    """The events of these recipients, oldest first."""

    recipients: tuple[RecipientVerdict, ...]
    events: tuple[Event, ...]


def timelines(details: Details) -> list[Timeline]:
    """The lines of all recipients, in the order of the first of each."""
    together: dict[tuple[Event, ...], list[RecipientVerdict]] = {}
    for recipient in details.recipients:
        together.setdefault(tuple(_events(details, recipient)), []).append(recipient)
    return [Timeline(tuple(people), events) for events, people in together.items()]


def _events(details: Details, recipient: RecipientVerdict) -> Iterator[Event]:
    yield Event(STORED, details.row.created_at)
    answered: datetime | None = None
    for attempt in details.attempts:
        row, reply = attempt.row, _reply(attempt, recipient)
        if reply is None and attempt.replies and row["diverted_to"] is None:
            continue  # the attempt was for others
        yield Event(CLAIMED, row["started_at"], server=row["server"])
        answered, result = row["finished_at"], _result(row["result"], reply)
        yield Event(
            result,
            answered,
            reply=reply or row["reply"],
            stage=row["stage"],
            diverted_to=row["diverted_to"],
        )
        if result in _OVER:
            break
    yield _end(details, recipient, answered)


def _reply(attempt: Attempt, recipient: RecipientVerdict) -> str | None:
    return attempt.replies.get(recipient.address)


def _result(result: str, reply: str | None) -> str:
    """What became of one recipient in an attempt that came to ``result`` for the message."""
    if result == Result.AMBIGUOUS or reply is None:
        return result
    by_digit = {"2": Result.ACCEPTED, "4": Result.TRANSIENT, "5": Result.PERMANENT}
    return by_digit.get(reply[:1], result)


def _end(details: Details, recipient: RecipientVerdict, answered: datetime | None) -> Event:
    row, status = details.row, recipient.status
    if status in OPEN and row.status == Status.SENDING:
        return Event(Status.SENDING, None)
    if status in OPEN or (status is Status.HELD and row.due_at is not None):
        return Event(status, row.due_at)
    if status is Status.SENT and answered is not None:
        return Event(status, answered)
    return Event(status, row.finished_at if status in ENDED else None)
