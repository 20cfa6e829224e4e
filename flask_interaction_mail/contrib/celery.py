"""Delivery by the host's Celery: the tasks, the beat schedule, and which application they serve.

A task says "look into the outbox", nothing more. Leases and fences keep it harmless when it comes
twice, late, or to several workers at once; the sweep makes up for one that never comes.
"""

from __future__ import annotations

import contextvars
import time
import weakref
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any, Final

import sqlalchemy as sa

# Celery is not annotated: it is Any for the type checker, and stays within this package.
from celery import Celery, shared_task  # type: ignore[import-untyped]
from celery.signals import (  # type: ignore[import-untyped]
    worker_process_init,
    worker_process_shutdown,
)
from flask import Flask, current_app, has_app_context
from werkzeug.utils import import_string

from .. import clock, operations
from ..delivery.ports import StopCondition
from ..errors import InteractionMailError
from ..outbox import claim
from ..state import KEY, Delivery, State, state_of
from ..storage.tables import DELIVERY
from .wakeups import DELIVER, CeleryDelivery, goodbye, hand_over

__all__ = [
    "DELIVER",
    "PURGE",
    "WATCH",
    "beat_schedule",
    "celery_of",
    "deliver",
    "install_beat",
    "purge",
    "watch",
]

PURGE: Final = "flask_interaction_mail.purge"
WATCH: Final = "flask_interaction_mail.watch"

_SLICE = 10.0  # s that one task works before others get the worker
_FIRST = 0.1  # s of work that show whether mail flows at all
_MANY = 50  # what waits beyond this is worth another worker
_EMPTY_HANDED = 0.05  # s before a second look at what others have locked

# Longer than a slice with its grace, and set so that short limits of the host's other tasks do
# not hold for ours.
_LIMITS: Final = {"soft_time_limit": 240, "time_limit": 300}


# -- which application -------------------------------------------------------------------

_apps: weakref.WeakSet[Flask] = weakref.WeakSet()  # those of this process that deliver by Celery


def install(app: Flask) -> None:
    """Let the tasks of this process deliver for ``app``; called while it is set up."""
    _apps.add(app)


def delivery_of(state: State) -> Delivery | None:
    """Delivery for ``state`` by the workers of its Celery; None where that has no workers."""
    find = partial(celery_of, state.app)
    with suppress(InteractionMailError):  # which the next request is told
        if find().conf.task_always_eager:  # in tests of hosts: no broker, all at once
            return None
    return CeleryDelivery(find)


def celery_of(app: Flask) -> Any:
    """The Celery application of ``app``: ``INTERACTION_MAIL_CELERY``, else the extension.

    Raises:
        InteractionMailError: there is none.
    """
    named = state_of(app).config.celery
    try:
        found = import_string(named) if isinstance(named, str) else named
    except ImportError as error:
        raise InteractionMailError(f"INTERACTION_MAIL_CELERY: {error}") from error
    celery = app.extensions.get("celery") if found is None else found
    if not isinstance(celery, Celery):
        raise InteractionMailError(
            "INTERACTION_MAIL_DELIVERY is 'celery', but this application has no Celery: put the "
            "Celery object into app.extensions['celery'], as Flask's documentation shows, or "
            "into INTERACTION_MAIL_CELERY (the object, or 'package.module:name')."
        )
    return celery


def _served_by(celery: Any) -> list[State]:
    """Whose mail the tasks of ``celery`` carry in this process.

    Raises:
        InteractionMailError: nobody's.
    """
    states = [state_of(app) for app in list(_apps) if _is_of(app, celery)]
    if not states and has_app_context() and KEY in current_app.extensions:
        states = [state_of()]
    if not states:
        raise InteractionMailError(
            "This Celery worker knows no application to deliver for: the module that it loads "
            "(celery -A) must call the application factory, with the same configuration as the "
            "web processes."
        )
    return states


def _is_of(app: Flask, celery: Any) -> bool:
    try:
        return bool(celery_of(app) == celery)  # not `is`: it may be one of Celery's proxies
    except InteractionMailError:
        return False


# -- the tasks ---------------------------------------------------------------------------


@dataclass(slots=True)
class _Turn:
    """What one task has done for one application."""

    state: State
    ends_at: float = field(default_factory=lambda: time.monotonic() + _SLICE)
    sent: int = 0
    others: int = 0
    held_up_by: str | None = None
    handed_over: bool = False
    in_vain: int = 0

    def drain(self, seconds: float) -> None:
        """Deliver for ``seconds`` at most, and not longer than the turn goes."""
        own = self.state.make_dispatcher(self.state)  # makes itself ready before the time counts
        until = StopCondition(deadline=min(time.monotonic() + seconds, self.ends_at))
        stats = own.drain(until)
        self.sent += stats.sent
        self.others += stats.others
        self.held_up_by = stats.held_up_by
        self.in_vain = 0 if stats.done else self.in_vain + 1

    @property
    def over(self) -> bool:
        return time.monotonic() >= self.ends_at

    def told(self) -> dict[str, object]:
        """What the worker's log shows as the result."""
        return {"sent": self.sent, "others": self.others, "held_up_by": self.held_up_by}


