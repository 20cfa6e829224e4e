"""Comparing what a server has stored with what the outbox says, recipient by recipient."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from .drain import Said
from .letters import is_refused
from .stored import Stored, copies

_LAST_DELIVERY = 90.0  # seconds that a relay may take to pass everything on
_QUIET = 2.0  # seconds in which a copy too many would come


@dataclass(frozen=True)
class Account:
    """Recipients by what became of them; ``examples`` name some that are not right."""

    recipients: int
    lost: int  # said to be sent, and not there
    doubled: int  # there more than once
    misjudged: int  # good and not sent, refused and not failed, or there and not said to be sent
    changed: int  # bodies that are not what was sent
    examples: tuple[str, ...]

    @property
    def right(self) -> bool:
        """True if each recipient was told as it is."""
        return not (self.lost or self.doubled or self.misjudged)


def account(said: Iterable[Said], found: Iterable[Stored], *, refusing: bool) -> Account:
    """Compare; the server refuses the addresses that it is to refuse if it is ``refusing``."""
    said, found = list(said), list(found)
    there = copies(found)
    sent = {(one.message_id, one.address.lower()) for one in said if one.status == "sent"}
    wrong = [one for one in said if _misjudged(one, there[_key(one)], refusing=refusing)]
    lost = [key for key in sent if not there[key]]
    doubled = [key for key, count in there.items() if count > 1]
    bodies = {one.message_id: one.body for one in said}
    changed = {one.message_id for one in found if one.body != bodies.get(one.message_id)}
    examples = [f"{one.address}: {one.status}, {one.reply}" for one in wrong[:4]]
    examples += [f"lost: {to}" for _, to in lost[:4]] + [f"doubled: {to}" for _, to in doubled[:4]]
    return Account(len(said), len(lost), len(doubled), len(wrong), len(changed), tuple(examples))


def settled(stored: Callable[[], list[Stored]], said: Iterable[Said]) -> list[Stored]:
    """What is stored, once all that is said to be sent is there and nothing more comes."""
    sent = {_key(one) for one in said if one.status == "sent"}
    end = time.monotonic() + _LAST_DELIVERY
    while not sent <= copies(stored()).keys() and time.monotonic() < end:
        time.sleep(0.2)
    known = -1
    while known != len(found := stored()):
        known = len(found)
        time.sleep(_QUIET)
    return found


def _key(one: Said) -> tuple[str, str]:
    return (one.message_id, one.address.lower())


def _misjudged(one: Said, there: int, *, refusing: bool) -> bool:
    wanted = "failed" if refusing and is_refused(one.address) else "sent"
    return one.status != wanted or (there > 0 and one.status != "sent")
