"""Filling an outbox and emptying it into a server, as an application does."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from flask_interaction_mail import send_notification
from flask_interaction_mail.outbox.recipients import REPLY, STATUS
from flask_interaction_mail.storage.tables import ATTEMPT, DELIVERY, MESSAGE, OUTBOX, RECIPIENT
from tests.host import Host

from .letters import Letter
from .stored import digest

_ROOT = Path(__file__).parents[3]
_AGAIN = 5  # drains at most, where a server has deferred something
_LONGEST = 900.0  # seconds for one; a server that takes longer is told of as it is then
_WAITING = ("queued", "sending", "deferred")


@dataclass(frozen=True)
class Said:
    """What the outbox says about one recipient of one message."""

    message_id: str
    address: str
    status: str
    reply: str | None
    body: str


@dataclass(frozen=True)
class Drained:
    """What it took, and what is said now.

    ``seconds`` are from the first attempt to the last one's end, ``pause`` is the longest time in
    which nothing was judged; ``drains`` is above one where a server has deferred something.
    """

    seconds: float
    pause: float
    drains: int
    connections: int
    said: list[Said]


def fill(url: str, settings: Mapping[str, Any], letters: Iterable[Letter]) -> None:
    """Queue ``letters`` in a new outbox with these ``settings``."""
    with closing(Host(url)) as host:
        host.configure(**settings)
        with host.app.app_context():
            for letter in letters:
                send_notification(**letter)
            host.db.session.commit()


def drain(url: str, folder: Path) -> Drained:
    """Deliver until nothing waits; what was deferred is made due at once."""
    connections, drains = 0, 0
    engine = sa.create_engine(url)
    counted = folder / "connections"
    try:
        while drains < _AGAIN and _due(engine):
            _work(url, counted)
            connections += int(counted.read_text(encoding="ascii")) if counted.exists() else 0
            counted.unlink(missing_ok=True)
            drains += 1
        return Drained(*_times(engine), drains, connections, said(engine))
    finally:
        engine.dispose()


def said(engine: sa.Engine) -> list[Said]:
    """What the outbox says about each recipient."""
    columns = (MESSAGE.c.message_id, RECIPIENT.c.address, STATUS, REPLY, MESSAGE.c.content)
    both = sa.select(*columns).select_from(
        OUTBOX.join(RECIPIENT, RECIPIENT.c.message_id == MESSAGE.c.id)
    )
    with engine.connect() as connection:
        return [Said(*row[:-1], digest(row[-1])) for row in connection.execute(both)]


def _due(engine: sa.Engine) -> bool:
    waiting = DELIVERY.c.status.in_(_WAITING)
    soon = sa.update(DELIVERY).where(waiting).values(due_at=DELIVERY.c.created_at)
    with engine.begin() as connection:
        return connection.execute(soon).rowcount > 0


def _times(engine: sa.Engine) -> tuple[float, float]:
    apart = sa.select(ATTEMPT.c.started_at, ATTEMPT.c.finished_at)
    accepted = sa.select(DELIVERY.c.started_at, DELIVERY.c.finished_at)
    with engine.connect() as connection:
        attempts = [*connection.execute(apart)]
        attempts += connection.execute(accepted.where(DELIVERY.c.server.is_not(None)))
    first = min((attempt.started_at for attempt in attempts), default=None)
    moments = [*filter(None, [first]), *sorted(attempt.finished_at for attempt in attempts)]
    pauses = [(later - sooner).total_seconds() for sooner, later in itertools.pairwise(moments)]
    return sum(pauses), max(pauses, default=0.0)


def _work(url: str, counted: Path) -> None:
    command = [sys.executable, "-m", "flask", "--app", "tests.servers.stand.application"]
    running = subprocess.Popen(
        [*command, "interaction-mail", "worker", "--once"],
        cwd=_ROOT,
        env={**os.environ, "STAND_DATABASE": url, "STAND_CONNECTIONS": str(counted)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        running.wait(_LONGEST)
    except subprocess.TimeoutExpired:
        running.kill()
        running.wait()
