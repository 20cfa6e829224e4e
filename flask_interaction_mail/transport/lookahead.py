"""Look-ahead: the envelope of the next message goes out together with the content of this one.

Content, final dot, MAIL, RCPT and DATA make one write (RFC 2920 §3.1), so that a message costs
one round trip instead of two. Nothing else depends on it: where this module is not used,
messages go one after the other, to the same verdicts.
"""

from __future__ import annotations

import logging

from .base import Envelope, Pull
from .dialogue import AT_ONCE, request, unable_to_carry
from .session import Session

log = logging.getLogger("flask_interaction_mail")


class LookAhead:
    """Messages in the order of ``pull``, and the envelope of each said as early as possible."""

    __slots__ = ("_pull", "_pulled")

    def __init__(self, pull: Pull) -> None:
        self._pull = pull
        self._pulled: Envelope | None = None

    def next(self) -> Envelope | None:
        """The message whose turn it is; None where nothing is waiting right now."""
        pulled, self._pulled = self._pulled, None
        return self._pull() if pulled is None else pulled

    def following(self, session: Session) -> bytes:
        """What to say after the final dot of this message: the envelope of the next one.

        Empty where nothing is waiting, or where the next one has to take its turn: its outcome
        is decided without a byte, or it has too many recipients for one write.
        """
        if not session.offered.pipelining:
            return b""
        try:
            envelope = self._pulled = self._pull()
            if envelope is None or not _fits(session, envelope):
                return b""
            ahead = request(session, envelope)
        except Exception:
            # The fault is the next message's: it shows again in its own turn.
            log.debug("lookahead.failed", exc_info=True)
            return b""
        session.asked = envelope
        return ahead


def _fits(session: Session, envelope: Envelope) -> bool:
    if len(envelope.recipients) > AT_ONCE:
        return False
    return unable_to_carry(envelope, session.offered) is None
