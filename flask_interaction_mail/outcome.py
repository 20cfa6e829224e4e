"""What a conversation with a server came to: replies, stages, and a verdict per recipient."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass


class Stage(enum.StrEnum):
    """The steps of a conversation, in order (RFC 5321 §4.1.4)."""

    RESOLVE = "resolve"
    CONNECT = "connect"
    GREETING = "greeting"
    ENCRYPTION = "encryption"
    AUTHENTICATION = "authentication"
    SENDER = "sender"
    RECIPIENT = "recipient"
    CONTENT = "content"


@dataclass(frozen=True, slots=True)
class Reply:
    """A server's reply: code (RFC 5321 §4.2), enhanced code (RFC 3463) or None, text.

    ``text`` is already safe to store and to show: control characters are escaped, and it is
    cut at 1,000 characters.
    """

    code: int
    enhanced: str | None
    text: str

    @property
    def positive(self) -> bool:
        return 200 <= self.code < 400

    @property
    def transient(self) -> bool:
        return 400 <= self.code < 500

    @property
    def permanent(self) -> bool:
        return 500 <= self.code < 600

    def __str__(self) -> str:
        return " ".join(filter(None, (str(self.code), self.enhanced, self.text)))


class Result(enum.StrEnum):
    """What one attempt came to, for the message as a whole."""

    ACCEPTED = "accepted"  # the server took it for at least one recipient
    TRANSIENT = "transient"  # nobody got it; trying again can help
    PERMANENT = "permanent"  # nobody got it; trying again cannot help
    AMBIGUOUS = "ambiguous"  # the link died after the final dot: taken or not, nobody knows (RFC 1047)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """The outcome of one attempt at one message.

    ``verdicts`` maps each envelope recipient to the server's last word on it: its reply to
    RCPT where that refused, else the reply to MAIL or to the content. ``reply`` is the reply that decided the
    message, None where the server was silent; ``note`` says in English what happened then.
    """

    result: Result
    stage: Stage
    reply: Reply | None
    verdicts: Mapping[str, Reply]
    note: str | None = None
