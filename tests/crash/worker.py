"""What runs in processes of its own and is killed there: a worker, a web process, an importer.

The parts are the product's; a worker that is to die at a point of its own has a store around
the real one that ends the process there. Nothing in the product knows about it.
"""

from __future__ import annotations

import os
import signal
import threading
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from multiprocessing.connection import Connection
from typing import Any

import sqlalchemy as sa

from flask_interaction_mail import clock, send_notification
from flask_interaction_mail.cli.worker import until_signalled
from flask_interaction_mail.delivery.dispatcher import Dispatcher
from flask_interaction_mail.delivery.lease import Lease
from flask_interaction_mail.delivery.ports import DispatcherPorts, Store
from flask_interaction_mail.outbox import claim
from flask_interaction_mail.outbox.claimed import Claimed
from flask_interaction_mail.transport.smtp.timeouts import Timeouts
from flask_interaction_mail.transport.smtp.transport import SmtpTransport
from tests.host import Host


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a worker works; ``dies`` is (when, which): before, inside or after which transaction.

    The first transaction of a worker that finds one message is its claim, the second its record.
    One that is to die renews no lease: that is a transaction too, and comes whenever it is time.
    """

    url: str
    lease: float = 2.0  # s
    poll: float = 0.1  # s
    connections: int = 4
    grace: float = 30.0  # s
    patience: Timeouts = field(default_factory=Timeouts)
    dies: tuple[str, int] | None = None
    waits: bool = False  # for a word on the pipe before it begins
    clock_is_off: timedelta = timedelta(0)
    watch_every: float = 60.0  # s
    options: tuple[tuple[str, Any], ...] = ()  # configuration keys


def deliver(plan: Plan, pipe: Connection) -> None:
    """A worker; says "ready", and ends by SIGTERM."""
    with until_signalled() as (stop, wake):
        _set_clock(plan.clock_is_off)
        host = Host(plan.url, **dict(plan.options))
        dispatcher = Dispatcher(_ports(host, plan))
        if plan.dies:
            Lease.keep = _let_it_end  # type: ignore[method-assign] # in this process alone
        pipe.send("ready")
        if plan.waits:
            pipe.recv()
        threading.Thread(target=_end_with_the_tests, args=(pipe,), daemon=True).start()
        dispatcher.run(stop, wake, poll=plan.poll)
        host.close()


def drain(url: str, config: dict[str, Any]) -> None:
    """A worker that ends when nothing is due any more."""
    host = Host(url, **config)
    host.dispatcher().drain()
    host.close()


def _end_with_the_tests(pipe: Connection) -> None:
    """Nobody is left to stop this process where the tests themselves were killed."""
    try:
        pipe.recv()
    except (EOFError, OSError):
        os._exit(1)


def _ports(host: Host, plan: Plan) -> DispatcherPorts:
    ports = host.dispatcher()._ports
    parts: dict[str, Any] = {"store": _Mortal(ports.store, plan.dies)} if plan.dies else {}
    return replace(
        ports,
        transport=lambda relay: SmtpTransport(relay, timeouts=plan.patience),
        lease=timedelta(seconds=plan.lease),
        connections=plan.connections,
        grace=plan.grace,
        watch_every=plan.watch_every,
        **parts,
    )


def _let_it_end(lease: Lease, claims: Collection[Claimed]) -> None:
    """In place of a renewal."""


def _set_clock(off: timedelta) -> None:
    if off:
        right = clock.now
        clock.now = lambda: right() + off  # what a machine with a wrong clock would answer


class _Mortal:
    """A store that ends the process before or after a certain transaction."""

    def __init__(self, store: Store, dies: tuple[str, int]) -> None:
        self._store = store
        self._dies = dies
        self._transactions = 0
        self.reading, self.single_connection = store.reading, store.single_connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        if threading.current_thread() is not threading.main_thread():
            # A claim beside a record, which comes before it or after it, and finds nothing here.
            with self._store.writing() as connection:
                yield connection
            return
        self._transactions += 1
        self._die_if(("before", self._transactions))
        with self._store.writing() as connection:
            yield connection
            self._die_if(("inside", self._transactions))
        self._die_if(("after", self._transactions))

    def _die_if(self, here: tuple[str, int]) -> None:
        if here == self._dies:
            die()


def die() -> None:
    """End this process as a power cut would."""
    os.kill(os.getpid(), signal.SIGKILL)


def commit(url: str, pipe: Connection, dies: str) -> None:
    """A web process that sends something, and dies before, in or after the host's commit."""
    host = Host(url)
    with host.app.app_context():
        host.db.session.add(host.Thing(name=uuid.uuid4().hex))
        send_notification("bob", "Hello", text="Hello")
        if dies == "before":
            die()
        _die_in_commit(host, dies)
        pipe.send("go on")
        host.db.session.commit()
        die()


def _die_in_commit(host: Host, dies: str) -> None:
    """During a commit: our rows are written in it, but it has not reached the database."""
    engine = host.db.engine
    if dies == "written":
        sa.event.listen(engine, "commit", lambda _: die())
    if dies == "anywhere":
        threading.Thread(target=_die_soon, daemon=True).start()


def _die_soon() -> None:
    # As long as a commit takes, more or less: sometimes it is through, sometimes not.
    threading.Event().wait(int.from_bytes(os.urandom(1)) / 255 * 0.01)
    die()


def serve(url: str, pipe: Connection, count: int) -> None:
    """A web process with a delivery thread, which also sends ``count`` notifications."""
    options = {"INTERACTION_MAIL_DELIVERY": "thread", "INTERACTION_MAIL_LEASE": 20}
    host = Host(url, **options)
    host.app.test_client().get("/")  # the first request starts the thread
    for number in range(count):
        with host.app.app_context():
            send_notification("bob", f"{os.getpid()}-{number}", text="Hello")
            host.db.session.commit()
    pipe.send("sent")
    pipe.recv()
    host.close()


def enqueue_keyed(url: str, pipe: Connection, count: int) -> None:
    """An importer that says the same thing ``count`` times under one key."""
    host = Host(url)
    pipe.send("ready")
    pipe.recv()
    for _ in range(count):
        with host.app.app_context():
            send_notification("bob", "Once", text="Hello", key="import-7")
            host.db.session.commit()
    host.close()
    pipe.send("done")


def claim_all(url: str, pipe: Connection) -> None:
    """Claim message by message until nothing is left; sends what was got, and what went wrong."""
    host = Host(url)
    got: list[str] = []
    errors: list[str] = []
    pipe.send("ready")
    pipe.recv()
    while True:
        try:
            with host.state.database.writing() as connection:
                claimed = claim.claim(
                    connection,
                    limit=1,
                    worker=str(os.getpid()),
                    lease=timedelta(minutes=5),
                    now=clock.now(),
                )
        except Exception as error:
            errors.append(repr(error))
            break
        if not claimed:
            break
        got += [one.id.hex for one in claimed]
    host.close()
    pipe.send((got, errors))
