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

from .. import clock
from ..config import DeliveryMode
from ..delivery.factory import dispatcher_of
from ..delivery.ports import StopCondition
from ..outbox import breaker, presence, server_limits
from ..outbox.presence import How
from ..settings.layers import InForce
from ..state import State, state_of
from ..storage.tables import MessageRow
from ..transport.relay import relay_of
from ..values import Reason, Status
from .output import STAYS_HERE, as_json, dump, fail, main, moment, pairs, say

_WAITING: Final = (Status.QUEUED, Status.SENDING, Status.DEFERRED)
_HELD_BY_RATE: Final = (
    sa.select(sa.func.count())
    .select_from(MessageRow)
    .where(MessageRow.status == Status.HELD, MessageRow.reason == Reason.RATE)
)
_NOBODY: Final = {
    DeliveryMode.WORKER: "nobody: start 'flask interaction-mail worker'",
    DeliveryMode.CELERY: "see 'celery inspect active'",
    DeliveryMode.THREAD: "no process at present: each begins with its first request or commit",
    DeliveryMode.SYNC: "each process at the end of its requests",
}
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
    counts, above = told.pop("messages"), told.pop("held_by_rate")
    if told["transport"].stands_in:
        told["transport"] = f"{told['transport']}: {STAYS_HERE}"
    told["server_takes"] = _takes(told["server_takes"])
    told["at_work"] = [_in_words(one) for one in told["at_work"]] or _NOBODY[told["delivery"]]
    pairs((name.replace("_", " "), value) for name, value in told.items())
    say("\nMessages:")
    if above:
        counts[Status.HELD] = (
            f"{counts[Status.HELD]}, of which {above} are above a rate and leave by themselves"
        )
    pairs(counts.items())


def told_of(state: State) -> dict[str, Any]:
    """The figures of ``status``."""
    now = clock.now()
    present = state.settings.current()
    relay = relay_of(present.settings, state.config.transport)
    with state.database.reading() as connection:
        counts = _counts(connection)
        oldest = _oldest(connection, now)
        above = connection.scalar(_HELD_BY_RATE) or 0
        broken = breaker.read(connection, relay)
        takes = server_limits.read(connection, relay, now)
        here = [one for one in presence.heard_of(connection) if one.here]
    return {
        "configured": present.settings.configured,
        "delivery": state.config.delivery,
        "transport": state.config.transport,
        "at_work": [_as_told(one) for one in here],
        "server": _server(present),
        "server_takes": takes._asdict(),
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


def _as_told(one: presence.Presence) -> dict[str, Any]:
    return {
        "who": one.who,
        "how": one.how,
        "server": one.server,
        "since": clock.from_db(one.since),
        "seen": clock.from_db(one.seen),
    }


def _takes(limits: Mapping[str, int | None]) -> str | None:
    """What is known of the server's limits, None for nothing."""
    each = {"recipients": "recipients in a message", "connections": "connections at once"}
    known = [f"{most} {each[what]}" for what, most in limits.items() if most is not None]
    return ", ".join(known) or None


def _in_words(told: Mapping[str, Any]) -> str:
    server = f" in {told['server']}" if told["server"] else ""
    return f"{told['how']} {told['who']}{server} since {moment(told['since'])}"


def _counts(connection: sa.Connection) -> dict[str, int]:
    counted = sa.select(MessageRow.status, sa.func.count()).group_by(MessageRow.status)
    found = {row[0]: row[1] for row in connection.execute(counted)}
    return {str(one): found.get(one, 0) for one in Status}


def _oldest(connection: sa.Connection, now: datetime) -> datetime | None:
    # What waits for its ``send_at`` is not late, however long ago it was made.
    scheduled = sa.and_(MessageRow.status == Status.QUEUED, MessageRow.due_at > now)
    waiting = sa.and_(MessageRow.status.in_(_WAITING), ~scheduled)
    return connection.scalar(sa.select(sa.func.min(MessageRow.created_at)).where(waiting))


def _server(present: InForce) -> str | None:
    settings = present.settings
    return f"{settings.smtp_server}:{settings.smtp_port}" if settings.smtp_server else None


def _last_test(state: State, present: InForce) -> str:
    from ..monitoring import test_history  # late: a worker has no use for tests

    badge = test_history.badge(state, present)
    when = f", {clock.from_db(badge.at):%Y-%m-%d %H:%M} UTC by {badge.by}" if badge.at else ""
    return _TESTED[badge.kind] + when


@main.command()
@click.option("--once", is_flag=True, help="Deliver what is due now, then end.")
@click.option(
    "--connections", type=click.IntRange(1, 100), help="SMTP connections, instead of the default."
)
def worker(once: bool, connections: int | None) -> None:
    """Deliver until SIGTERM or SIGINT: what is in flight then is finished first."""
    changes = {"connections": connections} if connections else {}
    state = state_of()
    if state.config.transport.stands_in:
        say(f"{STAYS_HERE[0].upper()}{STAYS_HERE[1:]}.")
    dispatcher = dispatcher_of(state, How.ONCE if once else How.WORKER, **changes)
    with until_signalled() as (stop, wake):
        if not once:
            say("Delivering. Stop with Ctrl-C or SIGTERM.")
            # What starting made stays for as long as this process. To look through all of it
            # again and again for something to free would stop delivery for 50 ms each time.
            gc.collect()
            gc.freeze()
            dispatcher.run(stop, wake)
            return
        stats = dispatcher.drain(StopCondition(stop))
    say(f"{stats.sent} sent, {stats.others} not.")
    if stats.held_up_by:
        fail(f"delivery stopped: {stats.held_up_by}")
    if stats.others:
        fail("not everything was taken by the server: see 'outbox list'.")
    if stop.is_set():
        fail("stopped by a signal before everything was delivered.")


@contextmanager
def until_signalled() -> Iterator[tuple[threading.Event, threading.Event]]:
    """Two events, stop and wake, that SIGTERM and SIGINT set; for the main thread."""
    stop, wake = threading.Event(), threading.Event()
    # A handler runs in the middle of what the main thread does, which may hold the lock of the
    # very event that it would set, and so for ever. A SimpleQueue can be put into even then.
    signals: queue.SimpleQueue[int | None] = queue.SimpleQueue()

    def pass_on() -> None:
        if signals.get() is not None:
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
        signals.put(None)  # ends the thread