def _deliver(task: Any) -> list[dict[str, object]]:
    """Deliver what is due, for some seconds; what is left then is another task's."""
    states = _served_by(task.app)
    # In no app context, as the other ways of delivery: each receiver of a signal gets one of its
    # own, with a session that ends with it, instead of sharing the task's.
    return contextvars.Context().run(_deliver_for, states, task.app)


def _deliver_for(states: Sequence[State], celery: Any) -> list[dict[str, object]]:
    return [_round(state, celery).told() for state in states]


def _round(state: State, celery: Any) -> _Turn:
    turn = _Turn(state)
    _waiting(state)  # connects, and looks at the tables, before the time counts
    turn.drain(_FIRST)
    # Twice in vain: what is due there is locked by somebody, who will see to it; or the sweep.
    while turn.held_up_by is None and turn.in_vain < 2 and (waiting := _waiting(state)):
        # The next task is published as soon as mail is seen to flow, not at the end: so a
        # backlog spreads over all workers that are free, each calling one more. The number of
        # tasks in the broker stays what it is, because each calls once.
        if (turn.over or (waiting > _MANY and not turn.in_vain)) and not turn.handed_over:
            hand_over(celery)
            turn.handed_over = True
        if turn.over:
            break
        if turn.in_vain:
            time.sleep(_EMPTY_HANDED)
        turn.drain(_SLICE)
    return turn


def _waiting(state: State) -> int:
    """How many messages are due; counts no further than needed."""
    due = sa.select(DELIVERY.c.id).where(claim.is_due(clock.now())).limit(_MANY + 1)
    with state.database.reading() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(due.subquery())) or 0


def _purge(task: Any) -> None:
    """Forget what is older than the configuration keeps."""
    states = _served_by(task.app)
    for state in states:
        contextvars.Context().run(operations.purge, state)


def _watch(task: Any) -> None:
    """Try the server if no mail does, tell what is in trouble, and read returned mail."""
    from ..delivery import returning  # late: a process that only stores needs none of these
    from ..delivery import watch as watching
    from ..delivery.tokens import tokens_of
    from ..transport.registry import Transports

    states = _served_by(task.app)
    for state in states:
        transports = Transports(state.connect_policy, state.stand_in, tokens_of(state))
        contextvars.Context().run(watching.turn, state, transports)
        contextvars.Context().run(returning.begin, state)


# Late acknowledgement: the task of a worker that is killed goes to the next one at once.
_OPTIONS: Final[dict[str, Any]] = {
    "bind": True,
    "ignore_result": True,
    "acks_late": True,
    "reject_on_worker_lost": True,
    **_LIMITS,
}
deliver: Any = shared_task(name=DELIVER, **_OPTIONS)(_deliver)
purge: Any = shared_task(name=PURGE, **_OPTIONS)(_purge)
watch: Any = shared_task(name=WATCH, **_OPTIONS)(_watch)


# -- the beat schedule -------------------------------------------------------------------


def beat_schedule(every: timedelta = timedelta(seconds=30)) -> dict[str, dict[str, Any]]:
    """Entries for ``beat_schedule``: the sweep, ``every`` so often, the hourly purge, the watch.

    The sweep delivers what has become due again, and what lost tasks or dead workers have left.
    """
    return {
        "interaction-mail-deliver": {"task": DELIVER, "schedule": every},
        "interaction-mail-purge": {"task": PURGE, "schedule": timedelta(hours=1)},
        "interaction-mail-watch": {"task": WATCH, "schedule": timedelta(minutes=1)},
    }


def install_beat(celery: Any, every: timedelta = timedelta(seconds=30)) -> None:
    """Add the entries of ``beat_schedule`` to the configuration of ``celery``."""
    celery.conf.beat_schedule = {**(celery.conf.beat_schedule or {}), **beat_schedule(every)}


# -- worker processes --------------------------------------------------------------------


def _forget_connections(**_: object) -> None:
    """A forked worker process must not use the database connections of its parent."""
    for app in list(_apps):
        database = state_of(app).database
        if not database.in_memory:
            database.bind.engine.dispose(close=False)


worker_process_init.connect(_forget_connections)
worker_process_shutdown.connect(goodbye)
