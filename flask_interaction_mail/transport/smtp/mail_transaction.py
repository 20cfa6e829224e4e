"""A mail transaction (RFC 5321 §3.3): MAIL, RCPT and DATA for one message, and its outcome.

If the server offers PIPELINING (RFC 2920), the envelope goes out in one write, else command by
command; the answers mean the same.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable, Mapping
from time import monotonic
from typing import Final

from ...errors import TransportError
from ...language import mark
from ...outcome import Fault, Reply, Stage
from ..base import Envelope, TransportResult
from . import commands, conclusions
from .conclusions import NOT_ASKED, Answers
from .session import Session
from .stream import StreamError

_IN_ONE_WRITE: Final = 100  # recipients: their answers must fit into what the network buffers
_RSET: Final = b"RSET\r\n"
_DATA: Final = b"DATA\r\n"
_CLOSING: Final = 421  # "closing the connection" may replace any reply (RFC 5321 §3.8)


class RetryReason(enum.Enum):
    """Why a message that nobody has got yet is tried again at once, on a new connection."""

    DEAD = "dead"  # a kept connection was dead
    LIMIT = "limit"  # the server takes no more on it: 4yz to MAIL, or 421 before the content
    CONFUSED = "confused"  # the server seems not to understand what it offers itself


class RetryOnNewConnection(Exception):
    """The answers say nothing about the message: try it again on a new connection.

    ``sent`` is how many messages this connection has taken.
    """

    def __init__(self, reason: RetryReason, sent: int = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.sent = sent


class _Closing(Exception):
    """Nothing more is heard on this connection.

    ``reply`` counts for all recipients who were not asked for: the server's 421, or NOT_ASKED.
    """

    def __init__(self, stage: Stage, reply: Reply) -> None:
        super().__init__(reply)
        self.stage = stage
        self.reply = reply


def transact(
    session: Session, envelope: Envelope, retried: Collection[RetryReason] = ()
) -> TransportResult:
    """Hand over one message on an open session; ``retried`` is why it was tried again before.

    Raises:
        RetryOnNewConnection: nothing has happened to the message, and the answers say nothing
            about it. The session is closed then. Each reason is given once, and not if ``retried``.
        TransportError: the connection failed before the final dot: nobody got the message.
            The session is closed then, and after 421 or an unknown outcome.
    """
    if unable := conclusions.unable_to_carry(envelope, session.offered):
        return unable
    if beyond := conclusions.out_of_reach(envelope, session.offered):
        return _without(session, envelope, beyond, retried)
    answers = Answers()
    outcome = _transact(session, envelope, answers, retried)
    outcome.slow_refusals = answers.slow_refusals
    session.welcome = session.welcome or answers.accepted > 0
    if not session.welcome:
        outcome.trouble = conclusions.trouble(envelope, outcome, _login(session))
    return outcome


def send_content(session: Session, content: bytes) -> None:
    """Send the content and the final dot.

    Raises:
        StreamError: the connection failed; ``complete`` tells whether the dot may have been sent.
    """
    session.dirty = False  # the dot ends the envelope, whatever the answer
    session.send_content(commands.stuffed(content))


def _login(session: Session) -> str:
    relay = session.relay
    return (relay.login or "") if relay.use_authentication else ""


def _without(
    session: Session,
    envelope: Envelope,
    beyond: Mapping[str, Reply],
    retried: Collection[RetryReason],
) -> TransportResult:
    """As ``transact``, without the recipients ``beyond`` the server's reach."""
    recipients = tuple(address for address in envelope.recipients if address not in beyond)
    if not recipients:
        return conclusions.nobody_in_reach(beyond)
    outcome = transact(session, envelope.to(recipients), retried)
    outcome.verdicts = {**outcome.verdicts, **beyond}
    return outcome


def _transact(
    session: Session, envelope: Envelope, answers: Answers, retried: Collection[RetryReason]
) -> TransportResult:
    try:
        _send_envelope(session, envelope, answers)
        if _offers_more(session) and answers.confused:
            _retry_once(session, RetryReason.CONFUSED, retried)
        outcome = _finish(session, envelope, answers)
    except _Closing as closing:
        session.close()
        if _offers_more(session) and answers.confused:
            _retry_once(session, RetryReason.CONFUSED, retried)
        if settled := conclusions.settled(envelope, answers):
            return settled
        if not answers.penalising:
            _retry_once(session, RetryReason.LIMIT, retried)
        return conclusions.turned_away(envelope, answers, closing.stage, closing.reply)
    except TransportError as error:
        return _broken(session, envelope, answers, error, retried)
    if outcome.crowded or answers.slow_refusals:
        session.send_quit()
        session.close()
    return outcome


