"""The dialogue about one message: MAIL, RCPT, DATA, content, and what is heard of each.

Where the server knows PIPELINING (RFC 2920) the envelope goes out in one write, else command by
command; what is made of the answers is the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ..errors import AddressError, ContentError, TransportError
from ..outcome import Delivery, Fault, Reply, Result, Stage
from . import answers as conclusions
from . import commands
from .answers import Answers
from .base import Envelope
from .replies import Capabilities
from .session import Session

AT_ONCE: Final = 100  # recipients a write: their answers must fit in what the network buffers
RSET: Final = b"RSET\r\n"
DATA: Final = b"DATA\r\n"
_CLOSING: Final = 421  # "I go away" may stand in place of any reply (RFC 5321 §3.8)

Following = Callable[[Session], bytes]  # what to say in the write that ends a content


class Stale(Exception):
    """A kept connection had ended before anything of this message was heard of."""


class _Goodbye(Exception):
    """The server answered 421 and is about to close the connection."""

    def __init__(self, stage: Stage, reply: Reply) -> None:
        super().__init__(reply)
        self.stage = stage
        self.reply = reply


def nothing(_: Session) -> bytes:
    """What follows a content where nothing is sent ahead."""
    return b""


def converse(session: Session, envelope: Envelope, following: Following = nothing) -> Delivery:
    """Hand over one message on an open session.

    ``following`` is asked just before the content, or the dot in place of it, goes out.

    Raises:
        Stale: the connection turned out to be dead, or not to take commands together; nothing
            has happened to the message, and another connection may serve it.
        TransportError: the connection failed before the final dot: nobody got the message.
            The session is closed then, and after 421 or an unknown outcome.
    """
    if session.asked is None and (unable := unable_to_carry(envelope, session.offered)):
        return unable
    answers = Answers()
    ask = _ask_at_once if session.offered.pipelining else _ask_in_turn
    try:
        ask(session, envelope, answers)
        return _finish(session, envelope, answers, following)
    except _Goodbye as goodbye:
        session.close()
        return conclusions.settled(envelope, answers) or conclusions.turned_away(
            envelope, answers, goodbye.stage, goodbye.reply
        )
    except TransportError as error:
        return _broken(session, envelope, answers, error)


def unable_to_carry(envelope: Envelope, offered: Capabilities) -> Delivery | None:
    """A verdict without a byte sent, where the server cannot or must not get the message."""
    try:
        commands.check(envelope)
    except AddressError as error:
        return _refuse(Stage.RECIPIENT, Fault.ADDRESS_UNUSABLE, str(error))
    except ContentError as error:
        return _refuse(Stage.CONTENT, Fault.CONTENT_UNSAFE, str(error))
    if not offered.smtputf8 and commands.needs_smtputf8(envelope):
        return _refuse(
            Stage.SENDER,
            Fault.SMTPUTF8_MISSING,
            "An address has international characters before the @, and the server "
            "does not know those (SMTPUTF8).",
        )
    if not (offered.eight_bit or envelope.content.isascii()):
        return _refuse(
            Stage.CONTENT,
            Fault.CONTENT_UNSAFE,
            "The content is not encoded in 7 bits, and the server takes nothing else.",
        )
    if offered.size is not None and len(envelope.content) > offered.size:
        return _refuse(
            Stage.CONTENT,
            Fault.TOO_BIG,
            f"The message has {len(envelope.content):,} bytes, "
            f"and the server takes at most {offered.size:,}.",
        )
    return None


def request(session: Session, envelope: Envelope) -> bytes:
    """What is said first about a message where commands may be sent together (RFC 2920 §3.1).

    More than 100 recipients follow in further writes, so that neither side waits for the other
    to read.
    """
    recipients = envelope.recipients
    first = RSET if session.dirty else b""
    last = DATA if len(recipients) <= AT_ONCE else b""
    mail = commands.mail(envelope, session.offered)
    return b"".join((first, mail, *map(commands.rcpt, recipients[:AT_ONCE]), last))


def send_content(session: Session, content: bytes, following: Following = nothing) -> None:
    """Send the content, the final dot, and what is ``following`` in the same write.

    Raises:
        TransportError: the connection failed; its cause tells whether the dot may be out.
    """
    session.dirty = False  # whatever comes of it, the dot ends the envelope
    ahead = following(session)
    session.send_content(commands.stuffed(content, ahead), len(ahead))


def hear_final(session: Session) -> Reply | None:
    """The answer to the final dot, None where it stays unknown."""
    try:
        return session.hear(Stage.CONTENT, session.timeouts.final)
    except TransportError:
        return None


def _ask_at_once(session: Session, envelope: Envelope, answers: Answers) -> None:
    """In one write, which may have happened already together with the content before."""
    resetting, seconds = session.dirty, session.timeouts.command
    first = _begin(session, request(session, envelope) if session.asked is None else b"")
    if resetting:
        _check_reset(session, first)
        first = _hear(session, Stage.SENDER, seconds)
    answers.mail = first
    recipients = envelope.recipients
    for recipient in recipients[:AT_ONCE]:
        answers.about(recipient, _hear(session, Stage.RECIPIENT, seconds))
    for at in range(AT_ONCE, len(recipients), AT_ONCE):
        more = recipients[at : at + AT_ONCE]
        last = DATA if at + AT_ONCE >= len(recipients) else b""
        session.say(b"".join(map(commands.rcpt, more)) + last, Stage.RECIPIENT)
        for recipient in more:
            answers.about(recipient, _hear(session, Stage.RECIPIENT, seconds))
    answers.data = _hear(session, Stage.CONTENT, session.timeouts.data)


def _ask_in_turn(session: Session, envelope: Envelope, answers: Answers) -> None:
    if session.dirty:
        _check_reset(session, _begin(session, RSET))
        session.dirty = False
    answers.mail = _begin(session, commands.mail(envelope, session.offered))
    if not answers.mail.positive:
        return
    seconds = session.timeouts.command
    for recipient in envelope.recipients:
        reply = _ask(session, commands.rcpt(recipient), Stage.RECIPIENT, seconds)
        answers.about(recipient, reply)
    if answers.accepted:
        answers.data = _ask(session, DATA, Stage.CONTENT, session.timeouts.data)


def _check_reset(session: Session, reply: Reply) -> None:
    if not reply.positive:
        session.close()
        raise Stale


def _begin(session: Session, data: bytes) -> Reply:
    """Say the first thing about a message, unless it was said ahead, and hear the answer.

    A kept connection may have died meanwhile, and a server may forget what was said ahead.
    """
    ahead, session.asked = session.asked is not None, None
    kept, session.served = session.served > 0, session.served + 1
    session.dirty = True
    try:
        if data:
            return _ask(session, data, Stage.SENDER, session.timeouts.command)
        return _hear(session, Stage.SENDER, session.timeouts.command)
    except TransportError as error:
        session.doubtful = ahead
        if ahead or (kept and error.fault is Fault.LOST):
            session.close()
            raise Stale from error
        raise
    except _Goodbye as goodbye:
        if kept:
            session.close()
            raise Stale from goodbye
        raise


def _ask(session: Session, data: bytes, stage: Stage, seconds: float) -> Reply:
    reply = session.ask(data, stage, seconds)
    if reply.code == _CLOSING:
        raise _Goodbye(stage, reply)
    return reply


def _hear(session: Session, stage: Stage, seconds: float) -> Reply:
    # Answers to what was said together come together: all but the first are here already.
    reply = session.wire.waiting() or session.hear(stage, seconds)
    if reply.code == _CLOSING:
        raise _Goodbye(stage, reply)
    return reply


def _finish(
    session: Session, envelope: Envelope, answers: Answers, following: Following
) -> Delivery:
    if settled := conclusions.settled(envelope, answers):
        _leave_data(session, answers, following)
        return settled
    if answers.data is None or answers.data.code != 354:
        return _refused_data(answers)
    final = _hand_over(session, envelope.content, following)
    if final is None or 300 <= final.code < 400:  # an answer that fits nothing says nothing
        session.close()
        return conclusions.unknown(answers)
    if final.code == _CLOSING:
        session.close()
    return conclusions.concluded(answers, final)


def _hand_over(session: Session, content: bytes, following: Following) -> Reply | None:
    # Gives the answer to the dot, None where that stays unknown.
    try:
        send_content(session, content, following)
    except TransportError as error:
        if not getattr(error.__cause__, "complete", False):
            raise
        return None
    return hear_final(session)


def _refused_data(answers: Answers) -> Delivery:
    reply = answers.data
    if reply is None or reply.positive:
        raise TransportError(
            f"The server gave an answer to DATA that is none: {reply}",
            stage=Stage.CONTENT,
            reply=reply,
            fault=Fault.NOT_SMTP,
        )
    return conclusions.concluded(answers, reply)


def _leave_data(session: Session, answers: Answers, following: Following) -> None:
    # Pipelined, and the server waits for content though nobody is to get it (RFC 2920 §3.1).
    if answers.data is not None and answers.data.code == 354:
        try:
            session.say(commands.END + following(session), Stage.CONTENT)
            _hear(session, Stage.CONTENT, session.timeouts.final)
        except (TransportError, _Goodbye):
            session.close()


def _broken(
    session: Session, envelope: Envelope, answers: Answers, error: TransportError
) -> Delivery:
    session.close()
    if session.offered.pipelining and error.fault is Fault.SILENT:
        # Some servers throw away what came together with a command that they refuse.
        session.doubtful = True
    if settled := conclusions.settled(envelope, answers):
        return settled
    if session.doubtful and answers.refused:
        raise Stale from error
    raise error


def _refuse(stage: Stage, fault: Fault, note: str) -> Delivery:
    return Delivery(
        result=Result.PERMANENT, stage=stage, reply=None, verdicts={}, note=note, fault=fault
    )
