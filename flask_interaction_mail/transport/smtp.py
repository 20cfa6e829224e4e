"""The transport that really sends: one kept connection to the server of the settings."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

from ..errors import TransportError
from ..outcome import Delivery, Fault, Stage
from ..settings import MessagingSettings
from .base import Envelope, Outcome, Pull, Stopped
from .dialogue import Following, Stale, converse, nothing
from .lookahead import LookAhead
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

    def deliver_all(self, pull: Pull) -> Generator[Outcome]:
        """Hand over what ``pull`` gives until it gives None, as the protocol says.

        Where the server knows PIPELINING the next message is pulled just before the content of
        this one goes out.
        """
        ahead = LookAhead(pull)
        self._look()
        outcome: Outcome
        try:
            while (envelope := ahead.next()) is not None:
                try:
                    outcome = self._deliver(envelope, ahead.following)
                except TransportError as error:
                    outcome = error
                yield outcome
        finally:
            if self._session is not None and self._session.asked is not None:
                self._session.close()  # an envelope is out that nobody will follow up

    def deliver(self, envelope: Envelope) -> Delivery:
        """Try once to hand over ``envelope``; the connection is opened when needed and kept.

        Raises:
            TransportError: the server or the way to it failed before the final dot.
            Stopped: so did ``abort``.
        """
        self._look()
        return self._deliver(envelope, nothing)

    def farewell(self) -> None:
        """Say goodbye without waiting for the answer. Never raises."""
        if (session := self._session) is not None:
            session.farewell()

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

    def _look(self) -> None:
        # Only before the first message: an end within a flow shows at the next command.
        if (session := self._session) is not None and not session.usable():
            session.close()

    def _deliver(self, envelope: Envelope, following: Following) -> Delivery:
        try:
            return self._attempt(envelope, following)
        except TransportError as error:
            if self._aborted:
                raise _stopped() from error
            raise
        except BaseException:
            if self._session is not None:
                self._session.close()  # nobody knows where in the dialogue it was left
            raise

    def _attempt(self, envelope: Envelope, following: Following) -> Delivery:
        session = self._session
        if session is None or not session.ready_for(envelope):
            session = self._opened()
        try:
            return converse(session, envelope, following)
        except Stale:
            try:
                return converse(self._opened(), envelope, following)
            except Stale:
                # Refused among commands sent together once more: now they go one by one.
                return converse(self._opened(), envelope, following)

    def _opened(self) -> Session:
        before = self._session
        if before is not None:
            before.close()
        if self._aborted:
            raise _stopped()
        self._session = session = Session(
            settings=self._settings, timeouts=self._timeouts, policy=self._policy
        )
        session.open()
        if before is not None and before.doubtful:
            session.offered = replace(session.offered, pipelining=False)
        return session


def _stopped() -> Stopped:
    return Stopped("Delivery was stopped.", stage=Stage.CONNECT, fault=Fault.LOST)
