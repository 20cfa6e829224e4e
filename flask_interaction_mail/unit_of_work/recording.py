"""Tells those who record what an application has stored, and what was given up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

from ..messages.message import NewMessage
from ..messages.recorded import Recording, recorded
from ..signals import BY_STATUS
from .pending_work import Owner, PendingWork, StoreMessage, Work


@contextmanager
def recording(owner: Owner) -> Iterator[Recording]:
    """Record the messages of ``owner`` until the block ends; others may record meanwhile."""
    own = Recording()
    with ExitStack() as stack:
        for signal in dict.fromkeys(BY_STATUS.values()):
            stack.enter_context(signal.connected_to(own.changed, owner.app))
        # A new tuple, as other threads may go through the present one.
        owner.recordings = (*owner.recordings, own)
        try:
            yield own
        finally:
            owner.recordings = tuple(one for one in owner.recordings if one is not own)


def note_stored(owner: Owner, messages: Iterable[NewMessage]) -> None:
    """``messages`` of ``owner`` are committed."""
    if owner.recordings:
        for message in messages:
            for one in owner.recordings:
                one.stored(recorded(message))


def note_given_up(items: Iterable[PendingWork], because: str) -> None:
    """``items`` will never be stored."""
    for item in items:
        if item.owner.recordings and isinstance(item.work, StoreMessage):
            for one in item.owner.recordings:
                one.dropped.append(recorded(item.work.message, dropped_because=because))


def messages_of(works: Iterable[Work]) -> Iterator[NewMessage]:
    """The messages among ``works``."""
    return (work.message for work in works if isinstance(work, StoreMessage))
