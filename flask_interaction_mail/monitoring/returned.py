"""What the mailbox with returned mail is doing, and what came back lately. Nothing here writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from .. import clock
from ..delivery import mailbox as delivery
from ..diagnosis.texts import Advice, text_of
from ..errors import TransportError
from ..language import recalled, said_by, translated
from ..outbox import mailboxes, reports
from ..outbox.mailboxes import Place
from ..outcome import Fault
from ..settings.mailbox import Mailbox
from ..settings.model import MessagingSettings, mailbox_of
from ..state import State

RECENT: Final = 50  # reports on the page


@dataclass(frozen=True, slots=True, kw_only=True)
class ReturnedMail:
    """The mailbox, if one is set, and how far it was read; the reports that were noted last.

    It is read every ``minutes``. ``closed`` is why this process does not read it, "" if it does.
    ``advice`` is what to do about the last failure. ``late`` says that a look is overdue: nobody
    reads.
    """

    mailbox: Mailbox | None
    minutes: int
    place: Place | None
    closed: str
    advice: Advice | None
    late: bool
    recent: Sequence[reports.Recent]

    @property
    def is_reading(self) -> bool:
        """Whether a worker reads it at this moment."""
        return self.place is not None and self.place.is_read(clock.now())


def returned_mail(state: State, *, recent: int = RECENT) -> ReturnedMail:
    """What there is to say; at most ``recent`` reports."""
    present = state.settings.current()
    mailbox = mailbox_of(present.settings)
    with state.database.reading() as connection:
        place = mailboxes.read(connection, mailboxes.name_of(mailbox)) if mailbox else None
        lately = reports.lately(connection, recent) if recent else ()
    advice = None
    if mailbox and place and place.fault:
        advice = _advice(place.fault, mailbox, recalled(place.trouble or ""))
    return ReturnedMail(
        mailbox=mailbox,
        minutes=max(1, int(state.config.returns_every.total_seconds() // 60)),
        place=place,
        closed=delivery.closed_by(state, present) if mailbox else "",
        advice=advice,
        late=place is not None and _is_late(state, place),
        recent=lately,
    )


def _is_late(state: State, place: Place) -> bool:
    now = clock.now()
    return place.due_at + state.config.returns_every < now and not place.is_read(now)


def _advice(fault: str, mailbox: Mailbox, detail: str) -> Advice:
    """The title, meaning and advice for ``fault``, in the reader's language."""
    values = {
        "server": mailbox.server,
        "port": str(mailbox.port),
        "login": mailbox.login or "",
        "detail": detail,
    }
    return text_of(fault, of_mailbox=True).filled(values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What a test of a mailbox came to: what was seen, or why nothing was, with advice."""

    seen: delivery.Tested | None = None
    why: str = ""
    advice: Advice | None = None


def test(state: State, settings: MessagingSettings) -> Trial | None:
    """Look into the mailbox of ``settings`` without changing anything; None if none is set."""
    mailbox = mailbox_of(settings)
    if mailbox is None:
        return None
    try:
        return Trial(seen=delivery.test(state, mailbox))
    except TransportError as error:
        why = translated(said_by(error))
        fault = error.fault or Fault.NONSENSE
        return Trial(why=why, advice=_advice(fault, mailbox, why))


def told(found: ReturnedMail) -> str | None:
    """The mailbox in a line for the command line; None if none is set."""
    if found.mailbox is None:
        return None
    return f"{found.mailbox.folder} of {found.mailbox}: {_said(found)}"


def _said(found: ReturnedMail) -> str:
    place = found.place
    if found.closed:
        return f"not read: {found.closed}"
    if place is None:
        return "not read yet"
    if place.failed_since is not None:
        return f"cannot be read since {_written(place.failed_since)}: {place.trouble}"
    seen = f"read {_written(place.looked_at)}" if place.looked_at else "not read yet"
    unmoved = f"; {place.trouble}" if place.trouble else ""
    if found.late:
        return f"{seen}; the next look is overdue: no worker or thread delivers{unmoved}"
    return f"{seen}, every {found.minutes} minutes{unmoved}"


def _written(moment: datetime) -> str:
    return f"{clock.from_db(moment):%Y-%m-%d %H:%M} UTC"
