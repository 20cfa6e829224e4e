"""The transport that really sends: one kept connection to the server of a relay."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ...errors import TransportError
from ...outcome import Fault, Result, Stage
from ..base import Envelope, Stopped, TransportResult
from ..policy import ConnectPolicy
from ..relay import Relay
from .asking import AskAgain, Why
from .endurance import Endurance
from .mail_transaction import converse
from .session import Session
from .timeouts import Timeouts


class SmtpTransport:
    """Hands over messages one after the other; for one thread at a time (except ``abort``).

    ``mechanism`` is the one to log in by first, where the server offers it; ``endurance`` is
    shared with the other transports to the same server.
    """

    def __init__(
        self,
        relay: Relay,
        *,
        timeouts: Timeouts | None = None,
        policy: ConnectPolicy | None = None,
        mechanism: str | None = None,
        endurance: Endurance | None = None,
    ) -> None:
        self._relay = relay
        self._timeouts = timeouts or Timeouts()
        self._policy = policy or ConnectPolicy()
        self._mechanism = mechanism
        self._endurance = endurance or Endurance()
        self._session: Session | None = None
        self._aborted = False

    def deliver(self, envelope: Envelope) -> TransportResult:
        """Try once to hand over ``envelope``; the connection is opened when needed and kept.

        Raises:
            TransportError: the server or the way to it failed before the final dot.
            Stopped: so did ``abort``.
        """
        try:
            return self._attempt(envelope)
        except TransportError as error:
            if self._aborted:
                raise _stopped() from error
            raise
        except BaseException:
            if self._session is not None:
                self._session.close()  # nobody knows where in the dialogue it was left
            raise

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

    def _attempt(self, envelope: Envelope) -> TransportResult:
        session = self._session
        if session is None or session.served >= self._endurance.most or not session.usable():
            session = self._opened()
        asked: dict[Why, int] = {}
        while True:
            if self._endurance.in_turn or Why.TOGETHER in asked:
                session.speak_in_turn()
            try:
                delivery = self._conversed(session, envelope, asked)
            except AskAgain as again:
                asked[again.why] = again.carried
                session = self._opened()
            else:
                self._learn(asked, delivery)
                return delivery

    def _conversed(
        self, session: Session, envelope: Envelope, asked: Collection[Why]
    ) -> TransportResult:
        try:
            return converse(session, envelope, asked)
        finally:
            if session.held_back:
                self._endurance.held_back()

    def _learn(self, asked: Mapping[Why, int], delivery: TransportResult) -> None:
        """A connection that had carried some took no more, and the next one took this."""
        carried = asked.get(Why.LIMIT)
        if carried and delivery.result is Result.ACCEPTED:
            self._endurance.learn(carried)

    def _opened(self) -> Session:
        before = self._session
        if before is not None:
            before.farewell()
            before.close()
        if self._aborted:
            raise _stopped()
        self._session = session = Session(
            relay=self._relay,
            timeouts=self._timeouts,
            policy=self._policy,
            mechanism=self._mechanism,
        )
        session.open()
        return session


def _stopped() -> Stopped:
    return Stopped("Delivery was stopped.", stage=Stage.CONNECT, fault=Fault.LOST)
