"""The dispatcher of one application, with all that it works with.

Imported at the first delivery: a process that only stores does without the dispatcher and the wire.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any, Final

from .. import operations
from ..config import DeliveryMode
from ..outbox.claimed import AttemptResult
from ..outbox.presence import How, Pulse
from ..outbox.tally import Tally
from ..settings.model import relays_of
from ..state import State
from ..transport.registry import Transports
from ..unit_of_work.announce import announce_ids
from ..unit_of_work.recording import note_stored
from . import appserver, notices, wakeup
from .digests import RateLimiter
from .dispatcher import Dispatcher
from .mechanisms import Logins
from .ports import DispatcherPorts, worker_name
from .tokens import tokens_of

_PULSES: Final = "interaction_mail_pulses"  # in app.extensions, by process and way of delivery


def dispatcher_of(state: State, how: How | None = None, **changes: Any) -> Dispatcher:
    """A new dispatcher for this process; ``changes`` are parts of its ports.

    With ``how`` it delivers it leaves signs of life.
    """
    if how is not None:
        pulse = pulse_of(state, how)
        changes = {"beat": pulse.beat, "leave": pulse.end, **changes}
    return Dispatcher(replace(_ports(state), **changes))


def pulse_of(state: State, how: How) -> Pulse:
    """The signs of life of this process, the same object each time."""
    pulses: dict[tuple[int, How], Pulse] = state.app.extensions.setdefault(_PULSES, {})
    key = (os.getpid(), how)
    if key not in pulses:
        pulses[key] = Pulse(
            state.database,
            worker_name(),
            how,
            server=appserver.name(),
            trouble=appserver.trouble() if state.config.delivery is DeliveryMode.THREAD else None,
        )
    return pulses[key]


def _ports(state: State) -> DispatcherPorts:
    # A transport outlives the application with its thread, so it must not keep it alive.
    tokens = weakref.proxy(tokens_of(state))
    transports = Transports(state.connect_policy, state.stand_in, tokens)
    logins = Logins(state.database, state.settings.keyring, transports.open)
    return DispatcherPorts(
        store=state.database,
        settings=lambda: state.settings.current().settings,
        relays=partial(relays_of, kind=state.config.transport),
        transport=logins.transport,
        prepare=logins.look,
        announce=partial(_announce, state),
        worker=worker_name(),
        connections=state.config.connections,
        lease=state.config.lease,
        listening=lambda wake: wakeup.listening(state.database.bind.engine, wake),
        suppressed=lambda: state.suppressed,
        tidy=partial(operations.purge, state),
        watch=partial(_watch, state, transports),
        report=partial(notices.report, state),
        rate_limits=RateLimiter(state),
        tally=cache(lambda _: Tally()),
    )


def _watch(state: State, transports: Transports) -> None:
    # Late: the first turn comes when a process has delivered for a minute.
    from . import returning, watch

    watch.turn(state, transports)
    returning.begin(state)


def _announce(state: State, results: Sequence[AttemptResult]) -> None:
    if results:
        # Contexts of their own: a transaction that a receiver leaves open ends there, and does
        # not stand in the way of the next record.
        made = [message for result in results for message in result.made]
        note_stored(state, made)
        ids = [result.claimed.id for result in results]
        ids += [id for result in results for id in result.ended]
        ids += [message.id for message in made]
        announce_ids(state.app, state.database, ids, context=state.app.app_context)
