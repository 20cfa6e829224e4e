"""The dialogue about one message: the envelope, the content, and what comes of the answers."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ...errors import TransportError
from ...outcome import Fault, Reply, Stage
from ..base import Envelope, TransportResult
from . import commands, conclusions
from .asking import CLOSING, Goodbye, Why, again, ask, hear
from .conclusions import Answers
from .session import Session


def converse(session: Session, envelope: Envelope, asked: Collection[Why] = ()) -> TransportResult:
    """Hand over one message on an open session; ``asked`` is why it was asked for before.

    Raises:
        AskAgain: nothing has happened to the message, and what was said is no verdict on it.
            The session is closed then. Each reason is given once, and not if it was ``asked``.
        TransportError: the connection failed before the final dot: nobody got the message.
            The session is closed then, and after 421 or an unknown outcome.
    """
    if unable := conclusions.unable_to_carry(envelope, session.offered):
        return unable
    if beyond := conclusions.out_of_reach(envelope, session.offered):
        return _without(session, envelope, beyond, asked)
    answers = Answers()
    delivery = _conversed(session, envelope, answers, asked)
    delivery.slow_refusals = answers.slow_refusals
    session.welcome = session.welcome or answers.accepted > 0
    if not session.welcome:
        delivery.trouble = conclusions.trouble(envelope, delivery, _login(session))
    return delivery


def _login(session: Session) -> str:
    relay = session.relay
    return (relay.login or "") if relay.use_authentication else ""


def _without(
    session: Session, envelope: Envelope, beyond: Mapping[str, Reply], asked: Collection[Why]
) -> TransportResult:
    """As ``converse`` for those recipients who are not ``beyond`` the server's reach."""
    recipients = tuple(one for one in envelope.recipients if one not in beyond)
    if not recipients:
        return conclusions.nobody_in_reach(beyond)
    delivery = converse(session, envelope.to(recipients), asked)
    delivery.verdicts = {**delivery.verdicts, **beyond}
    return delivery


def _conversed(
    session: Session, envelope: Envelope, answers: Answers, asked: Collection[Why]
) -> TransportResult:
    try:
        ask(session, envelope, answers)
        if session.offered.pipelining and answers.confused:
            again(session, Why.TOGETHER, asked)
        delivery = _finish(session, envelope, answers)
    except Goodbye as goodbye:
        session.close()
        if session.offered.pipelining and answers.confused:
            again(session, Why.TOGETHER, asked)
        if settled := conclusions.settled(envelope, answers):
            return settled
        if not answers.impatient:
            again(session, Why.LIMIT, asked)
        return conclusions.turned_away(envelope, answers, goodbye.stage, goodbye.reply)
    except TransportError as error:
        return _broken(session, envelope, answers, error, asked)
    if delivery.crowded or answers.slow_refusals:
        session.farewell()
        session.close()
    return delivery


def send_content(session: Session, content: bytes) -> None:
    """Send the content and the final dot.

    Raises:
        TransportError: the connection failed; its cause tells whether the dot may be out.
    """
    session.dirty = False  # whatever comes of it, the dot ends the envelope
    session.send_content(commands.stuffed(content))


def hear_final(session: Session) -> Reply | None:
    """The answer to the final dot, None where it stays unknown."""
    try:
        return session.hear(Stage.CONTENT, session.timeouts.final)
    except TransportError:
        return None


def _finish(session: Session, envelope: Envelope, answers: Answers) -> TransportResult:
    if settled := conclusions.settled(envelope, answers):
        _leave_data(session, answers)
        return settled
    if answers.data is None or answers.data.code != 354:
        return _refused_data(answers)
    final = _hand_over(session, envelope.content)
    if final is None or 300 <= final.code < 400:  # an answer that fits nothing says nothing
        session.close()
        return conclusions.unknown(answers)
    if final.code == CLOSING:
        session.close()
    return conclusions.concluded(answers, final)


def _hand_over(session: Session, content: bytes) -> Reply | None:
    # Gives the answer to the dot, None where that stays unknown.
    try:
        send_content(session, content)
    except TransportError as error:
        if not getattr(error.__cause__, "complete", False):
            raise
        return None
    return hear_final(session)


def _refused_data(answers: Answers) -> TransportResult:
    reply = answers.data
    if reply is None or reply.positive:
        raise TransportError(
            f"The server gave an answer to DATA that is none: {reply}",
            stage=Stage.CONTENT,
            reply=reply,
            fault=Fault.NOT_SMTP,
        )
    return conclusions.concluded(answers, reply)


def _leave_data(session: Session, answers: Answers) -> None:
    # Pipelined, and the server waits for content though nobody is to get it (RFC 2920 §3.1).
    if answers.data is not None and answers.data.code == 354:
        try:
            session.say(commands.END, Stage.CONTENT)
            hear(session, Stage.CONTENT, session.timeouts.final)
        except (TransportError, Goodbye):
            session.close()


def _broken(
    session: Session,
    envelope: Envelope,
    answers: Answers,
    error: TransportError,
    asked: Collection[Why],
) -> TransportResult:
    session.close()
    # Some servers throw away what came together with a command that they refuse.
    doubtful = session.offered.pipelining and error.fault is Fault.SILENT
    if settled := conclusions.settled(envelope, answers):
        return settled
    if doubtful and answers.refused:
        again(session, Why.TOGETHER, asked)
    raise error
