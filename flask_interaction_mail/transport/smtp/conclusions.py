"""Makes one outcome of the server's answers to a message, pipelined or not. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from ...errors import AddressError, ContentError, TransportError
from ...language import mark, said_by
from ...outcome import Fault, Reply, Result, Stage, result_of
from ..base import Envelope, TransportResult
from . import commands
from .faults import fault_of, named_by, refuses_us
from .replies import Capabilities

_UNKNOWN_OUTCOME: Final = mark(
    "The whole message was handed over, then the connection ended or stayed silent. "
    "Whether the server took it is unknown."
)
# Subject and detail of an enhanced code (RFC 3463), even if its class contradicts the reply code.
_ENHANCED: Final = re.compile(r"[245]\.(\d{1,3}\.\d{1,3})\b")

_PATIENCE: Final = 5  # permanent refusals after which servers may refuse others as well
# Servers delay refusals once a connection has had some, each for longer than the last one; on a new
# connection the delays start over. This many seconds for one envelope are a sign of it.
_SLOW: Final = 2.0
_TARPIT: Final = 5.0  # s for a refusal that show that the next one will take longer
NOT_ASKED: Final = Reply(
    451, None, "Not tried yet: the server delayed its refusal of another recipient."
)
# "Ok 0102…-000000" of Amazon SES, "Ok: queued as …" of SendGrid and others.
_NAMED: Final = re.compile(r"(?:(?:ok:? )?queued as|ok:?) <?([\w.@+-]{20,255})>?", re.I | re.A)
_ABOUT_ADDRESS: Final = re.compile(r"5\.1\.\d")

_REFUSED: Final = {
    Fault.CLIENT_REFUSED: mark("The server does not accept this machine: %(reply)s"),
    Fault.HELO_REFUSED: mark(
        "The server does not accept the name that this machine gives in EHLO: %(reply)s"
    ),
    Fault.AUTH_REQUIRED: mark(
        "The server does not accept mail without a login that may send it: %(reply)s"
    ),
    Fault.ENCRYPTION_REQUIRED: mark(
        "The server does not accept mail without encryption: %(reply)s"
    ),
}
_REFUSED_SENDER: Final = mark("The server does not accept mail from %(sender)s: %(reply)s")
_REFUSED_THIS: Final = mark("The server does not accept this: %(reply)s")


def too_many(reply: Reply) -> bool:
    """Whether ``reply`` to RCPT can mean that no more recipients fit into this transaction.

    It is 452, or 552 from old servers (RFC 5321 §4.5.3.1.10). Both are also said of a full mailbox,
    so they mean this only if another recipient was accepted.
    """
    if reply.code not in (452, 552):
        return False
    if found := _ENHANCED.match(reply.enhanced or reply.text):
        return found[1] == "5.3"
    return reply.code == 552 or "too many recipients" in reply.text.lower()


def no_room(recipient: str, reply: Reply) -> bool:
    """The same, unless ``reply`` is about the mailbox of ``recipient``.

    A full mailbox does not fill the transaction: it gets its verdict as the first of one.
    """
    full = fault_of(Stage.RECIPIENT, reply, recipient=recipient) is Fault.MAILBOX_FULL
    return too_many(reply) and not full


def _misunderstood(reply: Reply) -> bool:
    """Whether ``reply`` to MAIL or RCPT can mean that the server did not understand the commands.

    500 to 504 can (RFC 5321 §4.2.2), and 555 for parameters (§4.1.1.11), unless an enhanced code
    blames the address.
    """
    if not (500 <= reply.code <= 504 or reply.code == 555):
        return False
    return not _ABOUT_ADDRESS.match(reply.enhanced or "")


@dataclass(slots=True)
class Answers:
    """What the server said about an envelope; None for commands that were not sent.

    - ``refused`` are the refusals in ``rcpt``. The recipients among them that are ``left`` are for
      another transaction.
    - ``full`` is the reply that said that no more recipients fit, ``room`` how many it had accepted
      by then.
    - ``crowded`` is true if more were refused after five permanent refusals, maybe because of them.
    - ``tarpits`` is true if a permanent refusal took more than 5 s.
    - ``seconds`` is the time from MAIL to the answer to DATA.
    """

    mail: Reply | None = None
    rcpt: dict[str, Reply] = field(default_factory=dict)
    refused: dict[str, Reply] = field(default_factory=dict)
    data: Reply | None = None
    left: tuple[str, ...] = ()
    full: Reply | None = None
    room: int = 0
    crowded: bool = False
    tarpits: bool = False
    seconds: float = 0.0
    _permanent: int = 0  # refusals

    def add(self, recipient: str, reply: Reply, seconds: float = 0.0) -> None:
        """Note ``reply`` to RCPT for ``recipient``, which took ``seconds``."""
        self.rcpt[recipient] = reply
        if reply.positive:
            return
        self.refused[recipient] = reply
        if self.accepted and too_many(reply):
            self._leave(recipient, reply)
            return
        if self.penalising:
            self.left += (recipient,)
            self.crowded = True
        else:
            self._permanent += reply.permanent
        # Not for a transient refusal: breaking it off would mean to wait for it again.
        self.tarpits = self.tarpits or (reply.permanent and seconds > _TARPIT)

    def leave(self, recipients: Sequence[str]) -> None:
        """Leave ``recipients``, who were not asked for, to another transaction."""
        for recipient in recipients:
            self.add(recipient, self.full or NOT_ASKED)

    @property
    def accepted(self) -> int:
        """How many recipients the content can be sent to; none if MAIL was refused."""
        begun = self.mail is not None and self.mail.positive
        return len(self.rcpt) - len(self.refused) if begun else 0

    @property
    def enough(self) -> bool:
        """Whether the accepted recipients get the message before others are asked for."""
        return self.full is not None or (self.tarpits and self.accepted > 0)

    @property
    def penalising(self) -> bool:
        """Whether the server may refuse further recipients because of those before."""
        return self.tarpits or self._permanent >= _PATIENCE

    @property
    def slow_refusals(self) -> bool:
        """Whether recipients were refused, and the answers took more than 2 s in all."""
        return self.seconds > _SLOW and bool(self.refused)

    @property
    def confused(self) -> bool:
        """Whether the server may not have understood the commands or their parameters."""
        if self.mail is None or not self.mail.positive:
            return self.mail is not None and _misunderstood(self.mail)
        return any(map(_misunderstood, self.refused.values()))

    def _leave(self, recipient: str, reply: Reply) -> None:
        self.left += (recipient,)
        if self.full is None and no_room(recipient, reply):
            self.full, self.room = reply, self.accepted


def unable_to_carry(envelope: Envelope, offered: Capabilities) -> TransportResult | None:
    """The outcome without sending anything, if the server cannot or must not get the message."""
    if offered.size is not None and envelope.size > offered.size:
        return _unable(
            Stage.CONTENT,
            Fault.TOO_BIG,
            mark(
                "The message has %(size)s bytes, and the server takes at most %(most)s.",
                size=format(envelope.size, ","),
                most=format(offered.size, ","),
            ),
        )
    try:
        commands.check(envelope)
    except AddressError as error:
        return _unable(Stage.RECIPIENT, Fault.ADDRESS_UNUSABLE, said_by(error))
    except ContentError as error:
        return _unable(Stage.CONTENT, Fault.CONTENT_UNSAFE, said_by(error))
    if not offered.smtputf8 and (envelope.smtputf8 or not envelope.sender.isascii()):
        return _unable(
            Stage.SENDER,
            Fault.SMTPUTF8_MISSING,
            mark(
                "An address in its header has international characters before the @, and the "
                "server does not support those (SMTPUTF8)."
            ),
        )
    if not (offered.eight_bit or envelope.content.isascii()):
        return _unable(
            Stage.CONTENT,
            Fault.CONTENT_UNSAFE,
            mark("The content is not encoded in 7 bits, and the server accepts nothing else."),
        )
    return None


def _unable(stage: Stage, fault: Fault, note: str) -> TransportResult:
    return TransportResult(
        result=Result.PERMANENT, stage=stage, reply=None, verdicts={}, note=note, fault=fault
    )


def out_of_reach(envelope: Envelope, offered: Capabilities) -> dict[str, Reply]:
    """The recipients who need SMTPUTF8 (RFC 6531 §3.2) if the server lacks it, each with why."""
    if offered.smtputf8 or "".join(envelope.recipients).isascii():
        return {}
    return {address: _beyond(address) for address in envelope.recipients if not address.isascii()}


def _beyond(address: str) -> Reply:
    return Reply(
        553,
        "5.6.7",
        mark(
            "%(address)s was not tried: it has international characters before the @, and the "
            "server does not support those (it does not offer SMTPUTF8).",
            address=address,
        ),
    )


def nobody_in_reach(beyond: Mapping[str, Reply]) -> TransportResult:
    """The outcome if all recipients are ``beyond`` the server's reach."""
    first = next(iter(beyond.values()))
    return TransportResult(
        result=Result.PERMANENT,
        stage=Stage.RECIPIENT,
        reply=first,
        verdicts=beyond,
        note=first.text,
        fault=Fault.SMTPUTF8_MISSING,
    )


