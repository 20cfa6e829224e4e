"""The list of relays in the form: what its buttons do. Nothing is saved."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ..language import gettext, ngettext, number
from ..settings import fields
from ..settings.cleaners import WrongValue
from ..settings.relay import DEFAULT

NAME = "relay_name"  # the field with the name of one that is added


class Rearranged(NamedTuple):
    """The list afterwards, what is said of it, and the relay that it is about.

    ``wrong`` says why the typed name cannot be one.
    """

    relays: tuple[str, ...]
    said: str = ""
    about: str = ""
    wrong: str = ""


def rearranged(
    relays: tuple[str, ...],
    fixed: tuple[str, ...],
    done: str,
    typed: str,
    waiting: Callable[[str], int],
) -> Rearranged:
    """What comes of the button ``done``: "add", or "up", "down" or "remove" with a relay.

    ``fixed`` are relays that cannot be changed, ``typed`` is the name of one to add, and
    ``waiting`` counts the messages that wait for a relay.
    """
    what, _, relay = done.partition(" ")
    if what == "add":
        return _added(relays, fixed, typed)
    if relay not in relays:
        return Rearranged(relays)
    if what == "remove" and relay != DEFAULT:
        left = tuple(one for one in relays if one != relay)
        return Rearranged(left, _removed(relay, waiting(relay)))
    steps = {"up": -1, "down": 1}.get(what, 0)
    at = min(max(relays.index(relay) + steps, 0), len(relays) - 1)
    others = [one for one in relays if one != relay]
    moved = (*others[:at], relay, *others[at:])
    place = gettext(
        "“%(name)s” is number %(place)s now. Press Save to keep this order.",
        name=relay,
        place=number(at + 1),
    )
    return Rearranged(moved, place, relay)


def _added(relays: tuple[str, ...], fixed: tuple[str, ...], typed: str) -> Rearranged:
    try:
        relay = fields.clean_relay(typed)
        if relay in (*relays, *fixed):
            return Rearranged(relays, wrong=gettext("is taken: choose another one"))
        added = fields.clean_relays((*relays, relay))
    except WrongValue as error:
        return Rearranged(relays, wrong=str(error))
    said = gettext(
        "“%(name)s” stands at the end. Enter its server, test it, then press Save.", name=relay
    )
    return Rearranged(added, said, relay)


def _removed(relay: str, waiting: int) -> str:
    said = gettext("“%(name)s” is removed once you press Save.", name=relay)
    if not waiting:
        return said
    more = ngettext(
        "One message that may have left by it waits for it: it will be held, until you release it.",
        "%(count)s messages that may have left by it wait for it: they will be held, until you "
        "release them.",
        waiting,
    )
    return f"{said} {more}"
