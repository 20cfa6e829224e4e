"""``worker``: a process that delivers."""

from __future__ import annotations

import gc
import queue
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import click

from ..config import STAYS_HERE
from ..delivery.factory import dispatcher_of
from ..delivery.ports import StopCondition
from ..outbox.presence import How
from ..state import state_of
from .output import fail, main, say


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
    former = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop, wake
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
        signals.put(None)  # ends the thread
