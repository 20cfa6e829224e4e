"""Asking a server to take an envelope: MAIL, RCPT and DATA, and what is heard of each.

Where the server knows PIPELINING (RFC 2920) the envelope goes out in one write, else command by
command; what is made of the answers is the same.
"""

from __future__ import annotations

import enum
from collections.abc import Collection
from time import monotonic
from typing import Final

from ...errors import TransportError
from ...outcome import Fault, Reply, Stage
from ..base import Envelope
from . import commands
from .conclusions import NOT_ASKED, Answers
from .session import Session

_AT_ONCE: Final = 100  # recipients a write: their answers must fit in what the network buffers
_RSET: Final = b"RSET\r\n"
_DATA: Final = b"DATA\r\n"
CLOSING: Final = 421  # "I go away" may stand in place of any reply (RFC 5321 §3.8)


class Why(enum.Enum):
    """Why another connection is asked about a message that nobody has got yet."""

    ENDED = "ended"  # this one had carried others, and was dead
    LIMIT = "limit"  # it takes no more: 4yz to MAIL after others, or 421 before the content
    TOGETHER = "together"  # the server seems not to take commands together


class AskAgain(Exception):
    """What was said is no verdict on the message: a new connection is to be asked.

    ``carried`` is how many messages this one had carried, where the server took no more.
    """

    def __init__(self, why: Why, carried: int = 0) -> None:
        super().__init__(why)
        self.why = why
        self.carried = carried


class Goodbye(Exception):
    """Nothing more is heard on this connection.

    ``reply`` is about all who were not asked for: the server's 421, or that refusals are held back.
    """

    def __init__(self, stage: Stage, reply: Reply) -> None:
        super().__init__(reply)
        self.stage = stage
        self.reply = reply


def ask(session: Session, envelope: Envelope, answers: Answers) -> None:
    """Say all but the content of a message, and put down what is heard in ``answers``.

    Raises:
        AskAgain: what was said is no verdict on the message.
        Goodbye: the server takes its leave.
        TransportError: the connection failed.
    """
    session.served += 1
    began = monotonic()
    try:
        (_ask_at_once if session.offered.pipelining else _ask_in_turn)(session, envelope, answers)
    finally:
        answers.seconds = monotonic() - began


def again(session: Session, why: Why, asked: Collection[Why]) -> None:
    """Have another connection asked, unless one was for the same reason."""
    if why not in asked:
        session.close()
        raise AskAgain(why, session.served - 1)


def _request(session: Session, envelope: Envelope) -> bytes:
    """What is said first about a message where commands may be sent together (RFC 2920 §3.1).

    More than 100 recipients follow in further writes, so that neither side waits for the other
    to read.
    """
    recipients = envelope.recipients
    first = _RSET if session.dirty else b""
    last = _DATA if len(recipients) <= _AT_ONCE else b""
    mail = commands.mail(envelope, session.offered)
    return b"".join((first, mail, *map(commands.rcpt, recipients[:_AT_ONCE]), last))


def _ask_at_once(session: Session, envelope: Envelope, answers: Answers) -> None:
    resetting, seconds = session.dirty, session.timeouts.command
    first = _begin(session, _request(session, envelope))
    if resetting:
        _check_reset(session, first)
        first = hear(session, Stage.SENDER, seconds)
    _hear_sender(session, answers, first)
    recipients = envelope.recipients
    for recipient in recipients[:_AT_ONCE]:
        _hear_about(session, recipient, answers, envelope)
    _ask_for_more(session, envelope, answers)
    answers.data = hear(session, Stage.CONTENT, session.timeouts.data)


def _ask_for_more(session: Session, envelope: Envelope, answers: Answers) -> None:
    """Those who had no place in the first write, 100 at a time, until the server is full."""
    recipients = envelope.recipients[_AT_ONCE:]
    while recipients:
        more = () if answers.full else recipients[:_AT_ONCE]
        last = _DATA if answers.full or len(recipients) <= _AT_ONCE else b""
        session.say(b"".join(map(commands.rcpt, more)) + last, Stage.RECIPIENT)
        for recipient in more:
            _hear_about(session, recipient, answers, envelope)
        recipients = recipients[len(more) :]
        if last:
            answers.leave(recipients)
            return


def _ask_in_turn(session: Session, envelope: Envelope, answers: Answers) -> None:
    if session.dirty:
        _check_reset(session, _begin(session, _RSET))
        session.dirty = False
    _hear_sender(session, answers, _begin(session, commands.mail(envelope, session.offered)))
    if not session.dirty:
        return
    for at, recipient in enumerate(envelope.recipients):
        if answers.enough:
            answers.leave(envelope.recipients[at:])
            break
        session.say(commands.rcpt(recipient), Stage.RECIPIENT)
        _hear_about(session, recipient, answers, envelope)
    if answers.accepted:
        session.say(_DATA, Stage.CONTENT)
        answers.data = hear(session, Stage.CONTENT, session.timeouts.data)


def _hear_about(session: Session, recipient: str, answers: Answers, envelope: Envelope) -> None:
    """Hear what is said of ``recipient``.

    Raises:
        Goodbye: a refusal was held back, and more answers are to come. In turn, with somebody
            accepted, none is to come: the caller asks for nobody else.
    """
    began = monotonic()
    reply = hear(session, Stage.RECIPIENT, session.timeouts.command)
    answers.about(recipient, reply, monotonic() - began)
    session.held_back = session.held_back or answers.held_back
    go = session.offered.pipelining or not answers.accepted
    if answers.held_back and go and len(answers.rcpt) < len(envelope.recipients):
        raise Goodbye(Stage.RECIPIENT, NOT_ASKED)


def _check_reset(session: Session, reply: Reply) -> None:
    session.resets += 1
    if not reply.positive:
        again(session, Why.ENDED, ())


def _begin(session: Session, data: bytes) -> Reply:
    """Say the first thing about a message and hear the answer; a kept connection may be dead."""
    session.dirty = True
    try:
        return session.ask(data, Stage.SENDER, session.timeouts.command)
    except TransportError as error:
        if session.kept and error.fault is Fault.LOST:
            session.close()
            raise AskAgain(Why.ENDED) from error
        raise


def _hear_sender(session: Session, answers: Answers, reply: Reply) -> None:
    """``reply`` was the answer to MAIL; a limit of the connection is no verdict on the message."""
    if session.kept and reply.transient:
        again(session, Why.LIMIT, ())
    if reply.code == CLOSING:
        raise Goodbye(Stage.SENDER, reply)
    answers.mail = reply
    session.dirty = reply.positive


def hear(session: Session, stage: Stage, seconds: float) -> Reply:
    """The next reply, within ``seconds``.

    Raises:
        Goodbye: it is 421.
        TransportError: there is none.
    """
    # Answers to what was said together come together: all but the first are here already.
    reply = session.wire.waiting() or session.hear(stage, seconds)
    if reply.code == CLOSING:
        raise Goodbye(stage, reply)
    return reply
