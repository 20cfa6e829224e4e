"""The seam between the wire and whoever has access tokens."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple, Protocol

from ..settings.relay import Relay
from ..settings.secret import Secret
from .smtp.timeouts import Until


class AccessToken(NamedTuple):
    """What a mail server takes instead of a password, for a while (RFC 6749 §1.4).

    ``ends`` is when, naive UTC; None if that was not said. ``scope`` is what it is good for, if
    that was said.
    """

    secret: Secret
    ends: datetime | None = None
    scope: str | None = None


class Tokens(Protocol):
    """Where access tokens come from; for any number of threads."""

    def take(self, relay: Relay, until: Until) -> AccessToken:
        """The token for ``relay``, kept or asked for.

        Raises:
            TransportError: there is none, with ``Stage.TOKEN``.
        """
        ...

    def drop(self, relay: Relay, token: AccessToken) -> None:
        """The server of ``relay`` has refused ``token``: give it to nobody again."""
        ...
