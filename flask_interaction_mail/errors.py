"""What can go wrong, as one tree.

    InteractionMailError
    ├── MessagingNotConfigured      no server or no default From is in force
    ├── TablesMissing               the extension's tables are not in the host's database
    ├── SessionOver                 the transaction of session= has failed or is over
    ├── AddressError (ValueError)   not a valid address, or a short one without a company domain
    ├── HeaderError (ValueError)    a header name or value that may not be sent
    ├── ContentError (ValueError)   a text, attachment or date that may not be sent
    │   └── ArgumentError (TypeError)  an argument of a wrong type
    ├── NoRecipient                 nobody to send to, and no default To
    ├── TemplateMissing             no template of that name, or one that cannot be rendered
    ├── SettingsError (ValueError)  settings that break a rule; ``errors`` maps field to text
    ├── SettingsConflict            somebody else saved in between
    ├── StillWaiting                a message that is to be sent again has not ended yet
    ├── SentAgain                   it was sent again before, and who asks does not know
    ├── UnreadableReport            what came back is no message that can be read
    ├── SecretUnreadable            the stored password cannot be decrypted with the keys at hand
    └── TransportError              the server, or the way to it, failed

A message says what happened and what to do about it. None contains a password. As text each is
English, which is what is logged and stored; ``language.translated`` tells it to a reader.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping

from .outcome import Fault, Reply, Stage


class InteractionMailError(Exception):
    """Root of every error that this package raises on purpose."""


class MessagingNotConfigured(InteractionMailError):
    """E-mail was asked for before a server and a default From are in force (R4)."""


class TablesMissing(InteractionMailError):
    """The extension's tables are missing from the host's database."""


class SessionOver(InteractionMailError):
    """The transaction of an explicit ``session=`` has failed or is over; roll it back first."""


class AddressError(InteractionMailError, ValueError):
    """An address that cannot be used; the message quotes it."""


class HeaderError(InteractionMailError, ValueError):
    """A header name or value that cannot be sent; the message names the header."""


class ContentError(InteractionMailError, ValueError):
    """A body, attachment, date or size that cannot be sent; the message names the argument."""


class ArgumentError(ContentError, TypeError):
    """An argument of a wrong type; the message names it, what it takes and what it got."""


class NoRecipient(InteractionMailError):
    """No recipient has an address and there is no default To (R35)."""


class TemplateMissing(InteractionMailError):
    """A message template does not exist or cannot be rendered; the message names it."""


class SettingsError(InteractionMailError, ValueError):
    """Settings that break a rule.

    ``errors`` maps the name of each wrong field to what is wrong with it and what is right.
    """

    def __init__(self, errors: Mapping[str, str]) -> None:
        self.errors: dict[str, str] = dict(errors)
        super().__init__("; ".join(f"{field}: {text}" for field, text in self.errors.items()))


class SettingsConflict(InteractionMailError):
    """Somebody else saved other settings since these were read; nothing was overwritten."""


class StillWaiting(InteractionMailError):
    """A message that is to be sent again still waits, so that both could leave."""


class SentAgain(InteractionMailError):
    """A message was sent again before; ``newest`` is the id of the latest that was made of it."""

    def __init__(self, text: str, *, newest: uuid.UUID) -> None:
        super().__init__(text)
        self.newest = newest


class UnreadableReport(InteractionMailError):
    """What came back is no message that can be read, or too hard to read."""


class SecretUnreadable(InteractionMailError):
    """The stored password cannot be decrypted with the keys that are configured."""


class TransportError(InteractionMailError):
    """The server, or the way to it, failed before a message was the subject.

    ``stage`` is where, ``reply`` what the server said (if it spoke), ``transient`` whether
    trying again can help, ``fault`` what it was in one word. ``retry_after`` is how many seconds
    it asked to be left alone, if it did. No recipient of any message has got a verdict.
    """

    def __init__(
        self,
        text: str,
        *,
        stage: Stage,
        reply: Reply | None = None,
        transient: bool = True,
        fault: Fault | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(text)
        self.stage = stage
        self.reply = reply
        self.transient = transient
        self.fault = fault
        self.retry_after = retry_after
