"""What is in trouble now, for monitors, the panel and the command line; and a test alert."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from ..clock import from_db
from ..delivery import telling, watch
from ..outbox import alerts
from ..outbox.conditions import TITLES, AlertName, Vitals
from ..state import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How mail is doing, and what is in trouble: the alerts that hold, each with its sentence.

    ``began`` is since when, aware UTC, for those that a worker has noticed.
    """

    configured: bool
    paused: bool
    vitals: Vitals
    holding: Mapping[AlertName, str]
    began: Mapping[AlertName, datetime]

    @property
    def fine(self) -> bool:
        """Whether no alert holds."""
        return not self.holding


def health(state: State) -> Health:
    """How mail is doing at this moment; reads only, and nothing is told."""
    settings = state.settings.current().settings
    with state.database.reading() as connection:
        vitals = watch.take(connection, state, settings)
        began = alerts.began(connection)
    return Health(
        configured=settings.configured,
        paused=settings.paused,
        vitals=vitals,
        holding=watch.holding_now(state, settings, vitals),
        began={name: from_db(moment) for name, moment in began.items()},
    )


def check(state: State) -> Health:
    """Find out what is in trouble and tell it, as a worker does each minute; commits."""
    watch.check(state)
    return health(state)


def send_test(state: State, *, by: str) -> bool:
    """Send a test alert to the log, the signal and the webhook, on behalf of ``by``.

    False if there is no webhook. The webhook takes 10 seconds at most; no transaction is open.

    Raises:
        InteractionMailError: the webhook did not take it; the text says why.
    """
    return telling.tell_test(state, state.settings.current().settings, by=by)


def title(name: AlertName) -> str:
    """What the alert ``name`` says."""
    return TITLES[name]
