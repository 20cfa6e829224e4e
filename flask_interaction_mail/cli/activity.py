"""``activity rebuild``: the counts behind the page Activity."""

from __future__ import annotations

from .. import operations
from ..state import state_of
from .output import Commands, as_json, dump, main, say


@main.group(cls=Commands)
def activity() -> None:
    """Look after the counts from which the page Activity is made."""


@activity.command()
@as_json
def rebuild(as_json: bool) -> None:
    """Count anew what the outbox still has, and forget all other counts.

    For mail that was sent before this version. Delivery may go on meanwhile.
    """
    counted = operations.rebuild_activity(state_of())
    dump({"counted": counted}) if as_json else say(f"Counted {counted} messages anew.")
