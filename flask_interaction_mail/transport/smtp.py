"""The transport that really sends: one kept connection to the server of the settings."""

from __future__ import annotations

from ..errors import TransportError
from ..outcome import Delivery, Fault, Stage
from ..settings import MessagingSettings
from .base import Envelope
from .dialogue import Stale, converse
from .policy import ConnectPolicy
from .session import Session
from .timeouts import Timeouts


class SmtpTransport:
    """Hands over messages one after the other; for one thread at a time (except ``abort``)."""

    def __init__(
        self,
        settings: MessagingSettings,
        *,
        timeouts: Timeouts | None = None,
        policy: ConnectPolicy | None = None,
    ) -> None:
        self._settings = settings
        self._timeouts = timeouts or Timeouts()
        self._policy = policy or ConnectPolicy()
        self._session: Session | None = None
        self._aborted = False

    def deliver(self, envelope: Envelope) -> Delivery:
        """Try once to hand over ``envelope``; the connection is opened when needed and kept.

        Raises:
            TransportError: the server or the way to it failed before the final dot.
        """
        try:
            return converse(self._ready(), envelope)
        except Stale:
            return converse(self._opened(), envelope)

    def close(self) -> None:
        """End the connection, politely if it still lives. Never raises."""
        session, self._session = self._session, None
        if session is not None:
            session.quit()

    def abort(self) -> None:
        """Break the connection from another thread: what waits for an answer ends at once.

        A message whose final dot is out then has an unknown outcome, any other was not sent.
        The transport is of no use afterwards.
        """
        self._aborted = True
        if (session := self._session) is not None:
            session.abort()

    def _ready(self) -> Session:
        session = self._session
        if session is not None and session.usable():
            return session
        return self._opened()

    def _opened(self) -> Session:
        if self._session is not None:
            self._session.close()
        if self._aborted:
            raise _aborted()
        self._session = Session(
            settings=self._settings, timeouts=self._timeouts, policy=self._policy
        )
        self._session.open()
        return self._session


def _aborted() -> TransportError:
    return TransportError("Delivery was stopped.", stage=Stage.CONNECT, fault=Fault.LOST)
