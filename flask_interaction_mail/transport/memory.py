"""A transport that sends nothing: for the tests of applications that use this package."""

from __future__ import annotations

import threading
from email.message import EmailMessage

from ..errors import TransportError
from ..outcome import Reply, Result
from .base import Envelope, TransportResult
from .stand_in import StandIn, parsed, taken

REFUSAL = "550 5.1.1 No such mailbox"


class MemoryTransport(StandIn):
    """Keeps what it is given, and answers as a server would; for any number of threads.

    ``delivered`` are the envelopes that it took, ``tried`` all of them. ``refuse`` gives one
    recipient a reply; ``answer_with`` decides about the next messages as a whole, in order, where
    None stands for the ordinary answer.
    """

    def __init__(self) -> None:
        self.delivered: list[Envelope] = []
        self.tried: list[Envelope] = []
        self.closed: int = 0
        self._lock = threading.Lock()
        self._refused: dict[str, Reply] = {}
        self._answers: list[TransportResult | TransportError | None] = []

    @property
    def messages(self) -> list[EmailMessage]:
        """What it took, parsed, in order. Bcc stands in the envelope alone."""
        return parsed(self.delivered)

    def clear(self) -> None:
        """Forget what was delivered, and answer as usual from now on."""
        with self._lock:
            for kept in (self.delivered, self.tried, self._refused, self._answers):
                kept.clear()

    def refuse(self, recipient: str, reply: Reply | str = REFUSAL) -> None:
        """From now on ``recipient`` gets ``reply``, such as ``"450 4.2.1 Try again later"``.

        Raises:
            ValueError: the text is not a line of an SMTP reply.
        """
        # Late: a process that sends nothing has no use for it.
        from .smtp.replies import one_line

        said = one_line(reply.encode()) if isinstance(reply, str) else reply
        if said is None:
            raise ValueError(f"not an SMTP reply: {reply!r}")
        self._refused[recipient] = said

    def answer_with(self, *answers: TransportResult | TransportError | None) -> None:
        """The answers to the next messages, in order."""
        self._answers.extend(answers)

    def deliver(self, envelope: Envelope) -> TransportResult:
        """Take ``envelope``, or answer as was set.

        Raises:
            TransportError: where one was set as the answer.
        """
        with self._lock:
            self.tried.append(envelope)
            answer = self._answers.pop(0) if self._answers else None
            if isinstance(answer, TransportError):
                raise answer
            return answer or self._ordinary(envelope)

    def close(self) -> None:
        """Count the farewell."""
        self.closed += 1

    def _ordinary(self, envelope: Envelope) -> TransportResult:
        result = taken(envelope, refused=self._refused)
        if result.result is Result.ACCEPTED:
            self.delivered.append(envelope)
        return result
