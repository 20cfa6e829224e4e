"""Brokers for tests: RabbitMQ and Redis on this machine, and a Redis of a test's own.

Every test has a queue with a name of its own, removed afterwards. ``TEST_RABBITMQ_URL`` and
``TEST_REDIS_URL`` name other servers.
"""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import kombu
import pytest
import redis

from tests.servers.programs import free_port, program, wait_for_port

BROKERS = ("rabbitmq", "redis")
_SERVERS = {
    "rabbitmq": ("TEST_RABBITMQ_URL", "amqp://guest@127.0.0.1:5672//"),
    "redis": ("TEST_REDIS_URL", "redis://127.0.0.1:6379/13"),
}


@dataclass(frozen=True)
class Broker:
    """A broker and the queue that belongs to one test, which removes it."""

    url: str
    queue: str = field(default_factory=lambda: f"interaction_mail_{uuid.uuid4().hex[:12]}")

    @property
    def options(self) -> dict[str, str]:
        """Transport options: in Redis every key of a test begins with the name of its queue."""
        return {"global_keyprefix": f"{self.queue}."} if self.url.startswith("redis") else {}

    def waiting(self) -> int:
        """How many tasks are in the queue; 0 where nobody has made it yet."""
        if self.options:  # Kombu forgets the prefix when it asks whether a queue is there
            with redis.Redis.from_url(self.url) as client:
                return int(client.llen(f"{self.queue}.{self.queue}"))
        with self._connection() as connection:
            channel: Any = connection.channel()
            try:
                return int(channel.queue_declare(self.queue, passive=True).message_count)
            except connection.channel_errors:
                return 0

    def remove(self) -> None:
        """Delete what the test has left there, where the broker still runs."""
        with self._connection() as connection:
            try:
                channel: Any = connection.ensure_connection(max_retries=1).default_channel
            except kombu.exceptions.OperationalError:
                return
            kombu.Queue(self.queue, channel=channel).delete()
            if self.options and (keys := channel.client.keys(f"{self.queue}.*")):
                with redis.Redis.from_url(self.url) as client:
                    client.delete(*keys)

    def _connection(self) -> kombu.Connection:
        return kombu.Connection(self.url, transport_options=self.options, connect_timeout=5)


def a_queue(kind: str) -> Broker:
    """A queue of its own at a broker; skips where there is none."""
    variable, default = _SERVERS[kind]
    broker = Broker(os.environ.get(variable, default))
    connection = kombu.Connection(broker.url, connect_timeout=5)
    try:
        connection.ensure_connection(max_retries=1, interval_start=0, timeout=5)
    except kombu.exceptions.OperationalError as error:
        pytest.skip(f"no {kind} at {connection.as_uri()} ({variable}): {error}")
    finally:
        connection.release()
    return broker


@dataclass
class OwnRedis:
    """A Redis that a test may stop and start; what it holds is gone with it."""

    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        path = program("redis-server", package="redis-server")
        options = ("--bind", "127.0.0.1", "--port", str(self.port), "--save", "")
        self.process = subprocess.Popen(
            [path, *options, "--dir", str(self.folder)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for_port(self.port)

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None


@contextmanager
def own_redis(folder: Path) -> Iterator[OwnRedis]:
    """A Redis server that does not run yet."""
    redis = OwnRedis(folder)
    try:
        yield redis
    finally:
        redis.stop()
