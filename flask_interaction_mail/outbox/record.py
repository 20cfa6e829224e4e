"""Writes down what came of claimed messages, unless their claim was lost meanwhile.

Works on the connection that it is given and leaves the commit to its owner; times are naive UTC.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime

import sqlalchemy as sa

from ..settings.relay import DEFAULT
from ..storage.json_rows import joined_update, json_table, rows_parameter
from ..storage.tables import ATTEMPT, DELIVERY, RECIPIENT
from ..values import Status
from .claimed import Attempt, AttemptResult
from .digests import SOURCE, apply_outcome, lock_with_members, settle
from .fenced import Change, lock_rows_only
from .messages import forget_flask_mail
from .tally import GROW, Tally
from .transitions import RECORDED

_MESSAGES = json_table(
    DELIVERY.c.id,
    DELIVERY.c.fence,
    DELIVERY.c.status,
    DELIVERY.c.reason,
    DELIVERY.c.detail,
    DELIVERY.c.due_at,
    DELIVERY.c.relay,
    sa.column("final", sa.Integer()),
    sa.column("counted", sa.Integer()),
    DELIVERY.c.provider_id,
)
_SAY_OF_MESSAGES = Change(
    _MESSAGES,
    **RECORDED.from_rows(_MESSAGES.c.status),
    reason=_MESSAGES.c.reason,
    detail=_MESSAGES.c.detail,
    due_at=_MESSAGES.c.due_at,
    relay=_MESSAGES.c.relay,
    finished_at=sa.case(
        (_MESSAGES.c.final > 0, sa.bindparam("finished_at", type_=DELIVERY.c.finished_at.type))
    ),
    attempts=DELIVERY.c.attempts + _MESSAGES.c.counted,
    lease_until=None,
    worker=None,
    lost_leases=0,
    # Of several transactions the last name that the provider gave stays; attempts have each.
    provider_id=sa.func.coalesce(_MESSAGES.c.provider_id, DELIVERY.c.provider_id),
)
_ACCEPTED = json_table(
    DELIVERY.c.id,
    DELIVERY.c.fence,
    DELIVERY.c.started_at,
    DELIVERY.c.server,
    DELIVERY.c.reply,
    DELIVERY.c.provider_id,
)
# The names of worker and relay stay, and say whose attempt it was.
_SAY_OF_ACCEPTED = Change(
    _ACCEPTED,
    beside=GROW,
    **RECORDED.to(Status.SENT),
    reason=None,
    detail=None,
    finished_at=sa.bindparam("finished_at", type_=DELIVERY.c.finished_at.type),
    attempts=DELIVERY.c.attempts + 1,
    lease_until=None,
    lost_leases=0,
    started_at=_ACCEPTED.c.started_at,
    server=_ACCEPTED.c.server,
    reply=_ACCEPTED.c.reply,
    provider_id=_ACCEPTED.c.provider_id,
)
# The same claim under a new fencing token, for an attempt of several transactions that goes on.
_GOING_ON = json_table(DELIVERY.c.id, DELIVERY.c.fence, DELIVERY.c.provider_id)
_GO_ON = Change(
    _GOING_ON,
    fence=DELIVERY.c.fence + 1,
    lost_leases=1,
    provider_id=sa.func.coalesce(_GOING_ON.c.provider_id, DELIVERY.c.provider_id),
)
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
        **RECORDED.from_rows(_RECIPIENTS.c.status),
        # Where the server said nothing new, its last reply stays.
        reply=sa.func.coalesce(_RECIPIENTS.c.reply, RECIPIENT.c.reply),
    )
)
_ATTEMPTS = json_table(*(column for column in ATTEMPT.c if column.key != "worker"))
_ADD_ATTEMPTS = sa.insert(ATTEMPT).from_select(
    [*(column.key for column in _ATTEMPTS.c), "worker"],
    sa.select(_ATTEMPTS, sa.bindparam("by", type_=ATTEMPT.c.worker.type)),
)


_Rows = list[Sequence[object]]


def record(
    connection: sa.Connection,
    results: Sequence[AttemptResult],
    *,
    worker: str,
    relay: str = DEFAULT,
    now: datetime,
    tally: Tally | None = None,
) -> list[AttemptResult]:
    """Write down what happened at ``relay``; gives those results whose claim was still in force.

    They are counted in ``tally``. On MariaDB this is the first statement of its transaction.

    Raises:
        Overtaken: nothing is to be committed; begin again.
    """
    lock_rows_only(connection)
    accepted, going_on, others = _sorted(results, relay)
    digests = [result.claimed.id for result in results if _ends_digest(result)]
    grown = None
    if digests or max(map(len, (accepted, going_on, others))) < len(results):
        lock_with_members(connection, (result.claimed.id for result in results), digests)
    elif tally and accepted and connection.dialect.name == "postgresql":
        grown = tally.grown(connection, results, now)
    won = _SAY_OF_ACCEPTED.apply(connection, accepted, grown, finished_at=now)
    won |= _SAY_OF_MESSAGES.apply(connection, others, finished_at=now)
    won |= _GO_ON.apply(connection, going_on)
    kept = [result for result in results if result.claimed.id in won]
    shared = {row[0] for row in accepted}
    differing = [result for result in kept if result.claimed.id not in shared]
    if recipients := [row for result in differing for row in _recipient_rows(result)]:
        connection.execute(_SAY_OF_RECIPIENTS, rows_parameter(recipients))
    if attempts := [_attempt_row(result, result.attempt) for result in differing if result.attempt]:
        connection.execute(_ADD_ATTEMPTS, {**rows_parameter(attempts), "by": worker})
    _end(connection, kept, now)
    if tally and grown is None:
        tally.recorded(connection, kept, now)
    return kept


def _end(connection: sa.Connection, kept: Sequence[AttemptResult], now: datetime) -> None:
    """Do what else ends with these messages."""
    through_flask_mail = [
        result.claimed.id for result in kept if result.claimed.source == "flask_mail"
    ]
    if through_flask_mail:
        forget_flask_mail(connection, through_flask_mail)
    for result in kept:
        claimed = result.claimed
        if _ends_digest(result):
            _, reply = next(iter(result.recipients.values()))  # it has one
            result.ended = apply_outcome(connection, claimed.id, result.status, reply, now)
        elif result.waits_for_digest:
            settle(connection, claimed.id, now)


def _sorted(results: Iterable[AttemptResult], relay: str) -> tuple[_Rows, _Rows, _Rows]:
    """The rows for what was accepted for everybody, for what goes on, and for all others."""
    accepted: _Rows = []
    going_on: _Rows = []
    others: _Rows = []
    for result in results:
        claimed, attempt = result.claimed, result.attempt
        if result.rest is not None:
            going_on.append((claimed.id, claimed.fence, attempt and attempt.provider_id))
        elif attempt is not None and result.shared:
            said = (attempt.started_at, attempt.server, attempt.reply, attempt.provider_id)
            accepted.append((claimed.id, claimed.fence, *said))
        else:
            others.append(_message_row(result, relay))
    return accepted, going_on, others


def _ends_digest(result: AttemptResult) -> bool:
    return result.claimed.source == SOURCE and result.status in (Status.SENT, Status.FAILED)


def _message_row(result: AttemptResult, relay: str) -> tuple[object, ...]:
    return (
        result.claimed.id,
        result.claimed.fence,
        result.status,
        result.reason,
        result.detail,
        result.due_at if result.status is Status.DEFERRED else None,
        relay if result.binds else None,
        int(result.status.final and not result.waits_for_digest),
        int(result.counted),
        result.attempt and result.attempt.provider_id,
    )


def _recipient_rows(result: AttemptResult) -> Iterable[tuple[object, ...]]:
    for position, address in result.claimed.places:
        yield result.claimed.id, position, *result.recipients[address]


def _attempt_row(result: AttemptResult, attempt: Attempt) -> tuple[object, ...]:
    """Its row, in the order of the table's columns, without the worker."""
    return (
        result.claimed.id,
        result.claimed.fence,
        attempt.started_at,
        attempt.finished_at,
        attempt.server,
        attempt.result,
        attempt.stage,
        attempt.reply,
        json.dumps(attempt.replies),
        attempt.diverted_to,
        attempt.provider_id,
    )
