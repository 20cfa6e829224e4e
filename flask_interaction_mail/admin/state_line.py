"""The line of state on every page, in words."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from ..config import DeliveryMode
from .texts import gettext

if TYPE_CHECKING:
    from ..outbox.presence import Presence

_DELIVERS: Final = {
    DeliveryMode.THREAD: "The application delivers by itself",
    DeliveryMode.SYNC: "Each request delivers at its end",
    DeliveryMode.CELERY: "Celery delivers",
}


class Told(NamedTuple):
    """A fact in the line of state: in words, whether all is well, and the time after the words.

    The time is naive UTC.
    """

    text: str
    fine: bool
    at: datetime | None = None


def who_delivers(mode: DeliveryMode, at_work: Sequence[Presence], called: datetime | None) -> Told:
    """Who delivers, from the signs of life that processes gave within a day."""
    if at_work:
        since = min(process.since for process in at_work)
        if (count := len(at_work)) > 1:
            return Told(
                gettext("%(count)s processes deliver, the first since", count=count), True, since
            )
        return Told(gettext("%(who)s delivers since", who=at_work[0].who), True, since)
    if mode is not DeliveryMode.WORKER:
        return Told(gettext(_DELIVERS[mode]), True)
    if called is not None:
        return Told(gettext("A worker is called from time to time, last at"), True, called)
    return Told(gettext("Nobody delivers: start “flask interaction-mail worker”"), False)
