"""From the answers to one message to its outcome. Pure; the same however the answers were got."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from ..outcome import Delivery, Fault, Reply, Result, Stage, result_of
from .base import Envelope
from .faults import fault_of

_UNKNOWN_OUTCOME: Final = (
    "The whole message was handed over, then the connection ended or stayed silent. "
    "Whether the server took it is unknown."
)


@dataclass(slots=True)
class Answers:
    """What the server said to an envelope; None for what was not asked."""

    mail: Reply | None = None
    rcpt: dict[str, Reply] = field(default_factory=dict)
    refused: dict[str, Reply] = field(default_factory=dict)  # of these
    data: Reply | None = None

    def about(self, recipient: str, reply: Reply) -> None:
        """``reply`` was the answer to RCPT for ``recipient``."""
        self.rcpt[recipient] = reply
        if not reply.positive:
            self.refused[recipient] = reply

    @property
    def accepted(self) -> bool:
        """Whether there is anybody to send the content to."""
        return len(self.rcpt) > len(self.refused)


def concluded(answers: Answers, final: Reply) -> Delivery:
    """What ``final``, the answer to the dot or to DATA, makes of the ``answers`` before."""
    verdicts = dict.fromkeys(answers.rcpt, final)
    verdicts.update(answers.refused)
    # Somebody was accepted, or there would be no content: with it, its answer decides.
    result, fault = Result.ACCEPTED, None
    if not final.positive:
        result, fault = result_of(verdicts.values()), fault_of(Stage.CONTENT, final)
    return Delivery(result=result, stage=Stage.CONTENT, reply=final, verdicts=verdicts, fault=fault)


def decided(stage: Stage, verdicts: dict[str, Reply]) -> Delivery:
    """A message that nobody got, because of ``verdicts`` that are all refusals."""
    result = result_of(verdicts.values())
    reply = next(
        (one for one in verdicts.values() if one.transient or result is Result.PERMANENT), None
    )
    fault = fault_of(stage, reply) if reply else None
    return Delivery(result=result, stage=stage, reply=reply, verdicts=verdicts, fault=fault)


def settled(envelope: Envelope, answers: Answers) -> Delivery | None:
    """The verdict, if sender or every recipient was refused; whatever came afterwards."""
    if answers.mail is not None and not answers.mail.positive:
        return decided(Stage.SENDER, dict.fromkeys(envelope.recipients, answers.mail))
    if not answers.accepted and len(answers.rcpt) == len(set(envelope.recipients)):
        return decided(Stage.RECIPIENT, answers.rcpt)
    return None


def turned_away(envelope: Envelope, answers: Answers, stage: Stage, reply: Reply) -> Delivery:
    """The server took its leave with ``reply`` at ``stage``, before it had the content."""
    verdicts = dict.fromkeys(envelope.recipients, reply) | answers.refused
    return Delivery(
        result=result_of(verdicts.values()),
        stage=stage,
        reply=reply,
        verdicts=verdicts,
        fault=fault_of(stage, reply),
    )


def unknown(answers: Answers) -> Delivery:
    """The final dot is out and the answer to it never came (RFC 1047)."""
    return Delivery(
        result=Result.AMBIGUOUS,
        stage=Stage.CONTENT,
        reply=None,
        verdicts=answers.refused,
        note=_UNKNOWN_OUTCOME,
        fault=Fault.UNKNOWN_OUTCOME,
    )