def concluded(answers: Answers, final: Reply) -> TransportResult:
    """The outcome of ``answers`` and ``final``, the answer to the final dot or to DATA."""
    verdicts = dict.fromkeys(answers.rcpt, final)
    verdicts.update(answers.refused)
    # At least one recipient was accepted, so this answer decides.
    result, fault = Result.ACCEPTED, None
    if not final.positive:
        result, fault = result_of(verdicts.values()), fault_of(Stage.CONTENT, final)
    return TransportResult(
        result=result,
        stage=Stage.CONTENT,
        reply=final,
        verdicts=verdicts,
        fault=fault,
        provider_id=provider_id(final) if result is Result.ACCEPTED else None,
        left=answers.left,
        # If others were accepted later there was room, and the reply meant something else.
        room=answers.room if answers.full and answers.room == answers.accepted else None,
        crowded=answers.crowded,
    )


def provider_id(reply: Reply) -> str | None:
    """What the server calls the message that it has taken; None where it gives no such name.

    What mail servers call it in their queue is shorter, and is none: it follows from the time, and
    whoever guesses it could write a report about the message.
    """
    found = _NAMED.fullmatch(reply.text)
    return found[1] if found else None


def decided(stage: Stage, verdicts: dict[str, Reply]) -> TransportResult:
    """The outcome of a message that nobody got: ``verdicts`` are all refusals."""
    result = result_of(verdicts.values())
    permanent = result is Result.PERMANENT
    replies = verdicts.values()
    reply = next((reply for reply in replies if reply.transient or permanent), None)
    fault = fault_of(stage, reply) if reply else None
    return TransportResult(result=result, stage=stage, reply=reply, verdicts=verdicts, fault=fault)


