"""When mail is in trouble: which alerts hold, from how mail is doing and the settings."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Final

from ..settings.model import MessagingSettings
from ..text import cut, one_line
from .vitals import Vitals

_SOON: Final = timedelta(minutes=1)  # in which a worker that is being replaced comes back
_ADDRESS: Final = re.compile(r"[^\s<>()\[\],;:\"']+@[^\s<>()\[\],;:\"']+")
_LONGEST: Final = 1000


class AlertName(enum.StrEnum):
    """What an alert is about."""

    SERVER = "server"  # the breaker is open, or the last probe failed
    WAITING = "waiting"  # a message could have left long ago
    FAILURES = "failures"  # a share of what ended within an hour
    NOBODY = "nobody"  # mail waits, and no process delivers
    EXPIRY = "expiry"  # of a certificate


TITLES: Final[Mapping[AlertName, str]] = {
    AlertName.SERVER: "The mail server is in trouble",
    AlertName.WAITING: "Messages wait too long",
    AlertName.FAILURES: "Many messages fail",
    AlertName.NOBODY: "Nobody delivers",
    AlertName.EXPIRY: "A certificate ends soon",
}
OVER: Final[Mapping[AlertName, str]] = {
    AlertName.SERVER: "The mail server works again",
    AlertName.WAITING: "No message waits too long any more",
    AlertName.FAILURES: "Few messages fail now",
    AlertName.NOBODY: "Mail is delivered again",
    AlertName.EXPIRY: "The certificates are valid for long enough again",
}


def holding(
    vitals: Vitals,
    settings: MessagingSettings,
    *,
    ends: Iterable[tuple[str, datetime]] = (),
    watched: bool = True,
) -> dict[AlertName, str]:
    """The alerts that hold, each with a sentence about it.

    ``ends`` are what ends when, beside the server's certificate. ``watched`` is whether the
    processes that deliver leave signs of life.
    """
    if not settings.configured:
        return {}
    found = {
        AlertName.SERVER: _server(vitals),
        AlertName.WAITING: _waiting(vitals, settings),
        AlertName.FAILURES: _failures(vitals, settings),
        AlertName.NOBODY: _nobody(vitals) if watched else "",
        AlertName.EXPIRY: _expiry(vitals, settings, ends),
    }
    return {name: _storable(text) for name, text in found.items() if text}


def _server(vitals: Vitals) -> str:
    if vitals.broken is not None:
        return vitals.broken.why
    probe = vitals.probe
    if probe is None or probe.why is None or vitals.mail_since_probe:
        return ""
    return probe.why


def _waiting(vitals: Vitals, settings: MessagingSettings) -> str:
    minutes = vitals.late // timedelta(minutes=1)
    if not settings.alert_waiting or minutes < settings.alert_waiting:
        return ""
    why = " Sending is paused in the settings." if settings.paused else ""
    return f"A message that could have left has waited for {minutes} minutes.{why}"


def _failures(vitals: Vitals, settings: MessagingSettings) -> str:
    ended = vitals.sent + vitals.failed
    share = 100 * vitals.failed
    if not settings.alert_failures or ended < settings.alert_failures_of:
        return ""
    if not vitals.failed or share < settings.alert_failures * ended:
        return ""
    return f"{vitals.failed} of the {ended} messages that ended within the last hour have failed."


def _nobody(vitals: Vitals) -> str:
    if vitals.here or vitals.late < _SOON:
        return ""
    return "Mail waits, and no process that delivers was heard of for some minutes."


def _expiry(
    vitals: Vitals, settings: MessagingSettings, ends: Iterable[tuple[str, datetime]]
) -> str:
    limit = vitals.now + timedelta(days=settings.alert_expiry)
    if not settings.alert_expiry:
        return ""
    soon = [(what, at) for what, at in (*_servers(vitals), *ends) if at <= limit]
    return " ".join(f"{what} ends on {at:%Y-%m-%d at %H:%M} UTC." for what, at in soon)


def _servers(vitals: Vitals) -> Iterator[tuple[str, datetime]]:
    if vitals.probe is not None and vitals.probe.expires is not None:
        yield "The certificate of the mail server", vitals.probe.expires


def _storable(text: str) -> str:
    """``text`` without addresses, which a server may have named: this goes to other places."""
    return cut(_ADDRESS.sub("(an address)", one_line(text)), _LONGEST)
