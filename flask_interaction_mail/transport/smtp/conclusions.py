"""From the answers to one message to its outcome. Pure; the same however the answers were got."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from ...errors import AddressError, ContentError, TransportError
from ...outcome import Fault, Reply, Result, Stage, result_of
from ..base import Envelope, TransportResult
from . import commands
from .faults import fault_of, named_by, refuses_us
from .replies import Capabilities

_UNKNOWN_OUTCOME: Final = (
    "The whole message was handed over, then the connection ended or stayed silent. "
    "Whether the server took it is unknown."
)
# Class and subject of an enhanced code (RFC 3463), also where it does not fit the reply's own.
_ENHANCED: Final = re.compile(r"[245]\.(\d{1,3}\.\d{1,3})\b")

_PATIENCE: Final = 5  # refusals for good that a server is not known to hold against others
# Servers delay refusals once a connection has had some, each for longer than the last one; on a new
# connection the delays start over. This many seconds for one envelope are a sign of it.
_SLOW: Final = 2.0
_HELD_BACK: Final = 5.0  # s that a refusal takes where the next one takes longer
NOT_ASKED: Final = Reply(
    451, None, "Not asked for yet: the server held back its refusal of another recipient."
)
_ABOUT_ADDRESS: Final = re.compile(r"5\.1\.\d")

_REFUSED: Final = {
    Fault.CLIENT_REFUSED: "this machine",
    Fault.HELO_REFUSED: "the name that this machine gives in EHLO",
    Fault.AUTH_REQUIRED: "mail without a login that may send it",
    Fault.ENCRYPTION_REQUIRED: "mail without encryption",
}


def too_many(reply: Reply) -> bool:
    """Whether ``reply`` to RCPT says that no more recipients fit into this transaction.

    It is 452, or 552 for the servers of old (RFC 5321 §4.5.3.1.10); both are also said of a
    mailbox that is full, so that it takes another recipient's acceptance to mean this.
    """
    if reply.code not in (452, 552):
        return False
    if found := _ENHANCED.match(reply.enhanced or reply.text):
        return found[1] == "5.3"
    return reply.code == 552 or "too many recipients" in reply.text.lower()


def no_room(recipient: str, reply: Reply) -> bool:
    """The same without those that speak of a mailbox.

    One that is full fills no transaction: it gets its verdict at the head of one.
    """
    full = fault_of(Stage.RECIPIENT, reply, recipient=recipient) is Fault.MAILBOX_FULL
    return too_many(reply) and not full


def of_the_exchange(reply: Reply) -> bool:
    """Whether ``reply`` to MAIL or RCPT may say that the commands were not understood.

    500 to 504 do (RFC 5321 §4.2.2), unless an enhanced code says that it is the address.
    """
    if not 500 <= reply.code <= 504:
        return False
    return not _ABOUT_ADDRESS.match(reply.enhanced or "")


@dataclass(slots=True)
class Answers:
    """What the server said to an envelope; None for what was not asked.

    Those of the refused who are ``left`` are for another transaction. ``full`` is what the server
    said when no more fitted into this one, and ``room`` how many it had accepted by then. After
    five who were refused for good, a refusal may be because of these.
    """

    mail: Reply | None = None
    rcpt: dict[str, Reply] = field(default_factory=dict)
    refused: dict[str, Reply] = field(default_factory=dict)  # of these
    data: Reply | None = None
    left: tuple[str, ...] = ()
    full: Reply | None = None
    room: int = 0
    crowded: bool = False
    held_back: bool = False  # a refusal for good took more than 5 s
    seconds: float = 0.0  # from MAIL to the answer to DATA
    _bad: int = 0

    def about(self, recipient: str, reply: Reply, seconds: float = 0.0) -> None:
        """``reply`` was the answer to RCPT for ``recipient``, and took ``seconds``."""
        self.rcpt[recipient] = reply
        if reply.positive:
            return
        self.refused[recipient] = reply
        if self.accepted and too_many(reply):
            self._leave(recipient, reply)
            return
        if self.impatient:
            self.left += (recipient,)
            self.crowded = True
        else:
            self._bad += reply.permanent
        # Nobody else's: whoever waits for an answer "not now" would wait for it again.
        self.held_back = self.held_back or (reply.permanent and seconds > _HELD_BACK)

    def leave(self, recipients: Sequence[str]) -> None:
        """Nobody asked for ``recipients``: no more fitted in, or refusals were held back."""
        for recipient in recipients:
            self.about(recipient, self.full or NOT_ASKED)

    @property
    def accepted(self) -> int:
        """How many there are to send the content to; without MAIL nobody is."""
        begun = self.mail is not None and self.mail.positive
        return len(self.rcpt) - len(self.refused) if begun else 0

    @property
    def enough(self) -> bool:
        """Whether those who were accepted are to get the message before others are asked for."""
        return self.full is not None or (self.held_back and self.accepted > 0)

    @property
    def impatient(self) -> bool:
        """Whether the server may hold what it refused against the others."""
        return self.held_back or self._bad >= _PATIENCE

    @property
    def slow_refusals(self) -> bool:
        """Whether there were refusals, and the answers took more than 2 s in all."""
        sender_refused = self.mail is not None and not self.mail.positive
        return self.seconds > _SLOW and (sender_refused or bool(self.refused))

    @property
    def confused(self) -> bool:
        """Whether a refusal may be of commands that came together."""
        if self.mail is None or not self.mail.positive:
            return self.mail is not None and of_the_exchange(self.mail)
        return any(map(of_the_exchange, self.refused.values()))

    def _leave(self, recipient: str, reply: Reply) -> None:
        self.left += (recipient,)
        if self.full is None and no_room(recipient, reply):
            self.full, self.room = reply, self.accepted


def unable_to_carry(envelope: Envelope, offered: Capabilities) -> TransportResult | None:
    """A verdict without a byte sent, where the server cannot or must not get the message."""
    if offered.size is not None and envelope.size > offered.size:
        return _unable(
            Stage.CONTENT,
            Fault.TOO_BIG,
            f"The message has {envelope.size:,} bytes, "
            f"and the server takes at most {offered.size:,}.",
        )
    try:
        commands.check(envelope)
    except AddressError as error:
        return _unable(Stage.RECIPIENT, Fault.ADDRESS_UNUSABLE, str(error))
    except ContentError as error:
        return _unable(Stage.CONTENT, Fault.CONTENT_UNSAFE, str(error))
    if not offered.smtputf8 and (envelope.smtputf8 or not envelope.sender.isascii()):
        return _unable(
            Stage.SENDER,
            Fault.SMTPUTF8_MISSING,
            "An address in its header has international characters before the @, and the server "
            "does not know those (SMTPUTF8).",
        )
    if not (offered.eight_bit or envelope.content.isascii()):
        return _unable(
            Stage.CONTENT,
            Fault.CONTENT_UNSAFE,
            "The content is not encoded in 7 bits, and the server takes nothing else.",
        )
    return None


def _unable(stage: Stage, fault: Fault, note: str) -> TransportResult:
    return TransportResult(
        result=Result.PERMANENT, stage=stage, reply=None, verdicts={}, note=note, fault=fault
    )


def out_of_reach(envelope: Envelope, offered: Capabilities) -> dict[str, Reply]:
    """Whom a server that offers no SMTPUTF8 cannot be asked for (RFC 6531 §3.2), and why not."""
    if offered.smtputf8 or "".join(envelope.recipients).isascii():
        return {}
    return {one: _beyond(one) for one in envelope.recipients if not one.isascii()}


def _beyond(address: str) -> Reply:
    return Reply(
        553,
        "5.6.7",
        f"{address} was not tried: it has international characters before the @, and the server "
        "does not take those (it offers no SMTPUTF8).",
    )


def nobody_in_reach(beyond: Mapping[str, Reply]) -> TransportResult:
    """A message all of whose recipients are out of the server's reach."""
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
    """What ``final``, the answer to the dot or to DATA, makes of the ``answers`` before."""
    verdicts = dict.fromkeys(answers.rcpt, final)
    verdicts.update(answers.refused)
    # Somebody was accepted, or there would be no content: with it, its answer decides.
    result, fault = Result.ACCEPTED, None
    if not final.positive:
        result, fault = result_of(verdicts.values()), fault_of(Stage.CONTENT, final)
    return TransportResult(
        result=result,
        stage=Stage.CONTENT,
        reply=final,
        verdicts=verdicts,
        fault=fault,
        left=answers.left,
        # Who was accepted later had room as well, and what was refused was something else.
        room=answers.room if answers.full and answers.room == answers.accepted else None,
        crowded=answers.crowded,
    )


