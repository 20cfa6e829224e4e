"""Names what a refusal is about, from its reply and stage. Pure.

The reply code decides between transient and permanent. Enhanced code (RFC 3463, RFC 5248,
RFC 7372, RFC 7505) and text say what is refused, at any stage: Postfix, for example, refuses
client, HELO and sender in its answer to RCPT. The stage decides only if they say nothing.
``refuses_us`` then decides whether the message has failed or delivery waits for the server.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from ...outcome import Fault, Reply, Stage


def _words(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


_NEEDS_TLS: Final = _words(
    r"starttls|(encrypt\w*|tls|secure connection|ssl) (is )?(required|needed)"
)
# These are about the recipient, such as the rights of a mailing list, even if they also mention a
# sender or a client.
_RECIPIENT: Final = _words(
    r"recipient address rejected|resolver\.rst"
    r"|to (this|the|that) (group|list|recipient|mailbox|user|address)"
    r"|by (the |this |its )?recipient\b|\brecipient'?s? (does|has|will|domain)\b"
)
_GREYLISTED: Final = _words(r"gr[ae]y-?\s?list|postgrey")
_RELAYS_AS: Final = _words(r"relay\w* disallowed as|sender is not allowed to relay")
_NO_CREDENTIALS: Final = _words(r"invalid credentials")
_NO_RELAY: Final = _words(
    r"relay(ing)?( access)?( is| was)? (denied|not|prohibited|disallowed|refused|rejected)"
    r"|(un(able)?|not( \w+)?|refused?|cannot|can't|don't|do not|won't) (to )?relay"
    r"|relay(ing)? (mail )?(to|for) .{0,80}(denied|prohibited|not (allowed|permitted))"
    r"|not in my (list of )?(rcpthosts|domain|relay)|rcpthosts"
    r"|\bno relay|mail relay(ing)? (is )?(denied|prohibited)"
)
_NEEDS_LOGIN: Final = _words(
    r"authenticat\w* (is )?(required|needed|first)|(must|need to|please|not) (be )?authenticat"
    r"|not (been )?(authenticated|logged in)|requires? authenticat|smtp auth"
    r"|log ?in (is )?required|(must|need to|please) (first )?log ?in|unauthenticated senders?\b"
    r"|\bauth (command )?first\b"
    r"|authentication (failed|unsuccessful)"
)
_SENDER: Final = _words(
    r"sender'?s? (e-?mail )?(address|domain|identity|verif|mailbox)|(address|domain) of sender"
    r"|(invalid|bad|unknown|unauthori[sz]ed|outbound) sender|not local sender"
    r"|sender (is |was |has been )?(not|rejected|denied|refused|block|black|bann)"
    r"|(?-i:MAIL FROM)|\bbadmailfrom\b|\benvelope.(from|sender)\b|\bfrom:? address"
    r"|return[- ]path|(as|for) this sender"
    r"|\bsend as\b|sendasdenied|not owned by|e-?mail address is not verified|\bspf\b"
)
_HELO: Final = _words(r"\b(helo|ehlo)\b")
_CLIENT: Final = _words(
    r"client host|client ip|\b(sending|this|banned|client'?s?) (ip|host)\b|ip you'?re using"
    r"|(?<!contact )\byour (ip|host)\b|client (is |was |has been )?(block|black|bann)|banned sender"
    r"|from (the |your )?(ip )?(address |range )*\[?"
    r"(\d{1,3}(\.\d{1,3}){3}|(ipv6:)?[\da-f]*:[\da-f:]*:)"
    r"|\bip range|sending (limit|quota|rate)"
    r"|ip address sending|ip name lookup|connections? not accepted|(host )?network not allowed"
    r"|reverse dns|\brdns\b|dns ptr|ptr record|find your (host|reverse)"
    r"|too (much mail|many (connections|messages|recipients)) from"
    r"|\b(ip|host|client|server)\b.{0,80}(black|block|deny) ?list"
    r"|(black|block|deny) ?list.{0,40}\b(ip|host|client)\b|blocked (ip|using)"
    r"|spamhaus|\b(dnsbl|rbl)\b"
)
# In this order: "Relaying denied. Proper authentication required." denies the relay.
_BY_TEXT: Final = (
    (_RELAYS_AS, Fault.SENDER_REFUSED),
    (_NO_CREDENTIALS, Fault.AUTH_REQUIRED),
    (_NO_RELAY, Fault.RELAY_DENIED),
    (_NEEDS_LOGIN, Fault.AUTH_REQUIRED),
    (_HELO, Fault.HELO_REFUSED),
    (_SENDER, Fault.SENDER_REFUSED),
    (_CLIENT, Fault.CLIENT_REFUSED),
)
# By enhanced code, without its class.
_BY_CODE: Final = {
    "1.7": Fault.SENDER_REFUSED,
    "1.8": Fault.SENDER_REFUSED,
    "7.8": Fault.AUTH_REQUIRED,
    "7.23": Fault.SENDER_REFUSED,  # SPF
    "7.24": Fault.SENDER_REFUSED,
    "7.25": Fault.CLIENT_REFUSED,  # its name
    "7.27": Fault.SENDER_REFUSED,  # its domain takes no mail
    "7.60": Fault.SENDER_REFUSED,  # Exchange
}
# The first line is about the content (DKIM, DMARC, ARC) or the address of the recipient.
_OF_MESSAGE: Final = (
    *("7.20", "7.21", "7.22", "7.26", "7.29", "1.1", "1.2", "1.6", "1.10"),
    *("7.120", "7.124", "7.129", "7.133", "7.134"),  # Exchange: who may write to the recipient
)
# A refusal for one of these would hit the next message, too.
_OURS: Final = (
    Fault.SENDER_REFUSED,
    Fault.SENDER_TRANSIENT,
    Fault.HELO_REFUSED,
    Fault.CLIENT_REFUSED,
    Fault.AUTH_REQUIRED,
)
_UNKNOWN: Final = _words(
    r"(no|unknown|invalid|not a valid) (such )?(user|recipient|mailbox|person|account|address)"
    r"|(user|recipient|mailbox|account|address)\b.{0,60}"
    r"(unknown|not found|does ?n[o']t exist|does not exist|unavailable|invalid)"
)
_LATER: Final = _words(r"try again (in|later)")
_FULL: Final = _words(r"(over|exceed\w*|out of).{0,20}quota|(mailbox|inbox).{0,20}full")
_BIG: Final = _words(r"too (big|large)|exceeds.{0,40}size|size.{0,40}(exceed|limit)")


def fault_of(
    stage: Stage, reply: Reply, *, sender: str = "", recipient: str = "", login: str = ""
) -> Fault:
    """Why ``reply`` refused at ``stage``, one of SENDER, RECIPIENT and CONTENT.

    ``sender`` is the envelope sender, ``recipient`` the address in RCPT, ``login`` who has logged
    in. ``login`` is searched for only in answers to MAIL: elsewhere it may be a mailbox.
    """
    login = login if stage is Stage.SENDER else ""
    if fault := named_by(reply, sender=sender, recipient=recipient, login=login):
        return fault
    reply = _besides(recipient, reply)
    if reply.code == 421 and not _GREYLISTED.search(reply.text):
        return Fault.GREETING_TRANSIENT  # the server closes the connection, whatever the command
    match stage:
        case Stage.SENDER:
            return Fault.SENDER_TRANSIENT if reply.transient else Fault.SENDER_REFUSED
        case Stage.RECIPIENT:
            return _of_recipient(reply)
    if reply.permanent and (reply.enhanced in ("5.3.4", "5.2.3") or _BIG.search(reply.text)):
        return Fault.TOO_BIG
    return Fault.CONTENT_TRANSIENT if reply.transient else Fault.CONTENT_REFUSED


def refuses_us(reply: Reply, *, sender: str = "", recipient: str = "", login: str = "") -> bool:
    """Whether ``reply`` refuses envelope sender, HELO, client or login, by name."""
    if reply.positive:
        return False
    fault = named_by(reply, sender=sender, recipient=recipient, login=login)
    return reply.code == 530 or fault in _OURS


def named_by(
    reply: Reply, *, sender: str = "", recipient: str = "", login: str = ""
) -> Fault | None:
    """What ``reply`` refuses by name, other than recipient and content; None for neither.

    Arguments as for ``fault_of``.
    """
    text, detail = _besides(recipient, reply).text, (reply.enhanced or "")[2:]
    if reply.positive or detail in _OF_MESSAGE or _RECIPIENT.search(text):
        return None
    if _NEEDS_TLS.search(text):
        return Fault.ENCRYPTION_REQUIRED
    if reply.transient and _GREYLISTED.search(text):
        return None  # about this pair of sender and recipient, and soon over
    found = next((fault for words, fault in _BY_TEXT if words.search(text)), _BY_CODE.get(detail))
    if found is None and reply.code == 530:
        return Fault.AUTH_REQUIRED
    if found is None and sender and sender.lower() in text.lower():
        found = Fault.SENDER_REFUSED
    if found is None and login and _word(login).search(text):
        found = Fault.AUTH_REQUIRED
    transient = reply.transient and found is Fault.SENDER_REFUSED
    return Fault.SENDER_TRANSIENT if transient else found


def _word(text: str) -> re.Pattern[str]:
    return _words(rf"(?<![\w.@+-]){re.escape(text)}(?![\w@-])")


def _besides(recipient: str, reply: Reply) -> Reply:
    """``reply`` without the address of ``recipient``, so that words in it decide nothing."""
    if not recipient:
        return reply
    return replace(reply, text=re.sub(re.escape(recipient), "", reply.text, flags=re.IGNORECASE))


def _of_recipient(reply: Reply) -> Fault:
    detail = (reply.enhanced or "")[2:]
    if detail == "2.2" or _FULL.search(reply.text):
        return Fault.MAILBOX_FULL
    if reply.transient:
        grey = _GREYLISTED.search(reply.text) or _LATER.search(reply.text)
        return Fault.RECIPIENT_GREYLISTED if grey else Fault.RECIPIENT_TRANSIENT
    if detail in ("1.1", "1.3", "1.6", "1.10") or _UNKNOWN.search(reply.text):
        return Fault.RECIPIENT_UNKNOWN
    return Fault.RECIPIENT_REFUSED