def _offers_more(session: Session) -> bool:
    """Whether more was used than every server understands, and the same can be said plainly."""
    return session.offered.pipelining or session.offered.dsn


def _retry_once(session: Session, reason: RetryReason, retried: Collection[RetryReason]) -> None:
    if reason not in retried:
        session.close()
        raise RetryOnNewConnection(reason, session.served - 1)


def _broken(
    session: Session,
    envelope: Envelope,
    answers: Answers,
    error: TransportError,
    retried: Collection[RetryReason],
) -> TransportResult:
    session.close()
    # Some servers discard what came together with a command that they refuse.
    doubtful = session.offered.pipelining and error.fault is Fault.SILENT
    if settled := conclusions.settled(envelope, answers):
        return settled
    if doubtful and answers.refused:
        _retry_once(session, RetryReason.CONFUSED, retried)
    raise error


# -- the envelope ---------------------------------------------------------------------------


def _send_envelope(session: Session, envelope: Envelope, answers: Answers) -> None:
    """Say MAIL, RCPT and DATA, and put what is heard into ``answers``.

    Raises:
        RetryOnNewConnection: the answers say nothing about the message.
        _Closing: the server closes the connection.
        TransportError: the connection failed.
    """
    session.served += 1
    send = _send_pipelined if session.offered.pipelining else _send_in_turn
    began = monotonic()
    try:
        send(session, envelope, answers)
    finally:
        answers.seconds = monotonic() - began


def _send_pipelined(session: Session, envelope: Envelope, answers: Answers) -> None:
    """Send all commands in one write (RFC 2920 §3.1).

    Recipients beyond 100 follow in further writes, so that neither side waits for the other to
    read.
    """
    recipients = envelope.recipients
    resets = session.dirty
    reset = _RSET if resets else b""
    data = _DATA if len(recipients) <= _IN_ONE_WRITE else b""
    mail = commands.mail(envelope, session.offered)
    first = _asked_for(session, envelope, recipients[:_IN_ONE_WRITE])
    request = b"".join((reset, mail, first, data))
    seconds = session.timeouts.command
    reply = _begin(session, request)
    if resets:
        _hear_reset(session, reply)
        reply = _hear(session, Stage.SENDER, seconds)
    _hear_sender(session, answers, reply)
    for recipient in recipients[:_IN_ONE_WRITE]:
        _hear_recipient(session, recipient, answers, envelope)
    _send_further_recipients(session, envelope, answers)
    answers.data = _hear(session, Stage.CONTENT, session.timeouts.data)


def _send_further_recipients(session: Session, envelope: Envelope, answers: Answers) -> None:
    """Ask for the recipients beyond the first write, 100 at a time, until the server is full."""
    recipients = envelope.recipients[_IN_ONE_WRITE:]
    while recipients:
        more = () if answers.full else recipients[:_IN_ONE_WRITE]
        data = _DATA if answers.full or len(recipients) <= _IN_ONE_WRITE else b""
        session.say(_asked_for(session, envelope, more) + data, Stage.RECIPIENT)
        for recipient in more:
            _hear_recipient(session, recipient, answers, envelope)
        recipients = recipients[len(more) :]
        if data:
            answers.leave(recipients)
            return


def _send_in_turn(session: Session, envelope: Envelope, answers: Answers) -> None:
    """Send each command after the answer to the one before."""
    if session.dirty:
        _hear_reset(session, _begin(session, _RSET))
        session.dirty = False
    _hear_sender(session, answers, _begin(session, commands.mail(envelope, session.offered)))
    if not session.dirty:
        return
    for at, recipient in enumerate(envelope.recipients):
        if answers.enough:
            answers.leave(envelope.recipients[at:])
            break
        session.say(_asked_for(session, envelope, [recipient]), Stage.RECIPIENT)
        _hear_recipient(session, recipient, answers, envelope)
    if answers.accepted:
        session.say(_DATA, Stage.CONTENT)
        answers.data = _hear(session, Stage.CONTENT, session.timeouts.data)


