"""The line of state on every page, in words."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from ..config import DeliveryMode
from ..language import gettext, mark
from . import texts
from .texts import page_gettext as _gettext
from .texts import page_ngettext as _ngettext

if TYPE_CHECKING:
    from ..outbox.presence import Presence

_DELIVERS: Final = {
    DeliveryMode.THREAD: mark("The application delivers by itself"),
    DeliveryMode.SYNC: mark("Each request delivers at its end"),
    DeliveryMode.CELERY: mark("Celery delivers"),
}


class Told(NamedTuple):
    """A fact in the line of state: in words, and whether all is well."""

    text: str
    fine: bool


def who_delivers(mode: DeliveryMode, at_work: Sequence[Presence], called: datetime | None) -> Told:
    """Who delivers, from the signs of life that processes gave within a day."""
    if at_work:
        return Told(_at_work(at_work), True)
    if mode is not DeliveryMode.WORKER:
        return Told(gettext(_DELIVERS[mode]), True)
    if called is not None:
        at = texts.time(called)
        return Told(
            _gettext("A worker is called from time to time, last at %(time)s", time=at), True
        )
    return Told(gettext("Nobody delivers: start “flask interaction-mail worker”"), False)


def _at_work(processes: Sequence[Presence]) -> str:
    since = texts.time(min(process.since for process in processes))
    if len(processes) == 1:
        return _gettext("%(who)s has delivered since %(time)s", who=processes[0].who, time=since)
    return _ngettext(
        "%(count)s process delivers, since %(time)s",
        "%(count)s processes deliver, the first since %(time)s",
        len(processes),
        time=since,
    )
