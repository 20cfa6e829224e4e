"""``status``: whether mail flows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ..clock import as_text
from ..config import IN_PLACE, DeliveryMode
from ..monitoring.status import figures
from ..state import state_of
from ..values import Status
from .output import as_json, dump, main, pairs, say

_NOBODY: Final = {
    DeliveryMode.WORKER: "nobody: start 'flask interaction-mail worker'",
    DeliveryMode.CELERY: "see 'celery inspect active'",
    DeliveryMode.THREAD: "no process at present: each begins with its first request or commit",
    DeliveryMode.SYNC: "each process at the end of its requests",
}


@main.command()
@as_json
def status(as_json: bool) -> None:
    """Show whether mail flows: settings, server, what waits and what failed."""
    told = figures(state_of())
    if as_json:
        dump(told)
        return
    counts, above = told.pop("messages"), told.pop("held_by_rate")
    if told["transport"].stands_in:
        told["transport"] = f"{told['transport']}: {IN_PLACE[told['transport']]}"
    told["server_takes"] = _limits(told["server_takes"])
    relays = [*map(_relay, told.pop("relays"))]
    if len(relays) > 1:
        told["relays"] = relays
        for name in ("server", "server_takes", "server_trouble", "next_try", "mailbox"):
            del told[name]  # those of one relay, which the list has
    if not told["without_relay"]:
        del told["without_relay"]
    told["at_work"] = [*map(_process, told["at_work"])] or _NOBODY[told["delivery"]]
    pairs((name.replace("_", " "), value) for name, value in told.items())
    say("\nMessages:")
    if above:
        counts[Status.HELD] = (
            f"{counts[Status.HELD]}, of which {above} are above a rate and leave by themselves"
        )
    pairs(counts.items())


def _limits(limits: Mapping[str, int | None]) -> str | None:
    """What is known of the server's limits, None for nothing."""
    each = {"recipients": "recipients in a message", "connections": "connections at once"}
    known = [f"{most} {each[what]}" for what, most in limits.items() if most is not None]
    return ", ".join(known) or None


def _relay(told: Mapping[str, Any]) -> str:
    takes, only = _limits(told["takes"]), ", ".join(told["only_from"])
    trouble = told["trouble"] and f"in trouble until {as_text(told['next_try'])}: {told['trouble']}"
    only = only and f"only mail from {only}"
    takes = takes and f"takes {takes}"
    mailbox = told["mailbox"] and f"mailbox {told['mailbox']}"
    facts = (f"{told['name']}: {told['server']}", only, takes, mailbox, trouble)
    return "; ".join(filter(None, facts))


def _process(told: Mapping[str, Any]) -> str:
    server = f" in {told['server']}" if told["server"] else ""
    return f"{told['how']} {told['who']}{server} since {as_text(told['since'])}"