def settled(envelope: Envelope, answers: Answers) -> TransportResult | None:
    """The outcome if the sender or every recipient was refused, else None."""
    if answers.mail is not None and not answers.mail.positive:
        return decided(Stage.SENDER, dict.fromkeys(envelope.recipients, answers.mail))
    if not answers.accepted and len(answers.rcpt) == len(set(envelope.recipients)):
        outcome = decided(Stage.RECIPIENT, answers.rcpt)
        outcome.left, outcome.crowded = answers.left, answers.crowded
        return outcome
    return None


def turned_away(
    envelope: Envelope, answers: Answers, stage: Stage, reply: Reply
) -> TransportResult:
    """The outcome if the server closed with ``reply`` at ``stage``, before it had the content."""
    verdicts = dict.fromkeys(envelope.recipients, reply) | answers.refused
    left = answers.left
    if answers.penalising:
        judged = answers.refused.keys() - set(left)
        left = tuple(address for address in envelope.recipients if address not in judged)
    return TransportResult(
        result=result_of(verdicts.values()),
        stage=stage,
        reply=reply,
        verdicts=verdicts,
        fault=fault_of(stage, reply),
        left=left,
        crowded=answers.penalising,
    )


def unknown(answers: Answers) -> TransportResult:
    """The outcome if the answer to the final dot never came (RFC 1047)."""
    return TransportResult(
        result=Result.AMBIGUOUS,
        stage=Stage.CONTENT,
        reply=None,
        verdicts=answers.refused,
        note=_UNKNOWN_OUTCOME,
        fault=Fault.UNKNOWN_OUTCOME,
        left=answers.left,
    )


def trouble(envelope: Envelope, outcome: TransportResult, login: str) -> TransportError | None:
    """The trouble that a refused message shows, None if the refusal is about the message.

    ``login`` is who has logged in, empty for nobody.
    """
    if outcome.stage not in (Stage.SENDER, Stage.RECIPIENT):
        return None
    at_rcpt = outcome.stage is Stage.RECIPIENT
    for address, reply in outcome.verdicts.items():
        if address in outcome.left:
            continue
        about = {"recipient": address} if at_rcpt else {"login": login}
        if refuses_us(reply, sender=envelope.sender, **about):
            fault = named_by(reply, sender=envelope.sender, **about)
            return _trouble(envelope, outcome.stage, reply, fault)
    return None


def _trouble(envelope: Envelope, stage: Stage, reply: Reply, fault: Fault | None) -> TransportError:
    text = _REFUSED.get(fault, _REFUSED_SENDER) if fault else _REFUSED_THIS
    return TransportError(
        mark(text, reply=str(reply), sender=envelope.sender),
        stage=stage,
        reply=reply,
        transient=reply.transient,
        fault=fault,
    )
