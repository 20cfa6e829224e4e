"""Writing down what became of claimed messages; nothing of one whose claim was lost meanwhile.

Works on the connection that it is given and leaves the commit to its owner; times are naive UTC.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from .claimed import OPEN, Verdict, still_claimed
from .models import ATTEMPT, MESSAGE, RECIPIENT
from .outbox import forget_flask_mail
from .values import Status

# Built once: building a statement costs more than running it on SQLite.
_SAY_OF_RECIPIENT = (
    sa.update(RECIPIENT)
    .where(
        RECIPIENT.c.message_id == sa.bindparam("of_message"),
        RECIPIENT.c.address == sa.bindparam("to_address"),
        sa.or_(*(RECIPIENT.c.status == status for status in OPEN)),
    )
    .values(status=sa.bindparam("new_status"), reply=sa.bindparam("said"))
)


def record(
    connection: sa.Connection, verdicts: Iterable[Verdict], *, worker: str, now: datetime
) -> list[Verdict]:
    """Write down what happened; gives those verdicts whose claim was still in force.

    Verdicts that say the same, which most do, are one statement.
    """
    kept: list[Verdict] = []
    for alike in _groups(verdicts):
        won = _record_messages(connection, alike, now)
        kept += [verdict for verdict in alike if verdict.claimed.id in won]
    recipients = [row for verdict in kept for row in _recipient_rows(verdict)]
    if recipients:
        connection.execute(_SAY_OF_RECIPIENT, recipients)
    attempts = [_attempt_row(verdict, worker) for verdict in kept if verdict.attempt]
    if attempts:
        connection.execute(sa.insert(ATTEMPT), attempts)
    through_flask_mail = [v.claimed.id for v in kept if v.claimed.source == "flask_mail"]
    if through_flask_mail:
        forget_flask_mail(connection, through_flask_mail)
    return kept


def _groups(verdicts: Iterable[Verdict]) -> Iterable[list[Verdict]]:
    groups: dict[tuple[object, ...], list[Verdict]] = {}
    for one in verdicts:
        due_at = one.due_at if one.status is Status.DEFERRED else None
        said = (one.status, one.reason, one.detail, one.counted, due_at)
        groups.setdefault(said, []).append(one)
    return groups.values()


def _record_messages(
    connection: sa.Connection, alike: Sequence[Verdict], now: datetime
) -> set[uuid.UUID]:
    """The ids of those messages of ``alike`` whose claim was still in force."""
    said = _message_values(alike[0], now)
    if not connection.dialect.update_returning:  # MySQL and MariaDB
        return {one.claimed.id for one in alike if _record_message(connection, one, said)}
    claims = [(one.claimed.id, one.claimed.fence) for one in alike]
    statement = (
        sa.update(MESSAGE)
        .where(
            MESSAGE.c.id.in_([id for id, _ in claims]),
            sa.tuple_(MESSAGE.c.id, MESSAGE.c.fence).in_(claims),
            MESSAGE.c.status == Status.SENDING,
        )
        .values(**said)
        .returning(MESSAGE.c.id)
    )
    return set(connection.scalars(statement))


def _record_message(connection: sa.Connection, verdict: Verdict, said: Mapping[str, Any]) -> bool:
    statement = sa.update(MESSAGE).where(still_claimed(verdict.claimed)).values(**said)
    return connection.execute(statement).rowcount == 1


def _message_values(verdict: Verdict, now: datetime) -> dict[str, Any]:
    return {
        "status": verdict.status,
        "reason": verdict.reason,
        "detail": verdict.detail,
        "due_at": verdict.due_at if verdict.status is Status.DEFERRED else None,
        "attempts": MESSAGE.c.attempts + (1 if verdict.counted else 0),
        "finished_at": now if verdict.status.final else None,
        "lease_until": None,
        "worker": None,
        "lost_leases": 0,
    }


def _recipient_rows(verdict: Verdict) -> Iterable[dict[str, Any]]:
    for address, (status, reply) in verdict.recipients.items():
        yield {
            "of_message": verdict.claimed.id,
            "to_address": address,
            "new_status": status,
            "said": reply,
        }


def _attempt_row(verdict: Verdict, worker: str) -> dict[str, Any]:
    attempt = verdict.attempt
    assert attempt is not None  # noqa: S101 - the caller has just looked
    return {
        "message_id": verdict.claimed.id,
        "number": verdict.claimed.fence,
        "started_at": attempt.started_at,
        "finished_at": attempt.finished_at,
        "server": attempt.server,
        "worker": worker,
        "result": attempt.result,
        "stage": attempt.stage,
        "reply": attempt.reply,
        "verdicts": json.dumps(attempt.replies),
        "diverted_to": attempt.diverted_to,
    }
