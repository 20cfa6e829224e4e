"""A look at the server: all that comes before mail, and no mail."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from ...settings.relay import Relay
from ..policy import ConnectPolicy
from ..tokens import Tokens
from .session import Session
from .timeouts import Timeouts, Until

_WITHIN: Final = 60.0  # s, all steps together


def look(
    relay: Relay,
    *,
    policy: ConnectPolicy,
    mechanism: str | None = None,
    tokens: Tokens | None = None,
) -> datetime | None:
    """Connect, say EHLO, encrypt, log in and say QUIT; gives when the certificate ends, naive UTC.

    None where the connection is not encrypted. Takes a minute at most.

    Raises:
        TransportError: a step failed.
    """
    session = Session(
        relay=relay,
        policy=policy,
        mechanism=mechanism,
        tokens=tokens,
        timeouts=Timeouts(greeting=_WITHIN, command=_WITHIN, auth=_WITHIN),
        until=Until.within(_WITHIN),
    )
    session.open()
    try:
        facts = session.stream.facts()
    finally:
        session.quit()
    return facts.ends if facts is not None else None
