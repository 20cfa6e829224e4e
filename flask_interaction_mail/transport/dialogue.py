"""The dialogue about one message: MAIL, RCPT, DATA, content, and what the answers come to.

Where the server knows PIPELINING (RFC 2920) the envelope goes out in one write, else command by
command; what is made of the answers is the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from ..errors import AddressError, ContentError, TransportError
from ..outcome import Delivery, Fault, Reply, Result, Stage, result_of
from . import commands
from .base import Envelope
from .faults import fault_of
from .replies import Capabilities
from .session import Session

DATA: Final = b"DATA\r\n"
_CLOSING: Final = 421  # "I go away" may stand in place of any reply (RFC 5321 §3.8)
_UNKNOWN_OUTCOME: Final = (
    "The whole message was handed over, then {what}. Whether the server took it is unknown."
)


class Stale(Exception):
    """A kept connection had ended before anything of this message was heard of."""


class _Goodbye(Exception):
    """The server answered 421 and is about to close the connection."""

    def __init__(self, stage: Stage, reply: Reply) -> None:
        super().__init__(reply)
        self.stage = stage
        self.reply = reply


@dataclass(slots=True)
class Answers:
    """What the server said to an envelope; None for what was not asked."""

    mail: Reply | None = None
    rcpt: dict[str, Reply] = field(default_factory=dict)
    data: Reply | None = None

    @property
    def accepted(self) -> tuple[str, ...]:
        return tuple(address for address, reply in self.rcpt.items() if reply.positive)


def converse(session: Session, envelope: Envelope) -> Delivery:
    """Hand over one message on an open session.

    Raises:
        Stale: a kept connection turned out to be dead; nothing has happened to the message.
        TransportError: the connection failed before the final dot: nobody got the message.
            The session is closed then, and after 421 or an unknown outcome.
    """
    if unable := unable_to_carry(envelope, session.offered):
        return unable
    answers = Answers()
    try:
        _reset(session)
        _ask_envelope(session, envelope, answers)
        return _finish(session, envelope, answers)
    except _Goodbye as goodbye:
        session.close()
        return _settled(envelope, answers) or _closed(envelope, answers, goodbye)
    except TransportError:
        session.close()
        if settled := _settled(envelope, answers):
            return settled
        raise


def unable_to_carry(envelope: Envelope, offered: Capabilities) -> Delivery | None:
    """A verdict without a byte sent, where the server cannot or must not get the message."""
    try:
        commands.check(envelope)
    except AddressError as error:
        return _refuse(Stage.RECIPIENT, Fault.ADDRESS_UNUSABLE, str(error))
    except ContentError as error:
        return _refuse(Stage.CONTENT, Fault.CONTENT_UNSAFE, str(error))
    if commands.needs_smtputf8(envelope) and not offered.smtputf8:
        return _refuse(
            Stage.SENDER,
            Fault.SMTPUTF8_MISSING,
            "An address has international characters before the @, and the server "
            "does not know those (SMTPUTF8).",
        )
    if not (envelope.content.isascii() or offered.eight_bit):
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


def hand_over(session: Session, content: bytes) -> Reply | None:
    """Send the content after 354; gives the answer to the dot, None where that stays unknown.

    Raises:
        TransportError: the connection failed before the final dot.
    """
    try:
        send_content(session, content)
    except TransportError as error:
        if not getattr(error.__cause__, "complete", False):
            raise
        return None
    return hear_final(session)


def send_content(session: Session, content: bytes) -> None:
    """Send the content and the final dot.

    Raises:
        TransportError: the connection failed; its cause tells whether the dot may be out.
    """
    with session.at(Stage.CONTENT):
        session.wire.send_content(commands.stuffed(content), session.timeouts.block, session.until)
    session.dirty = False


def hear_final(session: Session) -> Reply | None:
    """The answer to the final dot, None where it stays unknown."""
    try:
        return session.hear(Stage.CONTENT, session.timeouts.final)
    except TransportError:
        return None


def _reset(session: Session) -> None:
    if session.dirty:
        reply = _hear_first(session, b"RSET\r\n")
        if not reply.positive:
            session.close()
            raise Stale
        session.dirty = False


def _ask_envelope(session: Session, envelope: Envelope, answers: Answers) -> None:
    mail = commands.mail(envelope, session.offered)
    if session.offered.pipelining:
        rcpts = b"".join(map(commands.rcpt, envelope.recipients))
        answers.mail = _hear_first(session, mail + rcpts + DATA)
        for recipient in envelope.recipients:
            answers.rcpt[recipient] = _hear(session, Stage.RECIPIENT, session.timeouts.command)
        answers.data = _hear(session, Stage.CONTENT, session.timeouts.data)
        return
    answers.mail = _hear_first(session, mail)
    if not answers.mail.positive:
        return
    for recipient in envelope.recipients:
        answers.rcpt[recipient] = _ask_rcpt(session, recipient)
    if answers.accepted:
        session.say(DATA, Stage.CONTENT)
        answers.data = _hear(session, Stage.CONTENT, session.timeouts.data)


def _ask_rcpt(session: Session, recipient: str) -> Reply:
    session.say(commands.rcpt(recipient), Stage.RECIPIENT)
    return _hear(session, Stage.RECIPIENT, session.timeouts.command)


def _hear_first(session: Session, data: bytes) -> Reply:
    """Say the first thing about a message; a kept connection may have died meanwhile."""
    kept, session.served = session.served > 0, session.served + 1
    session.dirty = True
    try:
        session.say(data, Stage.SENDER)
        return _hear(session, Stage.SENDER, session.timeouts.command)
    except TransportError as error:
        if kept and error.fault is Fault.LOST:
            session.close()
            raise Stale from error
        raise
    except _Goodbye as goodbye:
        if kept:
            session.close()
            raise Stale from goodbye
        raise


def _hear(session: Session, stage: Stage, seconds: float) -> Reply:
    reply = session.hear(stage, seconds)
    if reply.code == _CLOSING:
        raise _Goodbye(stage, reply)
    return reply


def _finish(session: Session, envelope: Envelope, answers: Answers) -> Delivery:
    if settled := _settled(envelope, answers):
        _leave_data(session, answers)
        return settled
    if answers.data is None or answers.data.code != 354:
        return _refused_data(answers)
    final = hand_over(session, envelope.content)
    if final is None or 300 <= final.code < 400:  # an answer that fits nothing says nothing
        return _unknown(session, answers)
    if final.code == _CLOSING:
        session.close()
    return concluded(answers, final)


def concluded(answers: Answers, final: Reply) -> Delivery:
    """What ``final``, the answer to the dot or to DATA, makes of the ``answers`` before."""
    verdicts = {
        address: final if reply.positive else reply for address, reply in answers.rcpt.items()
    }
    result = result_of(verdicts.values())
    fault = None if final.positive else fault_of(Stage.CONTENT, final)
    return Delivery(result=result, stage=Stage.CONTENT, reply=final, verdicts=verdicts, fault=fault)


def decided(stage: Stage, verdicts: dict[str, Reply]) -> Delivery:
    """A message that nobody got, because of ``verdicts`` that are all refusals."""
    result = result_of(verdicts.values())
    reply = next(
        (one for one in verdicts.values() if one.transient or result is Result.PERMANENT), None
    )
    fault = fault_of(stage, reply) if reply else None
    return Delivery(result=result, stage=stage, reply=reply, verdicts=verdicts, fault=fault)


def _settled(envelope: Envelope, answers: Answers) -> Delivery | None:
    """The verdict, if sender or every recipient was refused; whatever came afterwards."""
    if answers.mail is not None and not answers.mail.positive:
        return decided(Stage.SENDER, dict.fromkeys(envelope.recipients, answers.mail))
    if len(answers.rcpt) == len(set(envelope.recipients)) and not answers.accepted:
        return decided(Stage.RECIPIENT, answers.rcpt)
    return None


def _refused_data(answers: Answers) -> Delivery:
    reply = answers.data
    if reply is None or reply.positive:
        raise TransportError(
            f"The server gave an answer to DATA that is none: {reply}",
            stage=Stage.CONTENT,
            reply=reply,
            fault=Fault.NOT_SMTP,
        )
    return concluded(answers, reply)


def _leave_data(session: Session, answers: Answers) -> None:
    # Pipelined, and the server waits for content though nobody is to get it (RFC 2920 §3.1).
    if answers.data is not None and answers.data.code == 354:
        try:
            session.say(commands.END, Stage.CONTENT)
            _hear(session, Stage.CONTENT, session.timeouts.final)
        except (TransportError, _Goodbye):
            session.close()


def _closed(envelope: Envelope, answers: Answers, goodbye: _Goodbye) -> Delivery:
    refused = {address: reply for address, reply in answers.rcpt.items() if not reply.positive}
    verdicts = dict.fromkeys(envelope.recipients, goodbye.reply) | refused
    return Delivery(
        result=result_of(verdicts.values()),
        stage=goodbye.stage,
        reply=goodbye.reply,
        verdicts=verdicts,
        fault=fault_of(goodbye.stage, goodbye.reply),
    )


def _unknown(session: Session, answers: Answers) -> Delivery:
    session.close()
    return Delivery(
        result=Result.AMBIGUOUS,
        stage=Stage.CONTENT,
        reply=None,
        verdicts={address: said for address, said in answers.rcpt.items() if not said.positive},
        note=_UNKNOWN_OUTCOME.format(what="the connection ended or stayed silent"),
        fault=Fault.UNKNOWN_OUTCOME,
    )


def _refuse(stage: Stage, fault: Fault, note: str) -> Delivery:
    return Delivery(
        result=Result.PERMANENT, stage=stage, reply=None, verdicts={}, note=note, fault=fault
    )
