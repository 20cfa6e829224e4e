"""Whether the mailbox is connected, for the command line."""

from __future__ import annotations

from ..delivery import connecting
from ..settings.layers import InForce
from ..settings.model import relay_of
from ..state import State


def told_of_mailbox(state: State, one: InForce) -> str | None:
    """What is to be said of the relay of these settings; None where no person has to agree.

    "connected" comes first where it counts.
    """
    relay = relay_of(one.settings)
    if not relay.by_consent:
        return None
    seen = connecting.seen_at(state, relay)
    if seen is not None and seen.unreadable:
        return "connect the mailbox again in the panel: the secret key of this application changed"
    if seen is None or seen.consent is None:
        return f"not connected: in the panel, press Connect mailbox, and log in as {relay.login}"
    if seen.consent.refused:
        return f"connect the mailbox again in the panel: {seen.consent.refused}"
    account = f" as {seen.consent.account}" if seen.consent.account else ""
    other = ", which is not the mailbox" if relay.is_not_for(seen.consent.account) else ""
    return f"connected{account}{other}, {seen.consent.at:%Y-%m-%d %H:%M} UTC by {seen.consent.by}"
