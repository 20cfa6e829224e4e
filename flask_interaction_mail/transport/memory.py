"""A transport that sends nothing: for the tests of applications that use this package."""

from __future__ import annotations

from ..errors import TransportError
from ..outcome import Reply, Stage
from .base import Delivery, Envelope
from .smtp.conclusions import Answers, concluded, decided
from .smtp.mail_transaction import unable_to_carry
from .smtp.replies import Capabilities

OK = Reply(250, "2.0.0", "taken")


class MemoryTransport:
    """Collects envelopes in ``delivered``; verdicts can be set beforehand.

    ``refuse`` gives one recipient a reply; ``answer_with`` decides about the next messages as a
    whole, in order, where None stands for the ordinary answer.
    """

    def __init__(self) -> None:
        self.delivered: list[Envelope] = []
        self.tried: list[Envelope] = []
        self.closed = 0
        self._refused: dict[str, Reply] = {}
        self._answers: list[Delivery | TransportError | None] = []

    def refuse(self, recipient: str, reply: Reply) -> None:
        """From now on ``recipient`` gets ``reply`` at RCPT."""
        self._refused[recipient] = reply

    def answer_with(self, *answers: Delivery | TransportError | None) -> None:
        """The answers to the next messages, in order."""
        self._answers.extend(answers)

    def deliver(self, envelope: Envelope) -> Delivery:
        """Take ``envelope``, or answer as was set.

        Raises:
            TransportError: where one was set as the answer.
        """
        self.tried.append(envelope)
        answer = self._answers.pop(0) if self._answers else None
        if isinstance(answer, TransportError):
            raise answer
        return answer or self._ordinary(envelope)

    def farewell(self) -> None:
        """Nobody answers here."""

    def close(self) -> None:
        """Count the farewell."""
        self.closed += 1

    def abort(self) -> None:
        """Nothing waits here."""

    def _ordinary(self, envelope: Envelope) -> Delivery:
        offered = Capabilities(smtputf8=True, eight_bit=True)
        if unable := unable_to_carry(envelope, offered):
            return unable
        answers = Answers(mail=OK)
        for address in envelope.recipients:
            answers.about(address, self._refused.get(address, OK))
        if not answers.accepted:
            return decided(Stage.RECIPIENT, answers.refused)
        self.delivered.append(envelope)
        return concluded(answers, OK)
