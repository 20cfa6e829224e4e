"""The transport that hands mail to Amazon SES: a request for each message, the envelope in it."""

from __future__ import annotations

import base64
import json
import random
import threading
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from ...errors import TransportError
from ...language import mark
from ...outcome import Fault, Reply, Result, Stage, result_of
from ...settings.relay import Relay
from ..base import Envelope, Stopped, TransportResult
from ..http import Connection
from ..policy import ConnectPolicy
from ..smtp.conclusions import nobody_in_reach, out_of_reach, unable_to_carry
from ..smtp.replies import Capabilities
from ..smtp.timeouts import FOREVER, Until
from ..smtp.tls import facts
from . import answers
from .answers import Account, Refusal
from .client import Broken, Client

SEND: Final = "/v2/email/outbound-emails"
ACCOUNT: Final = "/v2/email/account"
# https://docs.aws.amazon.com/ses/latest/dg/quotas.html: 40 MB as it is sent, 50 recipients; the
# part of an address before the @ is ASCII.
OFFERED: Final = Capabilities(size=40_000_000, eight_bit=True)
RECIPIENTS: Final = 50
_ANSWER: Final = 120.0  # s for a request and its answer
_BYTES: Final = 50_000  # a second that a line carries at least; SES slows messages of 10 MB down
_WITHIN: Final = 60.0  # s for a look
_PAUSES: Final = (1.0, 2.0, 4.0)  # s to wait where more was sent in a second than may be
_PATIENCE: Final = 10.0  # s of Retry-After that are waited for in place
_SAID_NOTHING: Final = mark(
    "Amazon SES has got the whole request, and no answer of it came. Whether it took the message "
    "is unknown."
)