def _asked_for(session: Session, envelope: Envelope, recipients: Iterable[str]) -> bytes:
    """RCPT for each of ``recipients``, with what is to be reported of them."""
    success = session.relay.ask_for_success
    notify = commands.reported(envelope, session.offered, success=success)
    return b"".join(commands.rcpt(recipient, notify) for recipient in recipients)


def _begin(session: Session, data: bytes) -> Reply:
    """Send the first commands about a message; gives the answer. A kept connection may be dead."""
    session.dirty = True
    try:
        return session.ask(data, Stage.SENDER, session.timeouts.command)
    except TransportError as error:
        if session.kept and error.fault is Fault.LOST:
            session.close()
            raise RetryOnNewConnection(RetryReason.DEAD) from error
        raise


def _hear_reset(session: Session, reply: Reply) -> None:
    session.resets += 1
    if not reply.positive:
        _retry_once(session, RetryReason.DEAD, ())


def _hear_sender(session: Session, answers: Answers, reply: Reply) -> None:
    """Note ``reply`` to MAIL, unless it is about a limit of the connection."""
    if session.kept and reply.transient:
        _retry_once(session, RetryReason.LIMIT, ())
    if reply.code == _CLOSING:
        raise _Closing(Stage.SENDER, reply)
    answers.mail = reply
    session.dirty = reply.positive


def _hear_recipient(session: Session, recipient: str, answers: Answers, envelope: Envelope) -> None:
    """Hear the answer to RCPT for ``recipient``.

    Raises:
        _Closing: a refusal was delayed, and more answers are to come. In turn, once a recipient is
            accepted, none is to come: the caller asks for no other.
    """
    began = monotonic()
    reply = _hear(session, Stage.RECIPIENT, session.timeouts.command)
    answers.add(recipient, reply, monotonic() - began)
    session.tarpits = session.tarpits or answers.tarpits
    more = session.offered.pipelining or not answers.accepted
    if answers.tarpits and more and len(answers.rcpt) < len(envelope.recipients):
        raise _Closing(Stage.RECIPIENT, NOT_ASKED)


def _hear(session: Session, stage: Stage, seconds: float) -> Reply:
    """The next reply, within ``seconds``.

    Raises:
        _Closing: it is 421.
        TransportError: there is none.
    """
    # Answers to commands sent together come together: all but the first are here already.
    reply = session.stream.waiting() or session.hear(stage, seconds)
    if reply.code == _CLOSING:
        raise _Closing(stage, reply)
    return reply


# -- the content ----------------------------------------------------------------------------


def _finish(session: Session, envelope: Envelope, answers: Answers) -> TransportResult:
    if settled := conclusions.settled(envelope, answers):
        _end_data(session, answers)
        return settled
    if answers.data is None or answers.data.code != 354:
        return _refused_data(answers)
    final = _hand_over(session, envelope.content)
    if final is None or 300 <= final.code < 400:  # no such reply is defined for the final dot
        session.close()
        return conclusions.unknown(answers)
    if final.code == _CLOSING:
        session.close()
    return conclusions.concluded(answers, final)


def _hand_over(session: Session, content: bytes) -> Reply | None:
    """Send the content; gives the answer to the final dot, None if that stays unknown."""
    try:
        send_content(session, content)
    except StreamError as error:
        if not error.complete:
            raise
        return None
    try:
        return session.hear(Stage.CONTENT, session.timeouts.final)
    except TransportError:
        return None


def _refused_data(answers: Answers) -> TransportResult:
    reply = answers.data
    if reply is None or reply.positive:
        raise TransportError(
            mark("The server's answer to DATA makes no sense: %(reply)s", reply=str(reply)),
            stage=Stage.CONTENT,
            reply=reply,
            fault=Fault.NOT_SMTP,
        )
    return conclusions.concluded(answers, reply)


def _end_data(session: Session, answers: Answers) -> None:
    """Send no content if the server waits for it although nobody is to get it (RFC 2920 §3.1)."""
    if answers.data is not None and answers.data.code == 354:
        try:
            session.say(commands.END, Stage.CONTENT)
            _hear(session, Stage.CONTENT, session.timeouts.final)
        except (TransportError, _Closing):
            session.close()
