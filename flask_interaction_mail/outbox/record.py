"""Writing down what became of claimed messages; nothing of one whose claim was lost meanwhile.

Works on the connection that it is given and leaves the commit to its owner; times are naive UTC.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime

import sqlalchemy as sa

from ..storage.json_rows import joined_update, json_table, rows_parameter
from ..storage.tables import ATTEMPT, MESSAGE, RECIPIENT
from ..values import Status
from .claimed import Attempt, AttemptResult
from .digests import SOURCE, apply_outcome
from .fenced import Change, lock_rows_only
from .messages import forget_flask_mail

_MESSAGES = json_table(
    MESSAGE.c.id,
    MESSAGE.c.fence,
    MESSAGE.c.status,
    MESSAGE.c.reason,
    MESSAGE.c.detail,
    MESSAGE.c.due_at,
    sa.column("final", sa.Integer()),
    sa.column("counted", sa.Integer()),
)
_SAY_OF_MESSAGES = Change(
    _MESSAGES,
    status=_MESSAGES.c.status,
    reason=_MESSAGES.c.reason,
    detail=_MESSAGES.c.detail,
    due_at=_MESSAGES.c.due_at,
    finished_at=sa.case(
        (_MESSAGES.c.final > 0, sa.bindparam("finished_at", type_=MESSAGE.c.finished_at.type))
    ),
    attempts=MESSAGE.c.attempts + _MESSAGES.c.counted,
    lease_until=None,
    worker=None,
    lost_leases=0,
)
# The same claim, under a new fencing token: an attempt of several transactions goes on, and its
# worker has made progress.
_GO_ON = Change(json_table(MESSAGE.c.id, MESSAGE.c.fence), fence=MESSAGE.c.fence + 1, lost_leases=1)
_RECIPIENTS = json_table(
    RECIPIENT.c.message_id, RECIPIENT.c.position, RECIPIENT.c.status, RECIPIENT.c.reply
)
_SAY_OF_RECIPIENTS = (
    joined_update(RECIPIENT)
    .where(
        RECIPIENT.c.message_id == _RECIPIENTS.c.message_id,
        RECIPIENT.c.position == _RECIPIENTS.c.position,
    )
    .values(
        status=_RECIPIENTS.c.status,
        # Where nothing new was said the last words stay.
        reply=sa.func.coalesce(_RECIPIENTS.c.reply, RECIPIENT.c.reply),
    )
)
_ATTEMPTS = json_table(*(one for one in ATTEMPT.c if one.key != "worker"))
_ADD_ATTEMPTS = sa.insert(ATTEMPT).from_select(
    [*(one.key for one in _ATTEMPTS.c), "worker"],
    sa.select(_ATTEMPTS, sa.bindparam("by", type_=ATTEMPT.c.worker.type)),
)


def record(
    connection: sa.Connection,
    verdicts: Sequence[AttemptResult],
    *,
    worker: str,
    now: datetime,
    all_or_none: bool = False,
) -> list[AttemptResult]:
    """Write down what happened; gives those verdicts whose claim was still in force.

    On MariaDB this is the first statement of its transaction.

    Raises:
        ClaimsLost: with ``all_or_none``, a claim was not; nothing of this may be committed.
    """
    lock_rows_only(connection)
    rows = [_message_row(one) for one in verdicts if one.rest is None]
    going_on = [(one.claimed.id, one.claimed.fence) for one in verdicts if one.rest]
    kept = [*verdicts]
    if all_or_none:
        _SAY_OF_MESSAGES.apply_to_all(connection, rows, finished_at=now)
        _GO_ON.apply_to_all(connection, going_on)
    else:
        won = _SAY_OF_MESSAGES.apply(connection, rows, finished_at=now)
        won |= _GO_ON.apply(connection, going_on)
        kept = [one for one in verdicts if one.claimed.id in won]
    if recipients := [row for one in kept for row in _recipient_rows(one)]:
        connection.execute(_SAY_OF_RECIPIENTS, rows_parameter(recipients))
    if attempts := [_attempt_row(one, one.attempt) for one in kept if one.attempt]:
        connection.execute(_ADD_ATTEMPTS, {**rows_parameter(attempts), "by": worker})
    if through_flask_mail := [v.claimed.id for v in kept if v.claimed.source == "flask_mail"]:
        forget_flask_mail(connection, through_flask_mail)
    for one in kept:
        if one.claimed.source == SOURCE and one.status in (Status.SENT, Status.FAILED):
            _, reply = next(iter(one.recipients.values()))  # it has one
            apply_outcome(connection, one.claimed.id, one.status, reply, now)
    return kept


def _message_row(verdict: AttemptResult) -> tuple[object, ...]:
    return (
        verdict.claimed.id,
        verdict.claimed.fence,
        verdict.status,
        verdict.reason,
        verdict.detail,
        verdict.due_at if verdict.status is Status.DEFERRED else None,
        int(verdict.status.final),
        int(verdict.counted),
    )


def _recipient_rows(verdict: AttemptResult) -> Iterable[tuple[object, ...]]:
    for position, address in verdict.claimed.places:
        yield verdict.claimed.id, position, *verdict.recipients[address]


def _attempt_row(verdict: AttemptResult, attempt: Attempt) -> tuple[object, ...]:
    """In the order of the table's columns, without the worker's."""
    return (
        verdict.claimed.id,
        verdict.claimed.fence,
        attempt.started_at,
        attempt.finished_at,
        attempt.server,
        attempt.result,
        attempt.stage,
        attempt.reply,
        json.dumps(attempt.replies),
        attempt.diverted_to,
    )
