"""A place of work: a database, a server that keeps what it gets, and processes to be killed."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from flask_interaction_mail import clock
from flask_interaction_mail.messages.message import NewMessage
from flask_interaction_mail.outbox import messages, tally
from flask_interaction_mail.outbox.counts import COUNTED, TOTAL
from flask_interaction_mail.storage.tables import ACTIVITY, ATTEMPT, DELIVERY, MESSAGE
from tests.crash import worker
from tests.crash.accounts import Account, account
from tests.host import opened
from tests.outbox_rows import ROWS, Store, a_message
from tests.servers.scripted import DEFAULTS, Action, Peer, Scripted, close, scripted, until

# Processes are forked from a clean one that has everything imported: they start in milliseconds.
_ROOT = str(Path(__file__).parents[2])
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["tests.crash.worker", "tests.servers.token_process"])
_ENOUGH = 10_000  # answers


@cache
def processes() -> Any:
    """The context to start processes with; its clean process finds the tests, and only it does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", _ROOT, prepend=os.pathsep)
        forkserver.ensure_running()
    return _PROCESSES


@dataclass
class Worker:
    """A process, by its id; ``pipe`` speaks with it."""

    process: Any
    pipe: Connection

    @property
    def pid(self) -> int:
        pid: int = self.process.pid
        return pid

    def hear(self, seconds: float = 120) -> Any:
        assert self.pipe.poll(seconds), "the process says nothing"
        return self.pipe.recv()

    def go(self) -> None:
        self.pipe.send("go")

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        """As a power cut: nothing is finished."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self.process.join(10)

    def ended(self, seconds: float = 120) -> int | None:
        """Its exit status, negative for a signal; None if it lives on."""
        self.process.join(seconds)
        status: int | None = self.process.exitcode
        return status


@dataclass
class Site:
    """Everything of one run."""

    url: str
    kind: str
    server: Scripted
    store: Store
    messages: list[NewMessage] = field(default_factory=list)
    workers: list[Worker] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)  # Message-IDs
    acknowledged: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def configure(self, **changes: Any) -> None:
        """Save settings that lead to the server."""
        with opened(self.url) as host:
            host.configure(smtp_port=self.server.port, **changes)

    def put(self, count: int, body: bytes = b"Hello\r\n", **others: Any) -> list[NewMessage]:
        """Queue messages that can be told apart."""
        made = [letter(f"p{number}@firm.example", body, **others) for number in range(count)]
        self.messages += made
        self.expected += [str(one.message_id) for one in made]
        self.store.put(*made)
        return made

    def start(self, **plan: Any) -> Worker:
        """A worker that is ready; it begins at once unless it ``waits``."""
        return self.run(worker.deliver, worker.Plan(url=self.url, **plan), ready=True)

    def run(self, target: Callable[..., None], *arguments: Any, ready: bool = False) -> Worker:
        """A process that runs ``target`` of tests/crash/worker.py."""
        ours, theirs = _PROCESSES.Pipe()
        if target is worker.deliver:
            process = processes().Process(target=target, args=(*arguments, theirs))
        else:
            process = processes().Process(target=target, args=(self.url, theirs, *arguments))
        process.start()
        theirs.close()
        started = Worker(process, ours)
        self.workers.append(started)
        if ready:
            assert started.hear() == "ready"
        return started

    @contextmanager
    def command(self) -> Iterator[subprocess.Popen[bytes]]:
        """``flask interaction-mail worker`` on this database."""
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "flask",
                "--app",
                "tests.crash.app",
                "interaction-mail",
                "worker",
            ],
            env={**os.environ, "DATABASE": self.url},
            cwd=_ROOT,
            stdout=subprocess.PIPE,
        )
        with process:
            try:
                assert process.stdout is not None
                assert b"Delivering" in process.stdout.readline()
                yield process
            finally:
                process.kill()

    def acknowledge(self, peer: Peer) -> None:
        """The server's ordinary answer to the dot."""
        with self._lock:
            self.acknowledged += 1
        peer.say(b"250 2.0.0 taken\r\n")

    def once(self, verb: str, action: Action) -> None:
        """The server's answer to the next ``verb``; then it answers as before."""
        before = self.server.answers.get(verb, DEFAULTS[verb])
        usual = before[-1] if isinstance(before, list) else before
        self.server.answers[verb] = [action, *[usual] * _ENOUGH]

    def until(self, condition: Callable[[], bool], seconds: float = 120) -> None:
        """Wait for ``condition``; where it does not come true the test fails and says what is."""
        assert until(condition, seconds), self.store.statuses()

    def until_sent(self, seconds: float = 120, *, count: int | None = None) -> None:
        wanted = len(self.messages) if count is None else count
        self.until(lambda: self.store.statuses() == {"sent": wanted}, seconds)

    def stop(self, *workers: Worker) -> None:
        """End workers the polite way; they must leave with 0."""
        for one in workers or tuple(self.workers):
            if one.process.is_alive():
                one.signal(signal.SIGTERM)
        for one in workers or tuple(self.workers):
            if one.ended(30) != -signal.SIGKILL:
                assert one.ended() == 0

    def account(self, run: str) -> Account:
        """What it came to."""
        taken = [one.content for one in self.server.messages]
        return account(f"{run}, {self.kind}", self.store, self.expected, taken, self.acknowledged)

    def ambiguous(self) -> int:
        """How many attempts were logged as of unknown outcome."""
        query = sa.select(sa.func.count()).select_from(ATTEMPT)
        with self.store.reading() as connection:
            return connection.scalar(query.where(ATTEMPT.c.result == "ambiguous")) or 0

    def counted(self) -> dict[str, int]:
        """How many messages were counted for the page Activity, by what they came to."""
        tally.merge(self.store, clock.now() + timedelta(hours=2))
        columns = [ACTIVITY.c[name] for name in COUNTED]
        sums = sa.select(*(sa.func.sum(column) for column in columns))
        with self.store.reading() as connection:
            found = connection.execute(sums.where(ACTIVITY.c.what == TOTAL)).one()
        return {name: int(number) for name, number in zip(COUNTED, found, strict=True) if number}

    def rows(self) -> list[Any]:
        with self.store.reading() as connection:
            return list(connection.execute(ROWS.order_by(MESSAGE.c.created_at)))

    def make_due(self) -> None:
        """The time comes for everything that waits."""
        # It meets the workers' transactions; where it has to give way the next call does it.
        with suppress(sa.exc.OperationalError), self.store.writing() as connection:
            connection.execute(
                sa.update(DELIVERY)
                .where(DELIVERY.c.due_at.is_not(None))
                .values(due_at=DELIVERY.c.created_at)
            )

    def release(self) -> set[str]:
        """An administrator sends on what was set aside, as three workers had died over it.

        Gives its Message-IDs; it may leave by any relay now.
        """
        released: list[uuid.UUID] = []
        with suppress(sa.exc.OperationalError), self.store.writing() as connection:
            every = [message.id for message in self.messages]
            released = messages.release(connection, every, clock.now())
        return {one.message_id for one in self.messages if one.id in released and one.message_id}


@contextmanager
def a_site(url: str, kind: str) -> Iterator[Site]:
    """A place of work whose processes are gone at the end, one way or the other."""
    store = Store(url)
    with scripted({}) as server:
        site = Site(url, kind, server, store)
        server.answers["DOT"] = site.acknowledge
        site.configure()
        try:
            yield site
        finally:
            for one in site.workers:
                with suppress(ProcessLookupError):
                    os.kill(one.pid, signal.SIGCONT)
                one.kill()
                one.process.close()
                one.pipe.close()
            store.engine.dispose()


def letter(address: str, body: bytes = b"Hello\r\n", **others: Any) -> NewMessage:
    """A message whose content carries its Message-ID."""
    message = a_message(address, **others)
    head = f"Message-ID: {message.message_id}\r\nSubject: x\r\n\r\n".encode()
    content = head + body
    return message._replace(content=content)


def killing(pid: Callable[[], int], then: Action = close) -> Action:
    """What a server does to kill its client at just this point of the conversation."""

    def act(peer: Peer) -> None:
        os.kill(pid(), signal.SIGKILL)
        peer.act(then)

    return act


def dice(seed: int) -> random.Random:
    """Chance that is the same in every run."""
    return random.Random(seed)