def decided(stage: Stage, verdicts: dict[str, Reply]) -> TransportResult:
    """A message that nobody got, because of ``verdicts`` that are all refusals."""
    result = result_of(verdicts.values())
    reply = next(
        (one for one in verdicts.values() if one.transient or result is Result.PERMANENT), None
    )
    fault = fault_of(stage, reply) if reply else None
    return TransportResult(result=result, stage=stage, reply=reply, verdicts=verdicts, fault=fault)


def settled(envelope: Envelope, answers: Answers) -> TransportResult | None:
    """The verdict, if sender or every recipient was refused; whatever came afterwards."""
    if answers.mail is not None and not answers.mail.positive:
        return decided(Stage.SENDER, dict.fromkeys(envelope.recipients, answers.mail))
    if not answers.accepted and len(answers.rcpt) == len(set(envelope.recipients)):
        delivery = decided(Stage.RECIPIENT, answers.rcpt)
        delivery.left, delivery.crowded = answers.left, answers.crowded
        return delivery
    return None


def turned_away(
    envelope: Envelope, answers: Answers, stage: Stage, reply: Reply
) -> TransportResult:
    """The server took its leave with ``reply`` at ``stage``, before it had the content."""
    verdicts = dict.fromkeys(envelope.recipients, reply) | answers.refused
    left = answers.left
    if answers.impatient:
        judged = answers.refused.keys() - set(left)
        left = tuple(one for one in envelope.recipients if one not in judged)
    return TransportResult(
        result=result_of(verdicts.values()),
        stage=stage,
        reply=reply,
        verdicts=verdicts,
        fault=fault_of(stage, reply),
        left=left,
        crowded=answers.impatient,
    )


