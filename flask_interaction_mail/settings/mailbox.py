"""The mailbox in which returned mail arrives, and how to log in there."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from .relay import Encryption, Relay
from .secret import Secret


class ReturnsSignIn(enum.StrEnum):
    """How to log in at the mailbox."""

    PASSWORD = "password"  # noqa: S105 - a word of the settings
    RELAY = "relay"  # with the access token of the relay "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mailbox:
    """A folder of an IMAP server: all that is needed to read it, and nothing else.

    ``secret`` belongs to ``login``. With ``relay`` it is logged in to with the access token of
    that relay instead, for the mailbox ``login``. What was noted is moved to ``moved_to``; None
    leaves it where it is. ``allow_unencrypted_auth`` lets the secret go in clear text.
    """

    server: str
    port: int
    encryption: Encryption
    ca_certificate: str | None = None
    login: str | None = None
    secret: Secret | None = None
    relay: Relay | None = None
    folder: str = "INBOX"
    moved_to: str | None = None
    allow_unencrypted_auth: bool = False

    def __str__(self) -> str:
        return f"{self.server}:{self.port}"
