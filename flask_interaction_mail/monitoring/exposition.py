"""Health as JSON, and in the text format of Prometheus (version 0.0.4).

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from ..outbox.conditions import MOST, TITLES, AlertName, Vitals

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_PREFIX: Final = "interaction_mail_"


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


def as_json(health: Health) -> dict[str, Any]:
    """The answer to a monitor, without an address and without what a server said."""
    vitals = health.vitals
    return {
        "status": "ok" if health.fine else "alert",
        "configured": health.configured,
        "paused": health.paused,
        "alerts": [
            {
                "name": name,
                "title": TITLES[name],
                "since": began.isoformat(timespec="seconds") if began else None,
            }
            for name in health.holding
            for began in (health.began.get(name),)
        ],
        "waiting": vitals.waiting,
        "oldest_waiting_seconds": int(vitals.late.total_seconds()),
        "sent_last_hour": vitals.sent,
        "failed_last_hour": vitals.failed,
        "delivering_processes": vitals.here,
        "certificate_expires": _written(vitals.expires),
        "without_relay": vitals.uncarried,
        "relays": {name: _word(name in vitals.troubled) for name in vitals.relays},
    }


def as_text(health: Health) -> str:
    """The same for Prometheus."""
    lines: list[str] = []
    for name, help_, samples in _metrics(health):
        lines += [f"# HELP {_PREFIX}{name} {help_}", f"# TYPE {_PREFIX}{name} gauge"]
        lines += [f"{_PREFIX}{name}{labels} {value}" for labels, value in samples]
    return "\n".join(lines) + "\n"


def _metrics(health: Health) -> Iterator[tuple[str, str, list[tuple[str, float]]]]:
    vitals = health.vitals
    standing = [(f'{{name="{name}"}}', float(name in health.holding)) for name in AlertName]
    yield "alert", "Whether the alert holds.", standing
    counted = f"counted up to {MOST} or as far as it matters."
    single: dict[str, tuple[str, float]] = {
        "configured": ("Whether a server and a default From are set.", health.configured),
        "paused": ("Whether sending is paused.", health.paused),
        "waiting": (f"Messages that have not left, counted up to {MOST}.", vitals.waiting),
        "oldest_waiting_seconds": (
            "How long the longest waiting message could have left.",
            vitals.late.total_seconds(),
        ),
        "sent_last_hour": (f"Messages sent within the last hour, {counted}", vitals.sent),
        "failed_last_hour": (f"Messages failed within the last hour, {counted}", vitals.failed),
        "delivering_processes": ("Processes that deliver.", vitals.here),
    }
    if len(vitals.relays) > 1:
        states = [(f'{{name="{n}"}}', float(n in vitals.troubled)) for n in vitals.relays]
        yield "relay_in_trouble", "Whether the relay is in trouble.", states
        single["without_relay"] = ("Messages that no relay may carry.", vitals.uncarried)
    if vitals.expires is not None:
        expires = vitals.expires.replace(tzinfo=UTC).timestamp()
        help_ = "When the mail server's certificate ends, in Unix time."
        single["certificate_expiry_timestamp_seconds"] = (help_, expires)
    for name, (help_, value) in single.items():
        yield name, help_, [("", float(value))]


def _word(troubled: bool) -> str:
    return "trouble" if troubled else "ok"


def _written(moment: datetime | None) -> str | None:
    return moment.replace(tzinfo=UTC).isoformat(timespec="seconds") if moment else None
