"""One attempt in several mail transactions, if the server takes few recipients in each. Pure.

Each transaction is recorded before the next one begins, so that a crash repeats at most one.
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

_ROUNDS: Final = 20  # crowded transactions of one attempt
_TIME: Final = timedelta(seconds=60)  # from the end of the first of them to that of the last

Said = Mapping[str, tuple[Status, str | None]]  # recipient -> status, reply


def rest_of(
    claimed: Claimed, delivery: TransportResult, said: Said, finished_at: datetime
) -> Claimed | None:
    """What is left for the next transaction, after one in which the server ``said`` this.

    None if nothing is left. None, too, if no recipient was accepted in a transaction that was not
    crowded, and after 20 crowded ones: then the rest waits for the next attempt.
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
    deferred = dict(claimed.deferred)
    before = dict(claimed.before)
    for address, (status, reply) in _decided(delivery, said).items():
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
    """The result of one transaction, in an attempt that goes on with ``rest``."""
    decided = _decided(delivery, said)
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
    """What an attempt came to for all recipients, after a last transaction that ``said`` this.

    A refusal of the sender holds for all recipients, asked for or not. A recipient who found no
    room, although others did in an earlier transaction, waits for the next attempt.
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


def _decided(delivery: TransportResult, said: Said) -> Said:
    return {address: what for address, what in said.items() if address not in delivery.left}
