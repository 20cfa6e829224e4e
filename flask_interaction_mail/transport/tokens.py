"""The seam between the wire and whoever has access tokens."""

from __future__ import annotations

from typing import Protocol

from ..settings.relay import Relay
from .base import AccessToken
from .smtp.timeouts import Until


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
