"""Takes messages as a server would that offers everything, for what stands in for one."""

from __future__ import annotations

from collections.abc import Mapping

from ..outcome import Reply, Stage
from .base import Envelope, TransportResult

OK = Reply(250, "2.0.0", "taken")


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