class SesTransport:
    """Hands over messages one after the other; for one thread at a time (except ``abort``).

    All of it ends at ``until``.
    """

    def __init__(
        self, relay: Relay, policy: ConnectPolicy | None = None, *, until: Until = FOREVER
    ) -> None:
        self._client = Client(relay, policy or ConnectPolicy())
        self._until = until
        self._aborted = threading.Event()

    def deliver(self, envelope: Envelope) -> TransportResult:
        """Try once to hand over ``envelope``; connects if there is no usable connection.

        Raises:
            TransportError: account, service or network failed, and nobody got the message.
            Stopped: so did ``abort``.
        """
        if unable := unable_to_carry(envelope, OFFERED):
            return unable
        beyond = out_of_reach(envelope, OFFERED)
        within = tuple(address for address in envelope.recipients if address not in beyond)
        if not within:
            return nobody_in_reach(beyond)
        first, left = within[:RECIPIENTS], within[RECIPIENTS:]
        result = self._sent(envelope.to(first))
        result.verdicts = {**result.verdicts, **beyond}
        if left:
            result.left, result.room = left, RECIPIENTS
        return result

    def account(self, until: Until) -> Account | Refusal:
        """What the account may do, or why that is not told.

        Raises:
            TransportError: the key is not accepted, or the service cannot be reached.
        """
        told = self._asked("GET", ACCOUNT, None, until)
        if isinstance(told, Refusal):
            trouble = told.trouble()
            if trouble is not None and trouble.fault is not Fault.SES_FORBIDDEN:
                raise trouble
            return told  # the signature was accepted, and that is what counts
        return answers.account(told or {})

    def open(self, until: Until) -> Connection:
        """The connection, made if that has not been done.

        Raises:
            TransportError: the service cannot be reached.
        """
        return self._client.open(until)

    def farewell(self) -> None:
        """Nothing is said at the end."""

    def close(self) -> None:
        """End the connection. Never raises."""
        self._client.close()

    def abort(self) -> None:
        """Break the connection from another thread: what waits for an answer ends at once.

        A message whose request has left then has an unknown outcome, any other was not sent.
        """
        self._aborted.set()
        self._client.close()

    def _sent(self, envelope: Envelope) -> TransportResult:
        """The outcome for all recipients of ``envelope``, who fit into one request.

        A sandbox refuses a message because of a recipient who is not verified: the others get it
        by another request.
        """
        refused: dict[str, Reply] = {}
        while True:
            told = self._tried(envelope)
            if not isinstance(told, Refusal):
                break
            named = told.failed(envelope.recipients) if told.not_verified else ()
            if not named or told.failed((envelope.sender,)):
                return self._refused(envelope, told, refused)
            refused |= dict.fromkeys(named, told.reply())
            rest = tuple(one for one in envelope.recipients if one not in refused)
            if not rest:
                return _ended(Stage.RECIPIENT, told.reply(), refused)
            envelope = envelope.to(rest)
        if told is None or (id := answers.message_id(told)) is None:
            return _unknown(refused)
        reply = Reply(250, None, f"Amazon SES has taken it: {id}")
        verdicts = dict.fromkeys(envelope.recipients, reply) | refused
        return TransportResult(
            result=Result.ACCEPTED,
            stage=Stage.CONTENT,
            reply=reply,
            verdicts=verdicts,
            provider_id=id,
        )

    def _tried(self, envelope: Envelope) -> dict[str, Any] | Refusal | None:
        """What came of the request; None if nobody knows.

        Raises:
            TransportError: account, service or network failed, and nobody got the message.
        """
        body, seconds = _body(envelope), _ANSWER + envelope.size / _BYTES
        for pause in (*_PAUSES, None):
            try:
                told = self._asked("POST", SEND, body, self._until.step(seconds))
            except Broken as error:
                if error.asked:
                    return None
                raise
            if not isinstance(told, Refusal) or not told.busy or pause is None:
                break
            pause = told.retry_after or pause * random.uniform(1, 1.5)  # noqa: S311 - jitter
            if pause > min(_PATIENCE, self._until.left):
                break
            if self._aborted.wait(pause):
                raise _stopped()
        if isinstance(told, Refusal):
            if told.unknown:
                return None
            trouble = told.trouble()
            short = told.busy and (told.retry_after or 0) <= _PATIENCE
            if trouble is not None and not short:
                raise trouble
        return told

    def _asked(
        self, method: str, target: str, body: bytes | None, until: Until
    ) -> dict[str, Any] | Refusal | None:
        if self._aborted.is_set():
            raise _stopped()
        try:
            answer = self._client.ask(method, target, body, until)
        except TransportError as error:
            left = isinstance(error, Broken) and error.asked
            if self._aborted.is_set() and not left:
                raise _stopped() from error
            raise
        return answers.read(answer.status, answer.headers, answer.body)

    def _refused(
        self, envelope: Envelope, told: Refusal, refused: Mapping[str, Reply]
    ) -> TransportResult:
        """Nobody got it: SES refused the message itself, or who sends it."""
        reply = told.reply()
        verdicts = {**dict.fromkeys(envelope.recipients, reply), **refused}
        if not told.not_verified:
            return _ended(Stage.CONTENT, reply, verdicts)
        result = _ended(Stage.SENDER, reply, verdicts)
        result.fault = Fault.SES_NOT_VERIFIED
        if told.failed((envelope.sender,)) or told.code != "MessageRejected":
            result.trouble = TransportError(
                mark(
                    "Amazon SES does not send for %(sender)s: %(reply)s",
                    sender=envelope.sender,
                    reply=str(told),
                ),
                stage=Stage.SENDER,
                reply=reply,
                transient=False,
                fault=Fault.SENDER_REFUSED,
            )
        return result


def look(relay: Relay, *, policy: ConnectPolicy) -> datetime | None:
    """Connect and sign in without sending; gives when the certificate ends, naive UTC.

    None where the connection is not encrypted. Takes a minute at most.

    Raises:
        TransportError: a step failed.
    """
    transport = SesTransport(relay, policy)
    until = Until.within(_WITHIN)
    try:
        transport.account(until)
        encrypted = transport.open(until).encrypted
        return facts(encrypted).ends if encrypted else None
    finally:
        transport.close()


def _body(envelope: Envelope) -> bytes:
    """SendEmail with a message that is complete, and the envelope's own recipients.

    https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html
    """
    asked: dict[str, Any] = {
        "FromEmailAddress": envelope.sender,
        "Destination": {"ToAddresses": list(envelope.recipients)},
        "Content": {"Raw": {"Data": base64.b64encode(envelope.content).decode("ascii")}},
    }
    return json.dumps(asked).encode("ascii")


def _ended(stage: Stage, reply: Reply, verdicts: Mapping[str, Reply]) -> TransportResult:
    result = result_of(verdicts.values())
    return TransportResult(result=result, stage=stage, reply=reply, verdicts=verdicts)


def _unknown(refused: Mapping[str, Reply]) -> TransportResult:
    return TransportResult(
        result=Result.AMBIGUOUS,
        stage=Stage.CONTENT,
        reply=None,
        verdicts=refused,
        note=_SAID_NOTHING,
        fault=Fault.UNKNOWN_OUTCOME,
    )


def _stopped() -> Stopped:
    return Stopped("Delivery was stopped.", stage=Stage.CONNECT, fault=Fault.LOST)
