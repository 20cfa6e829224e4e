"""The transport that sends by SMTP: one kept connection to the server of a relay."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Final

from ...errors import TransportError
from ...outcome import Fault, Result, Stage
from ...settings.relay import Relay
from ..base import Envelope, Stopped, TransportResult
from ..policy import ConnectPolicy
from ..tokens import Tokens
from .mail_transaction import RetryOnNewConnection, RetryReason, transact
from .session import Session
from .timeouts import Timeouts

_HOLDS: Final = 3600.0  # s after which a known limit is tested again


class ConnectionLimits:
    """What one server's connections are known to take; for all its transports and threads."""

    def __init__(self) -> None:
        self._max_messages = math.inf
        self._until = 0.0
        self._in_turn_until = 0.0

    @property
    def max_messages(self) -> float:
        """Messages after which a connection is renewed; infinite if no limit is known."""
        return self._max_messages if time.monotonic() < self._until else math.inf

    def note_limit(self, count: int) -> None:
        """A connection took ``count`` messages and no more, and a new one did: renew it earlier."""
        self._max_messages, self._until = count, time.monotonic() + _HOLDS

    @property
    def in_turn(self) -> bool:
        """Whether commands go out one by one, although the server offers PIPELINING."""
        return time.monotonic() < self._in_turn_until

    def note_tarpit(self) -> None:
        """The server has delayed a refusal: send commands in turn for an hour.

        The delays of pipelined commands would keep its end of the connection busy long after ours
        is closed, and servers count that connection, too.
        """
        self._in_turn_until = time.monotonic() + _HOLDS


class SmtpTransport:
    """Hands over messages one after the other; for one thread at a time (except ``abort``).

    ``mechanism`` is the one to log in by first, if the server offers it; ``limits`` is shared with
    the other transports to the same server. ``tokens`` has the access token, where one is wanted.
    """

    def __init__(
        self,
        relay: Relay,
        *,
        timeouts: Timeouts | None = None,
        policy: ConnectPolicy | None = None,
        mechanism: str | None = None,
        limits: ConnectionLimits | None = None,
        tokens: Tokens | None = None,
    ) -> None:
        self._relay = relay
        self._timeouts = timeouts or Timeouts()
        self._policy = policy or ConnectPolicy()
        self._mechanism = mechanism
        self._tokens = tokens
        self._limits = limits or ConnectionLimits()
        self._session: Session | None = None
        self._aborted = False

    def deliver(self, envelope: Envelope) -> TransportResult:
        """Try once to hand over ``envelope``; connects if there is no usable connection.

        Raises:
            TransportError: the server or the network failed before the final dot.
            Stopped: ``abort`` was called.
        """
        try:
            return self._attempt(envelope)
        except TransportError as error:
            if self._aborted:
                raise _stopped() from error
            raise
        except BaseException:
            if self._session is not None:
                self._session.close()  # the state of its mail transaction is unknown
            raise

    def farewell(self) -> None:
        """Say QUIT without waiting for the answer. Never raises."""
        if (session := self._session) is not None:
            session.send_quit()

    def close(self) -> None:
        """End the connection, with QUIT if it still works. Never raises."""
        session, self._session = self._session, None
        if session is not None:
            session.quit()

    def abort(self) -> None:
        """Break the connection from another thread: what waits for an answer ends at once.

        A message whose final dot is out then has an unknown outcome, any other was not sent.
        The transport cannot be used afterwards.
        """
        self._aborted = True
        if (session := self._session) is not None:
            session.abort()

    def _attempt(self, envelope: Envelope) -> TransportResult:
        limits, session = self._limits, self._session
        most = min(limits.max_messages, self._relay.max_messages_per_connection or math.inf)
        if session is None or session.served >= most or not session.usable():
            session = self._open()
        retried: dict[RetryReason, int] = {}
        while True:
            if limits.in_turn:
                session.disable_pipelining()
            if RetryReason.CONFUSED in retried:
                session.speak_plainly()
            try:
                outcome = transact(session, envelope, retried)
            except RetryOnNewConnection as retry:
                retried[retry.reason] = retry.sent
            else:
                self._learn(retried, outcome)
                return outcome
            finally:
                if session.tarpits:
                    limits.note_tarpit()
            session = self._open()

    def _learn(self, retried: Mapping[RetryReason, int], outcome: TransportResult) -> None:
        """A connection took no more after some messages, and the next connection took this one."""
        sent = retried.get(RetryReason.LIMIT)
        if sent and outcome.result is Result.ACCEPTED:
            self._limits.note_limit(sent)

    def _open(self) -> Session:
        before = self._session
        if before is not None:
            before.send_quit()
            before.close()
        if self._aborted:
            raise _stopped()
        self._session = session = Session(
            relay=self._relay,
            timeouts=self._timeouts,
            policy=self._policy,
            mechanism=self._mechanism,
            tokens=self._tokens,
        )
        session.open()
        return session


def _stopped() -> Stopped:
    return Stopped("Delivery was stopped.", stage=Stage.CONNECT, fault=Fault.LOST)
