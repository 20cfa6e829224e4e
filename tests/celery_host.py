"""A host with Celery, in the test's process and in those of its workers.

The test gives environment variables to ``celery -A tests.celery_app``, which makes the same host.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import celery
from flask import Flask

from flask_interaction_mail import notification_sent
from flask_interaction_mail.contrib.celery import install_beat
from tests.brokers import Broker
from tests.celery_programs import Forked
from tests.host import Host

ROOT = Path(__file__).parents[1]
LEASE = 3  # s; what a killed worker had claimed is free again after that
Process = subprocess.Popen[bytes] | Forked
# Starts a program of Celery with arguments, in an environment, and with a file for what it says.
Start = Callable[[list[str], Mapping[str, str], Path], Process]


def celery_for(app: Flask, broker: Broker) -> celery.Celery:
    """As Flask's documentation shows it: tasks run in an app context."""

    class FlaskTask(celery.Task):
        def __call__(self, *args: object, **kwargs: object) -> object:
            with app.app_context():
                return self.run(*args, **kwargs)

    made = celery.Celery(app.name, broker=broker.url, task_cls=FlaskTask, set_as_current=False)
    made.conf.update(
        task_default_queue=broker.queue,
        broker_transport_options=broker.options,
        broker_connection_retry_on_startup=True,
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
    )
    install_beat(made, every=timedelta(seconds=1))
    app.extensions["celery"] = made
    return made


def host_with_celery(url: str, broker: Broker, **config: Any) -> Host:
    """A host that delivers by Celery; receivers of its signals note what was sent."""
    settings = {"INTERACTION_MAIL_DELIVERY": "celery", "INTERACTION_MAIL_LEASE": LEASE}
    host = Host(url, **(settings | config))
    celery_for(host.app, broker)
    return host


def from_environment() -> Host:
    """The host of a worker process."""
    broker = Broker(os.environ["FIM_BROKER"], os.environ["FIM_QUEUE"])
    host = host_with_celery(
        os.environ["FIM_URL"],
        broker,
        INTERACTION_MAIL_CONNECTIONS=json.loads(os.environ.get("FIM_CONNECTIONS", '"auto"')),
    )
    if "FIM_NOTE" in os.environ:
        notification_sent.connect(_Noting(host), host.app, weak=False)
    return host


@dataclass
class _Noting:
    """A receiver that uses the host's session and does not give it back."""

    host: Host

    def __call__(self, app: Flask, notification: Any) -> None:
        self.host.db.session.add(self.host.Thing(name=f"sent {notification.id}"))
        self.host.db.session.commit()


@dataclass
class Program:
    """A ``celery`` process of the test, with its children."""

    process: Process
    log: Path
    ready: str  # what its log says when it is

    @property
    def pids(self) -> set[int]:
        """Itself and its children, as the system knows them now."""
        pid = self.process.pid
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return {pid, *map(int, found)}

    def wait_until_ready(self) -> None:
        """Until it takes tasks, or gives them out."""
        self.wait_for(self.ready)

    def wait_for(self, words: str, seconds: float = 120) -> None:
        """Until its log has ``words``."""
        end = time.monotonic() + seconds
        while words not in (text := self.log.read_text()):
            assert time.monotonic() < end, text
            assert self.process.poll() is None, text
            time.sleep(0.05)

    def kill(self) -> None:
        """``kill -9`` for it and all its children at once."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

    def begin_to_end(self) -> None:
        """SIGTERM; several may be at it at once."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def end(self) -> None:
        """Until it has ended, by force if SIGTERM does not help."""
        self.begin_to_end()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()


def environment(url: str, broker: Broker) -> dict[str, str]:
    """What a worker's process needs to make the same host."""
    return {**os.environ, "FIM_URL": url, "FIM_BROKER": broker.url, "FIM_QUEUE": broker.queue}


def command(arguments: list[str], environment: Mapping[str, str], log: Path) -> Process:
    """``celery`` as a user starts it, in a process group of its own."""
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "tests.celery_app", *arguments],
            cwd=ROOT,
            env=dict(environment),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


@contextmanager
def running(
    start: Start, folder: Path, environment: Mapping[str, str], *arguments: str, ready: str
) -> Iterator[Program]:
    """A program of Celery, ended at the end."""
    log = folder / f"celery-{time.monotonic_ns()}.log"
    log.touch()
    program = Program(start([*arguments], environment, log), log, ready)
    try:
        yield program
    finally:
        program.end()


def worker(start: Start, folder: Path, environment: Mapping[str, str]) -> Any:
    """A running ``celery worker`` with two processes."""
    quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat")
    name = f"w{time.monotonic_ns()}@%h"
    arguments = ("worker", "-c", "2", "-n", name, "-l", "INFO", *quiet)
    return running(start, folder, environment, *arguments, ready=" ready.")


def beat(start: Start, folder: Path, environment: Mapping[str, str]) -> Any:
    """A running ``celery beat``."""
    schedule = str(folder / f"schedule-{time.monotonic_ns()}")
    arguments = ("beat", "-s", schedule, "-l", "INFO")
    return running(start, folder, environment, *arguments, ready="beat: Starting")
