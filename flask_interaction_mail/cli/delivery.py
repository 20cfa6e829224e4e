"""``status`` and ``worker``: what waits, and who carries it."""

from __future__ import annotations

import gc
import queue
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from types import FrameType
from typing import Any, Final

import click
import sqlalchemy as sa

from .. import breaker, clock
from ..dispatcher import Limit
from ..models import MessageRow
from ..settings_store import InForce
from ..state import State, state_of
from ..values import Reason, Status
from .common import as_json, dump, fail, main, pairs, say

_WAITING: Final = (Status.QUEUED, Status.SENDING, Status.DEFERRED)
_HELD_BY_RATE: Final = (
    sa.select(sa.func.count())
    .select_from(MessageRow)
    .where(MessageRow.status == Status.HELD, MessageRow.reason == Reason.RATE)
)
_TESTED: Final = {
    "never": "none has passed",
    "passed": "passed",
    "failed": "failed",
    "changed": "not since the settings changed; earlier ones passed",
}


@main.command()
@as_json
def status(as_json: bool) -> None:
    """Show whether mail flows: settings, server, what waits and what failed."""
    told = told_of(state_of())
    if as_json:
        dump(told)
        return
    counts = told.pop("messages")
    pairs((name.replace("_", " "), value) for name, value in told.items())
    say("\nMessages:")
    pairs((str(one), counts[one]) for one in Status)


def told_of(state: State) -> dict[str, Any]:
    """The figures of ``status``."""
    now = clock.now()
    present = state.settings.current()
    with state.database.reading() as connection:
        counts = _counts(connection)
        oldest = _oldest(connection)
        above = connection.scalar(_HELD_BY_RATE) or 0
        broken = breaker.read(connection, present.settings)
    return {
        "configured": present.settings.configured,
        "delivery": state.config.delivery,
        "server": _server(present),
        "server_trouble": broken.why if broken else None,
        "next_try": clock.from_db(broken.until) if broken else None,
        "paused": present.settings.paused,
        "diverted_to": present.settings.divert_to,
        "suppressed": state.suppressed,
        "waiting": sum(counts[one] for one in _WAITING),
        "oldest_waiting_seconds": int((now - oldest).total_seconds()) if oldest else None,
        "held_by_rate": above,
        "last_test": _last_test(state, present),
        "messages": counts,
    }


def _counts(connection: sa.Connection) -> Mapping[str, int]:
    counted = sa.select(MessageRow.status, sa.func.count()).group_by(MessageRow.status)
    found = {row[0]: row[1] for row in connection.execute(counted)}
    return {str(one): found.get(one, 0) for one in Status}


def _oldest(connection: sa.Connection) -> datetime | None:
    query = sa.select(sa.func.min(MessageRow.created_at)).where(MessageRow.status.in_(_WAITING))
    return connection.scalar(query)


def _server(present: InForce) -> str | None:
    settings = present.settings
    return f"{settings.smtp_server}:{settings.smtp_port}" if settings.smtp_server else None


def _last_test(state: State, present: InForce) -> str:
    from ..admin import checks  # late: a worker has no use for the panel

    badge = checks.badge(state, present)
    when = f", {clock.from_db(badge.at):%Y-%m-%d %H:%M} UTC by {badge.by}" if badge.at else ""
    return _TESTED[badge.kind] + when


@main.command()
@click.option("--once", is_flag=True, help="Deliver what is due now, then end.")
@click.option(
    "--connections", type=click.IntRange(1, 100), help="SMTP connections, instead of the default."
)
def worker(once: bool, connections: int | None) -> None:
    """Deliver until SIGTERM or SIGINT: what is in flight then is finished first."""
    state = state_of()
    dispatcher = state.dispatcher(connections=connections)
    with until_signalled() as (stop, wake):
        if not once:
            say("Delivering. Stop with Ctrl-C or SIGTERM.")
            # What starting made stays for as long as this process. To look through all of it
            # again and again for something to free would stop delivery for 50 ms each time.
            gc.collect()
            gc.freeze()
            dispatcher.run(stop, wake)
            return
        progress = dispatcher.drain(Limit(stop))
    say(f"{progress.sent} sent, {progress.others} not.")
    if progress.held_up_by:
        fail(f"delivery stopped: {progress.held_up_by}")
    if progress.others:
        fail("not everything was taken by the server: see 'outbox list'.")
    if stop.is_set():
        fail("stopped by a signal before everything was delivered.")


@contextmanager
def until_signalled() -> Iterator[tuple[threading.Event, threading.Event]]:
    """Two events, stop and wake, that SIGTERM and SIGINT set; for the main thread."""
    stop, wake = threading.Event(), threading.Event()
    # A handler runs in the middle of what the main thread does, which may hold the lock of the
    # very event that it would set, and so for ever. A SimpleQueue can be put into even then.
    signals: queue.SimpleQueue[int] = queue.SimpleQueue()

    def pass_on() -> None:
        signals.get()
        stop.set()
        wake.set()

    def note(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature is fixed
        signals.put(number)

    threading.Thread(target=pass_on, name="interaction-mail-signals", daemon=True).start()
    former = {one: signal.signal(one, note) for one in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop, wake
    finally:
        for one, handler in former.items():
            signal.signal(one, handler)
        signals.put(0)  # ends the thread
