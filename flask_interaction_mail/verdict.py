"""From what the server said to what is written down: the rules of retrying and giving up."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from .errors import TransportError
from .outcome import Delivery, Reply, Result, Stage
from .queue import Attempt, Claimed, Verdict
from .retry import GIVE_UP_AFTER, next_attempt
from .values import Reason, Status

# A server that fails at these has begun with the message: the trouble may be the message's own.
_ABOUT_THE_MESSAGE = (Stage.SENDER, Stage.RECIPIENT, Stage.CONTENT)
NOBODY_KNOWS = Delivery(
    result=Result.AMBIGUOUS,
    stage=Stage.CONTENT,
    reply=None,
    verdicts={},
    note="The worker had to stop while it was waiting for the server.",
)
_LONGEST = 1000  # characters of a text that is stored
_WORST_FIRST = (Status.FAILED, Status.HELD, Status.DEFERRED, Status.SENT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """Says what is to be written down about messages that went to one server.

    ``server`` is its name and port for the log; ``hold`` the policy for an unknown outcome;
    ``diverted_to`` the mailbox that gets all mail instead of the recipients, or None.
    """

    server: str
    hold: bool
    diverted_to: str | None

    def verdict(
        self,
        claimed: Claimed,
        outcome: Delivery | Exception,
        *,
        started_at: datetime,
        finished_at: datetime,
        chance: float,
    ) -> Verdict:
        """The verdict on ``claimed`` after one attempt; ``chance`` in [0, 1) lengthens a delay."""
        if isinstance(outcome, TransportError):
            outcome = as_delivery(outcome)
        if isinstance(outcome, Exception):
            return poisoned(claimed, outcome, finished_at)
        attempt = Attempt.of(
            outcome,
            started_at=started_at,
            finished_at=finished_at,
            server=self.server,
            diverted_to=self.diverted_to,
        )
        return verdict_of(claimed, outcome, attempt, hold=self.hold, now=finished_at, chance=chance)


def concerns_server(error: TransportError) -> bool:
    """Whether ``error`` says nothing about the message that happened to be the next one."""
    return error.stage not in _ABOUT_THE_MESSAGE


def as_delivery(error: TransportError) -> Delivery:
    """A connection lost inside a message, before its final dot: nobody got it, try again."""
    return Delivery(
        result=Result.TRANSIENT, stage=error.stage, reply=error.reply, verdicts={}, note=str(error)
    )


def verdict_of(
    claimed: Claimed,
    delivery: Delivery,
    attempt: Attempt,
    *,
    hold: bool,
    now: datetime,
    chance: float,
) -> Verdict:
    """What ``delivery`` means for ``claimed``.

    ``hold`` is the policy for an unknown outcome; ``chance`` in [0, 1) lengthens the delay.
    """
    said = attempt.reply
    recipients = {
        address: _of_recipient(delivery, delivery.verdicts.get(address), hold=hold)
        for address in claimed.envelope.recipients
    }
    before = {Status.FAILED} if claimed.refused_before else set()
    status = _worst({*recipients.values(), *before})
    reason = _REASONS.get(status)
    due_at = now
    if status is Status.DEFERRED:
        again = next_attempt(
            attempts=claimed.attempts + 1,
            created_at=claimed.created_at,
            expires_at=claimed.expires_at,
            now=now,
            chance=chance,
        )
        if again is None:
            status, reason = Status.FAILED, Reason.EXPIRED
            recipients = {
                address: Status.FAILED if one is Status.DEFERRED else one
                for address, one in recipients.items()
            }
        else:
            due_at = again
    return Verdict(
        claimed=claimed,
        status=status,
        reason=reason,
        detail=None if status is Status.SENT else (said or "")[:1000],
        due_at=due_at,
        counted=True,
        recipients={
            address: (one, attempt.replies.get(address, said))
            for address, one in recipients.items()
        },
        attempt=attempt,
    )


def poisoned(claimed: Claimed, error: Exception, now: datetime) -> Verdict:
    """A message that broke the program itself: it waits, the rest flows."""
    text = f"This message cannot be sent as it is ({type(error).__name__}); the log has more."
    return Verdict(
        claimed=claimed,
        status=Status.HELD,
        reason=Reason.POISON,
        detail=text,
        due_at=now,
        counted=True,
        recipients=dict.fromkeys(claimed.envelope.recipients, (Status.HELD, None)),
        attempt=None,
    )


def in_ascii(verdict: Verdict) -> Verdict:
    """``verdict`` in letters that every database can store."""
    attempt = verdict.attempt
    if attempt is not None:
        replies = {address: _ascii(reply) for address, reply in attempt.replies.items()}
        said = None if attempt.reply is None else _ascii(attempt.reply)
        attempt = replace(attempt, reply=said, replies=replies)
    return replace(
        verdict,
        detail=None if verdict.detail is None else _ascii(verdict.detail),
        recipients={
            address: (status, None if reply is None else _ascii(reply))
            for address, (status, reply) in verdict.recipients.items()
        },
        attempt=attempt,
    )


def _ascii(text: str) -> str:
    return text.encode("ascii", "backslashreplace").decode()[:_LONGEST]


def expired(claimed: Claimed, now: datetime) -> Verdict | None:
    """The verdict on a message whose ``expires_at`` is over before it was tried."""
    if claimed.expires_at is None or claimed.expires_at > now:
        return None
    return Verdict(
        claimed=claimed,
        status=Status.FAILED,
        reason=Reason.EXPIRED,
        detail="Its time was over before it could be sent.",
        due_at=now,
        counted=False,
        recipients=dict.fromkeys(claimed.envelope.recipients, (Status.FAILED, None)),
        attempt=None,
    )


def given_up(verdict: Verdict, now: datetime) -> bool:
    """Whether a message was tried for five days in vain; its own ``expires_at`` is no such end."""
    tried = verdict.reason is Reason.EXPIRED and verdict.counted
    return tried and now >= verdict.claimed.created_at + GIVE_UP_AFTER


_REASONS = {Status.FAILED: Reason.REFUSED, Status.HELD: Reason.AMBIGUOUS}


def _of_recipient(delivery: Delivery, reply: Reply | None, *, hold: bool) -> Status:
    if reply is not None and reply.permanent:
        return Status.FAILED
    if reply is not None and reply.transient:
        return Status.DEFERRED
    match delivery.result:
        case Result.ACCEPTED:
            return Status.SENT
        case Result.PERMANENT:
            return Status.FAILED
        case Result.AMBIGUOUS if hold:
            return Status.HELD
        case _:
            return Status.DEFERRED


def _worst(present: set[Status]) -> Status:
    # While somebody is still to be tried the message is not finished, whoever failed before.
    if Status.DEFERRED in present:
        return Status.DEFERRED
    return next((one for one in _WORST_FIRST if one in present), Status.SENT)
