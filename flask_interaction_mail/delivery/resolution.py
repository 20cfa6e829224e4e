"""What is written down of an attempt: when to try again, and when to give up."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from ..errors import TransportError
from ..language import mark
from ..outbox.claimed import Attempt, AttemptResult, Claimed
from ..outbox.rates import in_digest
from ..outcome import Fault, Result, Stage
from ..transport.base import TransportResult
from ..values import Kind, Reason, Status
from .retry import LAST_ATTEMPT, next_attempt
from .rounds import Said, everybody, rest_of, so_far

# A server that fails at these has begun with the message: the trouble may be the message's own.
_ABOUT_THE_MESSAGE = (Stage.SENDER, Stage.RECIPIENT, Stage.CONTENT)
_OF_SENDER = (Fault.SENDER_REFUSED, Fault.SENDER_TRANSIENT)
NOBODY_KNOWS = TransportResult(
    result=Result.AMBIGUOUS,
    stage=Stage.CONTENT,
    reply=None,
    verdicts={},
    note=mark("The worker had to stop while it was waiting for the server."),
)
_LONGEST = 1000  # characters of a text that is stored
# A message is not finished while a recipient is still to be tried, or waits for the administrator,
# even if another has failed for good.
_WORST_FIRST = (Status.DEFERRED, Status.HELD, Status.FAILED, Status.SENT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolver:
    """Says what is to be written down about messages that went to one server.

    ``server`` is its name and port for the log; ``hold`` the policy for an unknown outcome;
    ``diverted_to`` the mailbox that gets all mail instead of the recipients, or None; ``sender``
    the envelope sender of all that is routed now, None where it cannot be told.
    """

    server: str
    hold: bool
    diverted_to: str | None
    sender: str | None

    def trouble(
        self, claimed: Claimed, outcome: TransportResult | Exception | None
    ) -> TransportError | None:
        """What ``outcome`` says of the server; None where it concerns the message alone."""
        if isinstance(outcome, TransportError):
            return outcome if concerns_server(outcome) else None
        found = outcome.trouble if isinstance(outcome, TransportResult) else None
        if found is None or found.fault not in _OF_SENDER:
            return found
        # One that was routed under a former default From says nothing about the rest.
        return found if claimed.envelope.sender == self.sender else None

    def resolve(
        self,
        claimed: Claimed,
        outcome: TransportResult | Exception,
        *,
        started_at: datetime,
        finished_at: datetime,
        chance: float,
    ) -> AttemptResult:
        """What came of one attempt at ``claimed``; ``chance`` in [0, 1) lengthens a delay."""
        if isinstance(outcome, TransportError):
            outcome = connection_lost(outcome)
        if isinstance(outcome, Exception):
            return poisoned(claimed, outcome, finished_at)
        attempt = Attempt.of(
            outcome,
            started_at=started_at,
            finished_at=finished_at,
            server=self.server,
            diverted_to=self.diverted_to,
        )
        return result_of(claimed, outcome, attempt, hold=self.hold, now=finished_at, chance=chance)


def concerns_server(error: TransportError) -> bool:
    """Whether ``error`` says nothing about the message that was to be sent."""
    return error.stage not in _ABOUT_THE_MESSAGE


def connection_lost(error: TransportError) -> TransportResult:
    """The outcome where a connection ended before the final dot: nobody got the message."""
    return TransportResult(
        result=Result.TRANSIENT, stage=error.stage, reply=error.reply, verdicts={}, note=str(error)
    )


def result_of(
    claimed: Claimed,
    outcome: TransportResult,
    attempt: Attempt,
    *,
    hold: bool,
    now: datetime,
    chance: float,
) -> AttemptResult:
    """What ``outcome`` means for ``claimed``.

    ``hold`` is the policy for an unknown outcome; ``chance`` in [0, 1) lengthens the delay.
    """
    said: Said = {
        address: (
            _of_recipient(outcome, address, hold=hold),
            attempt.replies.get(address, attempt.reply),
        )
        for address in claimed.envelope.recipients
    }
    if outcome.left or claimed.later or claimed.goes_on:
        if rest := rest_of(claimed, outcome, said, attempt.finished_at):
            return so_far(claimed, outcome, said, attempt, rest)
        said = everybody(claimed, outcome, said, attempt)
    return _concluded(claimed, said, attempt, now=now, chance=chance)


def _concluded(
    claimed: Claimed, said: Said, attempt: Attempt, *, now: datetime, chance: float
) -> AttemptResult:
    """What came of an attempt with its last, and mostly only, transaction."""
    status = _worst({*(status for status, _ in said.values()), *claimed.before})
    reason, detail, due_at = _REASONS.get(status), _detail(status, said, claimed), now
    if status is Status.DEFERRED:
        again = next_attempt(
            attempts=claimed.attempts + 1, expires_at=claimed.expires_at, now=now, chance=chance
        )
        if again is None:
            status, reason = Status.FAILED, Reason.EXPIRED
            said = {address: (_ended(was), reply) for address, (was, reply) in said.items()}
        due_at = again or now
    if status is Status.SENT and claimed.digest is not None:
        status, reason, detail = Status.HELD, Reason.RATE, in_digest(claimed.digest)
    return AttemptResult(
        claimed=claimed,
        status=status,
        reason=reason,
        detail=detail,
        due_at=due_at,
        counted=True,
        recipients=said,
        attempt=attempt,
    )


def _detail(status: Status, said: Said, claimed: Claimed) -> str | None:
    """Why the message has this ``status``: what was said of its first recipient that has it."""
    if status is Status.SENT:
        return None
    replies = [reply for its_own, reply in said.values() if its_own is status]
    return ((replies[0] if replies else claimed.before[status]) or "")[:_LONGEST]


def _ended(status: Status) -> Status:
    return Status.FAILED if status is Status.DEFERRED else status


def poisoned(claimed: Claimed, error: Exception, now: datetime) -> AttemptResult:
    """A message whose sending raised ``error`` in our own code: it is held, the others go on."""
    text = mark(
        "This message cannot be sent as it is (%(error)s); the log has more.",
        error=type(error).__name__,
    )
    return AttemptResult(
        claimed=claimed,
        status=Status.HELD,
        reason=Reason.POISON,
        detail=str(text),
        due_at=now,
        counted=True,
        recipients={address: (Status.HELD, None) for _, address in claimed.places},
        attempt=None,
    )


def in_ascii(result: AttemptResult) -> AttemptResult:
    """``result`` in letters that every database can store."""
    attempt = result.attempt
    if attempt is not None:
        replies = {address: _ascii(reply) for address, reply in attempt.replies.items()}
        said = None if attempt.reply is None else _ascii(attempt.reply)
        attempt = replace(attempt, reply=said, replies=replies)
    return replace(
        result,
        detail=None if result.detail is None else _ascii(result.detail),
        recipients={
            address: (status, None if reply is None else _ascii(reply))
            for address, (status, reply) in result.recipients.items()
        },
        attempt=attempt,
    )


def _ascii(text: str) -> str:
    return text.encode("ascii", "backslashreplace").decode()[:_LONGEST]


def expired(claimed: Claimed, now: datetime) -> AttemptResult | None:
    """A result without an attempt where ``expires_at`` of ``claimed`` is over, else None."""
    if claimed.expires_at is None or claimed.expires_at > now:
        return None
    return AttemptResult(
        claimed=claimed,
        status=Status.FAILED,
        reason=Reason.EXPIRED,
        detail=str(mark("Its time was over before it could be sent.")),
        due_at=now,
        counted=False,
        recipients=dict.fromkeys(claimed.envelope.recipients, (Status.FAILED, None)),
        attempt=None,
    )


def given_up(result: AttemptResult) -> bool:
    """Whether a message had its last attempt; one that ended by its own ``expires_at`` had not."""
    tried = result.reason is Reason.EXPIRED and result.counted
    return tried and result.claimed.attempts + 1 >= LAST_ATTEMPT


def is_for_default_to(result: AttemptResult) -> bool:
    """Whether the default To may have to hear of it.

    A request that was sent may have come back before that was written down. What the mailbox has
    refused to which all mail is diverted says nothing about the recipients.
    """
    if given_up(result):
        return True
    attempt = result.attempt
    if attempt is None or attempt.diverted_to is not None or result.rest is not None:
        return False
    ended = result.status is Status.SENT or result.reason is Reason.REFUSED
    return ended and result.claimed.kind == Kind.REQUEST


_REASONS = {Status.FAILED: Reason.REFUSED, Status.HELD: Reason.AMBIGUOUS}


def _of_recipient(outcome: TransportResult, address: str, *, hold: bool) -> Status:
    reply = outcome.verdicts.get(address)
    if reply is not None and reply.permanent:
        return Status.DEFERRED if address in outcome.left else Status.FAILED
    if reply is not None and reply.transient:
        return Status.DEFERRED
    match outcome.result:
        case Result.ACCEPTED:
            return Status.SENT
        case Result.PERMANENT:
            return Status.FAILED
        case Result.AMBIGUOUS if hold:
            return Status.HELD
        case _:
            return Status.DEFERRED


def _worst(present: set[Status]) -> Status:
    return next((status for status in _WORST_FIRST if status in present), Status.SENT)
