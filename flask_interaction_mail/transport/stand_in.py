"""Takes messages as a server would that offers everything, for what stands in for one."""

from __future__ import annotations

import email
from collections.abc import Iterable, Mapping
from email.message import EmailMessage
from email.policy import default

from ..outcome import Reply, Stage
from .base import Envelope, TransportResult

OK = Reply(250, "2.0.0", "taken")


class StandIn:
    """The part of a ``Transport`` that has nothing to do where there is no connection."""

    def farewell(self) -> None:
        """Nobody answers here."""

    def close(self) -> None:
        """Nothing is open."""

    def abort(self) -> None:
        """Nothing waits here."""


def parsed(envelopes: Iterable[Envelope]) -> list[EmailMessage]:
    """The messages in ``envelopes``, in order."""
    contents = (envelope.content for envelope in envelopes)
    return [email.message_from_bytes(content, policy=default) for content in contents]


def taken(
    envelope: Envelope, *, said: Reply = OK, refused: Mapping[str, Reply] | None = None
) -> TransportResult:
    """What comes of ``envelope``: all get the reply ``said`` but those who are ``refused``."""
    # Late: a process that sends nothing has no use for it.
    from .smtp.conclusions import Answers, concluded, decided, unable_to_carry
    from .smtp.replies import Capabilities

    if unable := unable_to_carry(envelope, Capabilities(smtputf8=True, eight_bit=True)):
        return unable
    answers = Answers(mail=said)
    for address in envelope.recipients:
        answers.add(address, (refused or {}).get(address, said))
    if not answers.accepted:
        return decided(Stage.RECIPIENT, answers.refused)
    return concluded(answers, said)