def unknown(answers: Answers) -> TransportResult:
    """The final dot is out and the answer to it never came (RFC 1047)."""
    return TransportResult(
        result=Result.AMBIGUOUS,
        stage=Stage.CONTENT,
        reply=None,
        verdicts=answers.refused,
        note=_UNKNOWN_OUTCOME,
        fault=Fault.UNKNOWN_OUTCOME,
        left=answers.left,
    )


def trouble(envelope: Envelope, delivery: TransportResult, login: str) -> TransportError | None:
    """What a ``delivery`` that nobody got tells of the server, if it is not about the message.

    ``login`` is who has logged in, empty for nobody.
    """
    if delivery.stage not in (Stage.SENDER, Stage.RECIPIENT):
        return None
    at_rcpt = delivery.stage is Stage.RECIPIENT
    judged = (one for one in delivery.verdicts.items() if one[0] not in delivery.left)
    for asked, reply in judged:
        about = {"recipient": asked} if at_rcpt else {"login": login}
        if refuses_us(reply, sender=envelope.sender, **about):
            fault = named_by(reply, sender=envelope.sender, **about)
            return _trouble(envelope, delivery.stage, reply, fault)
    return None


def _trouble(envelope: Envelope, stage: Stage, reply: Reply, fault: Fault | None) -> TransportError:
    what = _REFUSED.get(fault, f"mail from {envelope.sender}") if fault else "this"
    return TransportError(
        f"The server does not accept {what}: {reply}",
        stage=stage,
        reply=reply,
        transient=reply.transient,
        fault=fault,
    )
