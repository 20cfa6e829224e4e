"""What is in trouble now, for monitors, the panel and the command line; and a test alert."""

from __future__ import annotations

from ..clock import from_db
from ..delivery import telling, watch
from ..outbox import alerts
from ..settings.model import MessagingSettings
from ..state import State
from .exposition import Health


def health(state: State) -> Health:
    """How mail is doing at this moment; reads only, and nothing is told."""
    settings = state.settings.current().settings
    with state.database.reading() as connection:
        vitals = watch.take(connection, state, settings)
        seen = alerts.seen(connection)
    return Health(
        configured=settings.configured,
        paused=settings.paused,
        vitals=vitals,
        holding=watch.holding_now(state, settings, vitals),
        began={name: from_db(one.began_at) for name, one in seen.items() if one.holds},
    )


def check(state: State) -> Health:
    """Find out what is in trouble and tell it, as a worker does each minute; commits."""
    watch.check(state)
    return health(state)


def send_test(state: State, settings: MessagingSettings, *, by: str) -> bool:
    """Send a test alert to the log, the signal and the webhook of ``settings``, for ``by``.

    False if there is no webhook. The webhook takes 10 seconds at most; no transaction is open.

    Raises:
        InteractionMailError: the webhook did not take it; the text says why.
    """
    return telling.tell_test(state, settings, by=by)
