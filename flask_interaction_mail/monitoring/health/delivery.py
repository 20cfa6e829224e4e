"""Who delivers, and what stands in the way."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from ... import clock
from ...config import IN_PLACE, DeliveryMode
from ...delivery import wakeup
from ...delivery.appserver import NO_THREADS, Trouble
from ...outbox import breaker, claim, presence
from ...outbox.presence import How, Presence
from ...settings.model import relays_of
from ...state import State
from ...storage.tables import DELIVERY
from ..returned import returned_mail as look_at_mailbox
from ..returned import told
from .look import Finding, Health

_OVERDUE: Final = timedelta(minutes=5)
_CALLED_LATELY: Final = timedelta(hours=1)
_START_ONE: Final = (
    "Start 'flask interaction-mail worker' as a service that is started again when it ends, or "
    "have 'flask interaction-mail worker --once' called every minute."
)
_NO_FAREWELL: Final = (
    "{server} lets SIGTERM end its process on the spot: what is on its way then may leave twice, "
    "and what was claimed waits a minute. Put this line where the application is made: "
    "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))"
)
_UNHEARD: Final = (
    "one to itself was not heard: PgBouncer in transaction mode, or the like, lies between. Mail "
    "leaves all the same, up to a second later. Where that matters, have workers connect to "
    "PostgreSQL itself, or with pool_mode = session."
)
_WHO_DELIVERS: Final = {
    DeliveryMode.WORKER: " Is 'flask interaction-mail worker' running?",
    DeliveryMode.CELERY: " Are 'celery worker' and 'celery beat' running?",
}


def delivery(state: State) -> Finding:
    """Whether somebody delivers."""
    mode = state.config.delivery
    advice = state.delivery.advice()
    settings = state.settings.current().settings
    with state.database.reading() as connection:
        relays = relays_of(settings, state.config.transport)
        stopped = settings.paused or len(breaker.read_all(connection, relays)) == len(relays)
        present = presence.heard_of(connection)
        late = connection.scalar(
            sa.select(sa.func.count(DELIVERY.c.id)).where(claim.is_due(clock.now() - _OVERDUE))
        )
    if late and not stopped:
        text = f"{late} message(s) are due for over five minutes.{_WHO_DELIVERS.get(mode, '')}"
        return Health.WRONG, text
    if advice:
        return Health.NOTE, advice
    if mode is DeliveryMode.WORKER:
        return _workers(present)
    return Health.OK, f"by {mode}, nothing is overdue"


def _workers(present: Sequence[Presence]) -> Finding:
    workers = [process for process in present if process.how is How.WORKER]
    if here := [worker for worker in workers if worker.here]:
        since = "; ".join(f"{worker.who} since {clock.as_text(worker.since)}" for worker in here)
        return Health.OK, f"by worker, nothing is overdue. At work: {since}"
    lately = clock.now() - _CALLED_LATELY
    calls = [process for process in present if process.how is How.ONCE]
    if once := [call for call in calls if call.seen >= lately]:
        return Health.OK, f"by 'worker --once', last called {clock.as_text(once[0].seen)}"
    last = f" {workers[0].who} was last seen {clock.as_text(workers[0].seen)}." if workers else ""
    return Health.WRONG, f"nobody is at work.{last} {_START_ONE}"


def application_server(state: State) -> Finding:
    """What serves the application, where it delivers by itself."""
    if state.config.delivery is not DeliveryMode.THREAD:
        return Health.OK, "does not deliver"
    with state.database.reading() as connection:
        heard_of = presence.heard_of(connection)
    found = [process for process in heard_of if process.how in (How.THREAD, How.SYNC)]
    if not found:
        return Health.OK, "no process has served a request or sent anything within a day"
    last = found[0]
    if last.trouble == Trouble.NO_THREADS:
        return Health.WRONG, f"as of {clock.as_text(last.seen)}: {NO_THREADS}."
    if last.trouble == Trouble.NO_FAREWELL:
        return Health.NOTE, _NO_FAREWELL.format(server=last.server)
    return Health.OK, f"{last.server or 'unknown'}, as of {clock.as_text(last.seen)}"


def notices(state: State) -> Finding:
    """Whether PostgreSQL can tell workers at once that there is something to deliver."""
    heard = wakeup.is_heard(state.database.bind.engine)
    if heard is None:
        return Health.OK, "none with this database: a worker looks every 0.9 seconds"
    return (Health.OK, "are heard") if heard else (Health.NOTE, _UNHEARD)


def server(state: State) -> Finding:
    """Whether the mail server is in trouble."""
    with state.database.reading() as connection:
        settings = state.settings.current(connection).settings
        relays = relays_of(settings, state.config.transport)
        broken = breaker.read_all(connection, relays)
    if broken:
        told = (_trouble(name if len(relays) > 1 else "", met) for name, met in broken.items())
        return Health.WRONG, "; ".join(told)
    if (folder := state.config.mail_folder) is not None and not _takes_files(folder):
        return Health.WRONG, f"no file can be written into {folder}, where all mail is to go"
    if state.config.transport.stays_here:
        return Health.OK, "none is asked"
    if state.config.transport.stands_in:
        return Health.OK, "none is asked: this application hands mail over itself"
    return Health.OK, "no trouble is known; 'flask interaction-mail test' tries it"


def _takes_files(folder: Path) -> bool:
    """Whether this user may write into ``folder``, or make it where it is missing."""
    there = next(path for path in (folder, *folder.parents) if os.path.exists(path))
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)


def _trouble(name: str, met: breaker.Open) -> str:
    which = f"relay '{name}' " if name else ""
    return f"{which}in trouble since {met.since:%Y-%m-%d %H:%M} UTC: {met.why}"


def restraints(state: State) -> Finding:
    """What keeps mail from its recipients on purpose."""
    settings = state.settings.current().settings
    found = []
    if state.suppressed:
        found.append("the application suppresses sending (MAIL_SUPPRESS_SEND or TESTING)")
    if state.config.transport.stands_in:
        stays, kind = IN_PLACE[state.config.transport], state.config.transport
        found.append(f"{stays} (INTERACTION_MAIL_TRANSPORT is '{kind}')")
    if settings.paused:
        found.append("sending is paused")
    if settings.divert_to:
        found.append(f"all mail goes to {settings.divert_to}")
    return (Health.NOTE, "; ".join(found) + ".") if found else (Health.OK, "none")


def returned_mail(state: State) -> Finding:
    """Whether the mailbox with returned mail is read."""
    found = look_at_mailbox(state, recent=0)
    if (text := told(found)) is None:
        return Health.OK, "no mailbox is read"
    if found.place is not None and found.place.failed_since is not None:
        return Health.WRONG, text
    noted = found.closed or found.late or (found.place is not None and found.place.trouble)
    return (Health.NOTE if noted else Health.OK), text
