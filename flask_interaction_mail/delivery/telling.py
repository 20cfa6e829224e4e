"""Tells of an alert: a log record, the signal ``messaging_alert``, and the webhook."""

from __future__ import annotations

import json
import uuid
from datetime import datetime
from typing import Any, Final

from .. import clock, signals
from ..errors import InteractionMailError
from ..language import mark
from ..logs import log
from ..outbox.alerts import Change
from ..outbox.conditions import OVER, TITLES, tellable
from ..settings.model import MessagingSettings
from ..state import State
from ..transport import webhook
from ..unit_of_work.announce import send_signal
from ..values import Alert

_IDS: Final = uuid.UUID("8d0a6c51-0c8e-4a1e-9c5f-7a3b5e2f6d10")


def tell(state: State, settings: MessagingSettings, change: Change) -> bool:
    """Tell ``change``; False if the webhook has to be told again later.

    The log and the signal are told the first time only. Never raises.
    """
    alert = _alert(change)
    if change.tries == 0:
        _log_and_signal(state, alert)
    if not settings.alert_url:
        return True
    try:
        _post(state, settings, alert)
    except InteractionMailError as error:
        log.warning("alert.webhook_failed: %s", error)
        return False
    return True


def tell_test(state: State, settings: MessagingSettings, *, by: str) -> bool:
    """Tell a test alert everywhere; False if there is no webhook to tell.

    Raises:
        InteractionMailError: the webhook did not take it; the text says why.
    """
    alert = Alert(
        id=uuid.uuid4(),
        name="test",
        state="test",
        title="This is a test",
        text=tellable(f"A test of the alerts, asked for by {by}. Nothing is wrong."),
        began_at=(now := clock.from_db(clock.now())),
        at=now,
    )
    _log_and_signal(state, alert)
    if settings.alert_url:
        _post(state, settings, alert)
    return bool(settings.alert_url)


def _alert(change: Change) -> Alert:
    over = change.ended_at is not None
    titles = OVER if over else TITLES
    return Alert(
        id=uuid.uuid5(_IDS, f"{change.name} {change.began_at.isoformat()} {change.fence}"),
        name=change.name,
        state="over" if over else "begun",
        title=titles[change.name],
        text=_began(change.began_at) if over else change.detail,
        began_at=clock.from_db(change.began_at),
        at=clock.from_db(change.ended_at or change.began_at),
    )


def _began(at: datetime) -> str:
    return f"It began on {at:%Y-%m-%d at %H:%M} UTC."


def _log_and_signal(state: State, alert: Alert) -> None:
    write = log.error if alert.state == "begun" else log.warning
    write(f"alert.{alert.state}: %s: %s. %s", alert.name, alert.title, alert.text)
    send_signal(state.app, signals.messaging_alert, context=state.app.app_context, alert=alert)


def _post(state: State, settings: MessagingSettings, alert: Alert) -> None:
    if settings.alert_url is None or settings.alert_secret is None:
        raise InteractionMailError(
            mark("The webhook was not told: its secret is missing, or is for another URL.")
        )
    body = json.dumps(_plain(state, alert)).encode("ascii")
    timestamp = int(clock.from_db(clock.now()).timestamp())
    headers = webhook.signed(
        settings.alert_secret, id=str(alert.id), timestamp=timestamp, body=body
    )
    webhook.post(settings.alert_url, body, headers, policy=state.connect_policy)


def _plain(state: State, alert: Alert) -> dict[str, Any]:
    return {
        "id": str(alert.id),
        "application": state.app.name,
        "alert": alert.name,
        "state": alert.state,
        "title": alert.title,
        "text": alert.text,
        "began_at": _written(alert.began_at),
        "at": _written(alert.at),
    }


def _written(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")
