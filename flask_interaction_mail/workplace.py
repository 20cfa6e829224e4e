"""The dispatcher of one application, with all that it works with.

Imported at the first delivery: a process that only stores does without the dispatcher and the wire.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from . import notices, wakeup
from .delivery import SYNC_GRACE, SyncDelivery, worker_name
from .dispatcher import Dispatcher, Office
from .keeper import announce_ids
from .queue import Verdict
from .transport.policy import ConnectPolicy
from .transport.smtp import SmtpTransport

if TYPE_CHECKING:
    from .state import State


def dispatcher_of(state: State, *, connections: int | None = None) -> Dispatcher:
    """A new dispatcher for this process; ``connections`` instead of what is configured."""
    return Dispatcher(
        Office(
            store=state.database,
            settings=lambda: state.settings.current().settings,
            transport=partial(SmtpTransport, policy=ConnectPolicy.of(state.config)),
            announce=partial(_announce, state),
            worker=worker_name(),
            connections=connections or state.config.connections,
            lease=state.config.lease,
            grace=SYNC_GRACE if isinstance(state.delivery, SyncDelivery) else 30.0,
            listening=lambda wake: wakeup.listening(state.database.bind.engine, wake),
            suppressed=lambda: state.suppressed,
            tidy=state.purge,
            report=partial(notices.report, state),
        )
    )


def _announce(state: State, verdicts: Sequence[Verdict]) -> None:
    if verdicts:
        # Contexts of their own: a transaction that a receiver leaves open ends there, and does
        # not stand in the way of the next record.
        ids = [verdict.claimed.id for verdict in verdicts]
        announce_ids(state, ids, context=state.app.app_context)
