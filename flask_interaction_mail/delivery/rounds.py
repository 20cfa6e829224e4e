"""One attempt in several transactions, where the server takes few recipients in each.

Each is written down before the next one begins, so that a crash repeats one of them at most. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from ..outbox.claimed import Attempt, AttemptResult, Claimed
from ..outcome import Result, Stage
from ..transport.base import TransportResult
from ..transport.smtp.conclusions import no_room
from ..values import Status

_ROUNDS: Final = 20  # crowded transactions of one attempt,
_TIME: Final = timedelta(seconds=60)  # and how long after the first of them the last may begin

Said = Mapping[str, tuple[Status, str | None]]  # recipient -> what it came to, reply


def rest_of(
    claimed: Claimed, delivery: TransportResult, said: Said, finished_at: datetime
) -> Claimed | None:
    """What is to go on after the transaction that ``said`` this; None where it was the last.

    That is also one in which nobody was accepted, unless it was crowded, and the last of many
    crowded ones: the others wait for the next attempt.
    """
    left = (*delivery.left, *claimed.later)
    if not left:
        return None
    crowds = claimed.crowds
    if delivery.crowded:
        crowds += (finished_at,)
        if len(crowds) >= _ROUNDS or finished_at - crowds[0] > _TIME:
            return None
    elif delivery.result is not Result.ACCEPTED:
        return None
    decided = {address: one for address, one in said.items() if address not in delivery.left}
    deferred = dict(claimed.deferred)
    before = dict(claimed.before)
    for address, (status, reply) in decided.items():
        if status is Status.DEFERRED:
            deferred[address] = reply
        else:
            before.setdefault(status, reply)
    open_still = {*left, *deferred}
    return replace(
        claimed,
        fence=claimed.fence + 1,
        before=before,
        places=tuple(place for place in claimed.places if place[1] in open_still),
        envelope=claimed.envelope.to(left),
        later=(),
        deferred=tuple(deferred.items()),
        goes_on=True,
        crowds=crowds,
    )


def so_far(
    claimed: Claimed, delivery: TransportResult, said: Said, attempt: Attempt, rest: Claimed
) -> AttemptResult:
    """The verdict on one transaction of an attempt that goes on with ``rest``."""
    decided = {address: one for address, one in said.items() if address not in delivery.left}
    return AttemptResult(
        claimed=replace(
            claimed, places=tuple(place for place in claimed.places if place[1] in decided)
        ),
        status=Status.SENDING,
        reason=None,
        detail=None,
        due_at=attempt.finished_at,
        counted=False,
        recipients=decided,
        attempt=attempt,
        rest=rest,
        room=delivery.room,
    )


def everybody(claimed: Claimed, delivery: TransportResult, said: Said, attempt: Attempt) -> Said:
    """What an attempt came to with its last transaction, which ``said`` this of some.

    A sender who was refused is so for all, asked for or not. Who found no room, after others had
    in a transaction before, waits for the next attempt.
    """
    refused = delivery.stage is Stage.SENDER and delivery.result is Result.PERMANENT
    unasked = Status.FAILED if refused else Status.DEFERRED
    in_vain = claimed.goes_on and delivery.result is not Result.ACCEPTED
    crowded = delivery.verdicts.items() if in_vain else ()
    return {
        **said,
        **{
            address: (Status.DEFERRED, said[address][1])
            for address, reply in crowded
            if no_room(address, reply) and said[address][0] is Status.FAILED
        },
        **dict.fromkeys(claimed.later, (unasked, attempt.reply)),
        **{address: (Status.DEFERRED, reply) for address, reply in claimed.deferred},
    }
