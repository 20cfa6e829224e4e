"""Whether mail flows: settings, server, what waits and what failed."""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa

from .. import clock
from ..outbox import breaker, lanes, presence, server_limits
from ..outbox.conditions import MOST
from ..settings.model import relays_of
from ..settings.relay import Relay
from ..state import State
from ..storage.tables import DELIVERY
from ..values import OF_MESSAGES, UNDERWAY, Reason, Status
from . import returned, test_history
from .mailbox import told_of_mailbox
from .overview import oldest_waiting

_HELD_BY_RATE: Final = (
    sa.select(sa.func.count())
    .select_from(DELIVERY)
    .where(DELIVERY.c.status == Status.HELD, DELIVERY.c.reason == Reason.RATE)
)
_TESTED: Final = {
    "never": "none has passed",
    "passed": "passed",
    "failed": "failed",
    "changed": "not since the settings changed; earlier ones passed",
}


def figures(state: State) -> dict[str, Any]:
    """What ``status`` shows and ``status --json`` writes, under the same names; reads only."""
    now = clock.now()
    present = state.settings.current()
    settings = present.settings
    relays = relays_of(settings, state.config.transport)
    with state.database.reading() as connection:
        counts = _counts(connection)
        oldest = oldest_waiting(connection, now)
        above = connection.scalar(_HELD_BY_RATE) or 0
        broken = breaker.read_all(connection, relays)
        takes = {relay.name: server_limits.read(connection, relay, now) for relay in relays}
        without_relay = lanes.uncarried(connection, relays, now, MOST)
        here = [process for process in presence.heard_of(connection) if process.here]
    badge = test_history.badge(state, present)
    told = [
        _relay(relay, broken.get(relay.name), takes[relay.name])
        | {"mailbox": told_of_mailbox(state, present.of(relay.name))}
        for relay in relays
    ]
    first = told[0]
    tested = f", {clock.from_db(badge.at):%Y-%m-%d %H:%M} UTC by {badge.by}" if badge.at else ""
    return {
        "configured": settings.configured,
        "delivery": state.config.delivery,
        "transport": state.config.transport,
        "at_work": [_process(process) for process in here],
        "server": str(relays[0]) if relays[0].server else None,
        "server_takes": first["takes"],
        "server_trouble": first["trouble"],
        "next_try": first["next_try"],
        "relays": told,
        "without_relay": without_relay,
        "mailbox": told_of_mailbox(state, present),
        "returned_mail": returned.told(returned.returned_mail(state, recent=0)),
        "paused": settings.paused,
        "diverted_to": settings.divert_to,
        "suppressed": state.suppressed,
        "waiting": sum(counts[status] for status in UNDERWAY),
        "oldest_waiting_seconds": int((now - oldest).total_seconds()) if oldest else None,
        "held_by_rate": above,
        "last_test": _TESTED[badge.kind] + tested,
        "messages": counts,
    }


def _relay(relay: Relay, broken: breaker.Open | None, takes: server_limits.Known) -> dict[str, Any]:
    return {
        "name": relay.name,
        "server": str(relay) if relay.server or relay.stands_in else None,
        "only_from": [*relay.from_domains],
        "takes": takes._asdict(),
        "trouble": broken.why if broken else None,
        "next_try": clock.from_db(broken.until) if broken else None,
    }


def _process(process: presence.Presence) -> dict[str, Any]:
    return {
        "who": process.who,
        "how": process.how,
        "server": process.server,
        "since": clock.from_db(process.since),
        "seen": clock.from_db(process.seen),
    }


def _counts(connection: sa.Connection) -> dict[str, int]:
    counted = sa.select(DELIVERY.c.status, sa.func.count()).group_by(DELIVERY.c.status)
    found = {row[0]: row[1] for row in connection.execute(counted)}
    return {str(status): found.get(status, 0) for status in OF_MESSAGES}
