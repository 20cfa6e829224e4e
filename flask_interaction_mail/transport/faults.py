"""What a refusal is about: from stage and reply to one word. Pure.

The reply code decides between transient and permanent; enhanced code and text only decide
which advice fits.
"""

from __future__ import annotations

import re
from typing import Final

from ..outcome import Fault, Reply, Stage

_NEEDS_LOGIN: Final = re.compile(
    r"authenticat\w* (is )?(required|needed|first)|(must|need to|please|not) (be )?authenticat"
    r"|not (been )?(authenticated|logged in)|requires? authenticat|smtp auth"
    r"|log ?in (is )?required",
    re.IGNORECASE,
)
_NEEDS_TLS: Final = re.compile(
    r"starttls|(encrypt\w*|tls|secure connection|ssl) (is )?(required|needed)", re.IGNORECASE
)
_NO_RELAY: Final = re.compile(
    r"relay(ing)?( access)?( is| was)? (denied|not|prohibited|disallowed|refused|rejected)"
    r"|(un(able)?|not( \w+)?|refused?|cannot|can't|don't|do not|won't) (to )?relay"
    r"|relay(ing)? (mail )?(to|for) .{0,80}(denied|prohibited|not (allowed|permitted))"
    r"|not in my (list of )?(rcpthosts|domain|relay)|rcpthosts"
    r"|\bno relay|mail relay(ing)? (is )?(denied|prohibited)",
    re.IGNORECASE,
)
_UNKNOWN: Final = re.compile(
    r"(no|unknown|invalid|not a valid) (such )?(user|recipient|mailbox|person|account|address)"
    r"|(user|recipient|mailbox|account|address)\b.{0,60}"
    r"(unknown|not found|does ?n[o']t exist|does not exist|unavailable|invalid)",
    re.IGNORECASE,
)
_GREYLISTED: Final = re.compile(r"gr[ae]y-?\s?list|try again (in|later)|postgrey", re.IGNORECASE)
_FULL: Final = re.compile(r"(over|exceed\w*|out of).{0,20}quota|(mailbox|inbox).{0,20}full", re.I)
_BIG: Final = re.compile(r"too (big|large)|exceeds.{0,40}size|size.{0,40}(exceed|limit)", re.I)


def fault_of(stage: Stage, reply: Reply) -> Fault:
    """Why ``reply`` refused at ``stage``, one of SENDER, RECIPIENT and CONTENT."""
    if reply.permanent and (fault := _for_want_of_authentication(reply)):
        return fault
    match stage:
        case Stage.SENDER:
            return Fault.SENDER_TRANSIENT if reply.transient else Fault.SENDER_REFUSED
        case Stage.RECIPIENT:
            return _of_recipient(reply)
    if reply.permanent and (reply.enhanced in ("5.3.4", "5.2.3") or _BIG.search(reply.text)):
        return Fault.TOO_BIG
    return Fault.CONTENT_TRANSIENT if reply.transient else Fault.CONTENT_REFUSED


def _for_want_of_authentication(reply: Reply) -> Fault | None:
    if _NEEDS_TLS.search(reply.text):
        return Fault.ENCRYPTION_REQUIRED
    if reply.code == 530 or _NEEDS_LOGIN.search(reply.text):
        return Fault.AUTH_REQUIRED
    return Fault.RELAY_DENIED if _NO_RELAY.search(reply.text) else None


def _of_recipient(reply: Reply) -> Fault:
    detail = (reply.enhanced or "")[2:]
    if detail == "2.2" or _FULL.search(reply.text):
        return Fault.MAILBOX_FULL
    if reply.transient:
        grey = _GREYLISTED.search(reply.text)
        return Fault.RECIPIENT_GREYLISTED if grey else Fault.RECIPIENT_TRANSIENT
    if detail in ("1.1", "1.3", "1.6", "1.10") or _UNKNOWN.search(reply.text):
        return Fault.RECIPIENT_UNKNOWN
    return Fault.RECIPIENT_REFUSED
