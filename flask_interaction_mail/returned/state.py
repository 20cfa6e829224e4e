"""What a report makes of a recipient, by the words that the standard has for it."""

from __future__ import annotations

import enum
import re
from typing import Final

_STATUS: Final = re.compile(r"\b([245]\.\d{1,3}\.\d{1,3})\b")  # RFC 3463 §2
_REPLY: Final = re.compile(r"(?:^|;|\s)([245]\d\d)(?=[ -]|$)")
_UNCLEAR: Final = ".0.0"  # other or undefined: the server did not look closer
_GIVEN_UP: Final = "4.4.7"  # delivery time expired


class State(enum.StrEnum):
    """What came back for a recipient of a message that the first server took; the best last."""

    BOUNCED = "bounced"  # did not arrive
    DELIVERED = "delivered"  # in the mailbox, or at the next server where that does not report
    PASSED_ON = "passed_on"  # at a server that reports no more, or sent on to other addresses
    DELAYED = "delayed"  # a server still tries

    @property
    def weight(self) -> int:
        """Grows with what the state says; whatever came first, the heaviest stands."""
        return _WEIGHTS[self]


_WEIGHTS: Final = {state: len(State) - place for place, state in enumerate(State)}
_BY_ACTION: Final = {  # RFC 3464 §2.3.3
    "failed": State.BOUNCED,
    "delivered": State.DELIVERED,
    "relayed": State.PASSED_ON,
    "expanded": State.PASSED_ON,
    "delayed": State.DELAYED,
}


def state_of(action: str, code: str, *, retried: bool, explained: bool) -> State | None:
    """The state of a recipient; None where the report tells none.

    ``action`` is the first word of that field, in lower case. Servers give final failures a code
    that begins with 4, so the code counts only where there is no action. ``retried`` says that
    a time is named until which the server tries, ``explained`` that there is a Diagnostic-Code.
    """
    state = _BY_ACTION.get(action)
    if state is State.DELAYED and code == _GIVEN_UP and not (retried or explained):
        return State.BOUNCED  # how OpenSMTPD says that it has given up
    if state is None and code.startswith("5"):
        return State.BOUNCED
    return state


def reason_code(status: str, diagnostic: str) -> str:
    """Why, as a code: where ``status`` is unclear, the one in ``diagnostic`` says more.

    First an enhanced status, then a reply code; "" where there is neither.
    """
    stated = _STATUS.search(status)
    if stated and not stated[1].endswith(_UNCLEAR):
        return stated[1]
    if told := _STATUS.search(diagnostic) or _REPLY.search(diagnostic):
        return told[1]
    return stated[1] if stated else ""
