"""Which transport hands mail to a relay: the relay's kind decides."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from ..settings.relay import OWN, SES, SMTP, Relay
from .base import StandIn, Transport
from .policy import ConnectPolicy
from .smtp.look import look
from .smtp.transport import ConnectionLimits, SmtpTransport
from .tokens import Tokens


class Transports:
    """Opens transports to relays of every kind; for any number of threads.

    ``stand_in`` is what stands in for all of them, where the host has chosen that; a function opens
    it for each connection. ``tokens`` has
    the access tokens for relays that want one.
    """

    def __init__(
        self,
        policy: ConnectPolicy | None = None,
        stand_in: StandIn = None,
        tokens: Tokens | None = None,
    ) -> None:
        self.policy: ConnectPolicy = policy or ConnectPolicy()
        self.tokens = tokens
        self._stand_in = stand_in
        self._limits: defaultdict[tuple[str | None, int], ConnectionLimits] = defaultdict(
            ConnectionLimits
        )

    def open(self, relay: Relay, *, mechanism: str | None = None) -> Transport:
        """A transport to ``relay``, which connects at its first message.

        ``mechanism`` is the one that its last test has logged in by, if that is known.
        """
        return _OPENED[relay.kind](self, relay, mechanism)

    def look(self, relay: Relay, *, mechanism: str | None = None) -> datetime | None:
        """Try ``relay`` without mail; gives when its certificate ends, naive UTC, None for none.

        What stands in for a server is not asked.

        Raises:
            TransportError: the server does not work, or the way to it.
        """
        if relay.stands_in:
            return None
        if relay.kind == SES:
            from .ses import transport as ses  # late: brings HTTP, and few send that way

            return ses.look(relay, policy=self.policy)
        return look(relay, policy=self.policy, mechanism=mechanism, tokens=self.tokens)

    def _smtp(self, relay: Relay, mechanism: str | None) -> Transport:
        return SmtpTransport(
            relay,
            policy=self.policy,
            mechanism=mechanism,
            limits=self._limits[relay.server, relay.port],
            tokens=self.tokens,
        )

    def _ses(self, relay: Relay, mechanism: str | None) -> Transport:  # noqa: ARG002
        from .ses.transport import SesTransport  # late, as above

        return SesTransport(relay, self.policy)

    def _standing_in(self, relay: Relay, mechanism: str | None) -> Transport:  # noqa: ARG002
        assert self._stand_in is not None  # noqa: S101 - made with the application that chose it
        return self._stand_in() if callable(self._stand_in) else self._stand_in


_OPENED: Final[Mapping[str, Callable[[Transports, Relay, str | None], Transport]]] = {
    SMTP: Transports._smtp,
    SES: Transports._ses,
    **dict.fromkeys((OWN, "memory", "console", "files"), Transports._standing_in),
}
