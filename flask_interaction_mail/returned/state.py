"""What a report makes of a recipient, by the words that the standard has for it."""

from __future__ import annotations

import re
from typing import Final

from ..values import Status

_ENHANCED: Final = re.compile(r"\b([245]\.\d{1,3}\.\d{1,3})\b")  # RFC 3463 §2
_REPLY: Final = re.compile(r"(?:^|;|\s)([245]\d\d)(?=[ -]|$)")
_UNCLEAR: Final = ".0.0"  # other or undefined: the server did not look closer
# No mailbox, a mailbox or domain that takes no mail, and one that is switched off (RFC 3463 §3.2,
# RFC 7505 §4). Not 5.1.2: servers say that of one that is down.
_DEAD: Final = ("5.1.1", "5.1.10", "5.2.1")
_GIVEN_UP: Final = "4.4.7"  # delivery time expired


_BY_ACTION: Final = {  # RFC 3464 §2.3.3
    "failed": Status.BOUNCED,
    "delivered": Status.DELIVERED,
    "relayed": Status.PASSED_ON,
    "expanded": Status.PASSED_ON,
    "delayed": Status.DELAYED,
}


def state_of(action: str, code: str, *, retried: bool, explained: bool) -> Status | None:
    """What became of a recipient; None where the report tells none.

    ``action`` is the first word of that field, in lower case. Servers give final failures a code
    that begins with 4, so the code counts only where there is no action. ``retried`` says that
    a time is named until which the server tries, ``explained`` that there is a Diagnostic-Code.
    """
    state = _BY_ACTION.get(action)
    if state is Status.DELAYED and code == _GIVEN_UP and not (retried or explained):
        return Status.BOUNCED  # how OpenSMTPD says that it has given up
    if not action and code.startswith("5"):
        return Status.BOUNCED
    return state


def tells_dead(state: Status | None, code: str) -> bool:
    """Whether a report with this ``state`` and ``code`` says that the address does not exist."""
    return state is Status.BOUNCED and code in _DEAD


def reason_code(status: str, diagnostic: str) -> str:
    """Why, as a code: where ``status`` is unclear, the one in ``diagnostic`` says more.

    First an enhanced status, then a reply code; "" where there is neither.
    """
    stated = _ENHANCED.search(status)
    if stated and not stated[1].endswith(_UNCLEAR):
        return stated[1]
    if told := _ENHANCED.search(diagnostic) or _REPLY.search(diagnostic):
        return told[1]
    return stated[1] if stated else ""
