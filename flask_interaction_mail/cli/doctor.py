"""``doctor``: what is set up wrongly."""

from __future__ import annotations

from ..monitoring.health import examine
from ..monitoring.health.look import Health
from ..state import state_of
from .output import as_json, dump, fail, main, say


@main.command()
@as_json
def doctor(as_json: bool) -> None:
    """Look for what is set up wrongly; the exit status is 1 if something is."""
    looks = list(examine(state_of()))
    if as_json:
        dump([{"topic": look.topic, "health": look.health, "text": look.text} for look in looks])
    else:
        for look in looks:
            say(f"[{look.health:>5}] {look.topic}: {look.text}")
    if wrong := [look.topic for look in looks if look.health is Health.WRONG]:
        fail(f"{len(wrong)} thing(s) to put right: {', '.join(wrong)}.")
