"""``relays list|add|edit|remove|move|test``: the servers that mail goes by, in their order."""

from __future__ import annotations

from typing import Any

import click

from .. import operations
from ..errors import SettingsError
from ..outbox import messages
from ..settings import fields
from ..settings.cleaners import WrongValue
from ..settings.layers import InForce
from ..settings.model import relay_of
from ..settings.relay import DEFAULT, SES
from ..state import state_of
from .fields import changes_of, need_relay, refuse_overridden, relay_options
from .output import Commands, as_json, dump, main, operator, table, warn
from .settings import ORIGINS, say_saved
from .test import run_test

_TOLD = (
    *("kind", "smtp_server", "smtp_port", "encryption", "use_authentication"),
    *("region", "endpoint", "access_key", "from_domains"),
)


@main.group(cls=Commands)
def relays() -> None:
    """See and change the relays: the servers that take the mail, in their order."""


@relays.command("list")
@as_json
def list_(as_json: bool) -> None:
    """List the relays in their order. Mail goes by the first one that may carry it and works."""
    now = state_of().settings.current()
    if as_json:
        dump([_told(relay, now) for relay in now.settings.relays])
        return
    rows = [(place, *_line(now.of(relay))) for place, relay in enumerate(now.settings.relays, 1)]
    head = ("relay", "kind", "server", "port", "encryption", "login", "mail from", "from")
    table(("", *head), rows)


def _line(one: InForce) -> tuple[object, ...]:
    relay = relay_of(one.settings)
    reached = (relay.server, relay.port, relay.encryption, relay.use_authentication)
    origin = one.origins["region" if relay.kind == SES else "smtp_server"]
    return relay.name, relay.kind, *reached, relay.from_domains, ORIGINS[origin]


def _told(relay: str, now: InForce) -> dict[str, object]:
    one = now.of(relay)
    return {
        "name": relay,
        **{name: getattr(one.settings, name) for name in _TOLD},
        "password": one.password,
        "read_only": relay in now.fixed,
    }


@relays.command()
@click.argument("name")
@relay_options
@as_json
def add(name: str, as_json: bool, **options: Any) -> None:
    """Add the relay NAME after the others; the options are those of its server.

    A name has letters from a to z and digits, with - or _ between them. It never changes.
    """
    try:
        name = fields.clean_relay(name)
    except WrongValue as error:
        raise SettingsError({name: str(error)}) from error
    now = state_of().settings.current()
    stored = now.stored
    if name in stored:
        raise SettingsError({name: "is a relay already; 'relays edit' changes it"})
    say_saved(_save(now, changes_of(options, name), (*stored, name)), as_json)


@relays.command()
@click.argument("name")
@relay_options
@as_json
def edit(name: str, as_json: bool, **options: Any) -> None:
    """Change settings of the relay NAME; what is not named stays as it is."""
    now = state_of().settings.current()
    _need_stored(now, name)
    changes = changes_of(options, name)
    if not changes:
        raise click.UsageError("Nothing to change: name at least one setting. See --help.")
    refuse_overridden(changes, now)
    say_saved(_save(now, changes), as_json)


@relays.command()
@click.argument("name")
@as_json
def remove(name: str, as_json: bool) -> None:
    """Remove the relay NAME, with its password. Its mail goes by the others."""
    now = state_of().settings.current()
    _need_stored(now, name)
    if name == DEFAULT:
        raise SettingsError({name: "is always there: move it to the end, or edit it"})
    with state_of().database.reading() as connection:
        waiting = messages.waiting_at(connection, name)
    saved = _save(now, {}, tuple(relay for relay in now.stored if relay != name))
    say_saved(saved, as_json)
    if waiting:
        warn(
            f"{waiting} message(s) that may have left by it waited for it. They are held; "
            "'outbox release' sends them by another."
        )


@relays.command()
@click.argument("name")
@click.argument("place", type=click.IntRange(1))
@as_json
def move(name: str, place: int, as_json: bool) -> None:
    """Give the relay NAME the PLACE in the order: 1 is tried first."""
    now = state_of().settings.current()
    _need_stored(now, name)
    others = [relay for relay in now.stored if relay != name]
    say_saved(_save(now, {}, (*others[: place - 1], name, *others[place - 1 :])), as_json)


@relays.command()
@click.argument("name")
@relay_options
@as_json
def test(name: str, as_json: bool, **options: Any) -> None:
    """Send the test message by the relay NAME alone, and show each step.

    Options change its settings for this test only; nothing is saved.
    """
    run_test(name, changes_of(options, name), as_json=as_json)


def _need_stored(now: InForce, relay: str) -> None:
    need_relay(now, relay)
    if relay in now.fixed:
        text = "is set by INTERACTION_MAIL_OVERRIDES of this process: change it there"
        raise SettingsError({relay: text})


def _save(now: InForce, changes: dict[str, object], order: tuple[str, ...] = ()) -> InForce:
    listed: dict[str, object] = {fields.RELAYS: order} if order else {}
    return operations.save_settings(
        state_of(), changes | listed, base=now.revision, changed_by=operator()
    )
