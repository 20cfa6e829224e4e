"""``worker``: a process that delivers."""

from __future__ import annotations

import gc
import queue
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import click

from ..config import IN_PLACE
from ..delivery.dispatcher import Dispatcher
from ..delivery.factory import dispatcher_of
from ..delivery.ports import StopCondition
from ..outbox.presence import How
from ..state import State, state_of
from . import supervisor
from .output import fail, main, say


@main.command()
@click.option("--once", is_flag=True, help="Deliver what is due now, then end.")
@click.option(
    "--connections", type=click.IntRange(1, 100), help="SMTP connections, instead of the default."
)
@click.option(
    "--processes",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Worker processes. One that ends unexpectedly is started again.",
)
def worker(once: bool, connections: int | None, processes: int) -> None:
    """Deliver until SIGTERM or SIGINT: what is in flight then is finished first."""
    supervised = supervisor.is_there()
    state = state_of()
    if state.config.transport.stands_in and not supervised:
        stays = IN_PLACE[state.config.transport]
        say(f"{stays[0].upper()}{stays[1:]}.")
    # Whatever the command says: a program that gives it may always say the same.
    if processes > 1 and not supervised:
        _supervise(state, processes, supervisor.deliver_once if once else supervisor.deliver)
        return
    changes = {"connections": connections} if connections else {}
    dispatcher = dispatcher_of(state, How.ONCE if once else How.WORKER, **changes)
    if supervised:
        supervisor.ignore_signals()
    with until_signalled() as (stop, wake):
        if supervised:
            supervisor.watch(stop, wake)
        if once:
            _drain(dispatcher, stop)
        else:
            if not supervised:
                say("Delivering. Stop with Ctrl-C or SIGTERM.")
            _run(dispatcher, stop, wake)


def _supervise(
    state: State, processes: int, deliver: Callable[[int, threading.Event], None]
) -> None:
    for engine in state.db.engines.values():
        engine.dispose()  # what the start of the application has left open
    with until_signalled() as (stop, _):
        deliver(processes, stop)


def _run(dispatcher: Dispatcher, stop: threading.Event, wake: threading.Event) -> None:
    # What starting made stays for as long as this process. To look through all of it
    # again and again for something to free would stop delivery for 50 ms each time.
    gc.collect()
    gc.freeze()
    dispatcher.run(stop, wake)


def _drain(dispatcher: Dispatcher, stop: threading.Event) -> None:
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
