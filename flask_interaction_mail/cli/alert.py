"""``alert``: whether mail is in trouble, and a test of how that is told."""

from __future__ import annotations

import click

from ..monitoring import alerts
from ..monitoring.exposition import as_json as as_plain
from ..outbox.conditions import TITLES
from ..state import State, state_of
from .output import as_json, dump, fail, main, operator, say


@main.command()
@click.option("--test", is_flag=True, help="Tell a test alert, and nothing else.")
@as_json
def alert(test: bool, as_json: bool) -> None:
    """Find out what is in trouble, tell it, and end with exit status 1 if anything is.

    A process that delivers does the same each minute. From cron it also notices that nobody
    delivers.
    """
    state = state_of()
    if test:
        _test(state)
        return
    found = alerts.check(state)
    if as_json:
        dump(as_plain(found))
    for name, text in found.holding.items():
        if not as_json:
            say(f"{name}: {TITLES[name]}. {text}")
    if not found.fine:
        fail("an alert holds.")
    if not as_json:
        say("No alert holds.")


def _test(state: State) -> None:
    if alerts.send_test(state, state.settings.current().settings, by=operator()):
        say("Told to the log, to the signal messaging_alert, and to the webhook, which took it.")
    else:
        say("Told to the log and to the signal messaging_alert. There is no webhook (alert_url).")
