"""``settings show|set|history|restore`` and ``rotate-keys``."""

from __future__ import annotations

from typing import Any, Final

import click

from .. import operations
from ..monitoring.mailbox import told_of_mailbox
from ..settings import fields
from ..settings.layers import InForce, login_advice
from ..settings.model import RELAY_SETTINGS, SECRETS, SETTINGS, Origin, PasswordState
from ..settings.setting import Widget
from ..state import state_of
from .fields import changes_of, refuse_overridden, setting_options
from .output import Commands, as_json, dump, main, operator, say, table, warn

ORIGINS: Final = {
    Origin.OVERRIDE: "override",
    Origin.STORED: "stored",
    Origin.CONFIG: "MAIL_* configuration",
    Origin.DEFAULT: "-",
}
_PASSWORDS: Final = {
    PasswordState.NONE: "none",
    PasswordState.USABLE: "set",
    PasswordState.UNBOUND: "set for another connection, not used",
    PasswordState.UNREADABLE: "unreadable with the keys of this application",
}


@main.group(cls=Commands)
def settings() -> None:
    """See and change the settings."""


@settings.command()
@as_json
def show(as_json: bool) -> None:
    """Show the settings in force, and where each comes from."""
    now = state_of().settings.current()
    if as_json:
        dump(_as_plain(now) | {"mailbox": told_of_mailbox(state_of(), now)})
        return
    rows = [(name, shown(name, now), ORIGINS[now.origins[name]]) for name in SETTINGS]
    if now.others:
        rows.append((fields.RELAYS, now.settings.relays, ORIGINS[Origin.STORED]))
    for relay, other in now.others.items():
        rows += [
            (fields.of(relay, name), shown(name, other), ORIGINS[other.origins[name]])
            for name in RELAY_SETTINGS
            if other.origins[name] is not Origin.DEFAULT
        ]
    table(("setting", "value", "from"), rows)
    say_mailbox(now)
    say(f"\nRevision {now.revision}." if now.revision else "\nNothing has been saved yet.")
    if not now.settings.configured:
        say("E-mail is not configured: a server and a default From are needed.")


def shown(name: str, now: InForce) -> object:
    """The value of ``name`` in a table; of a secret only whether there is one."""
    if name == "password":
        return _PASSWORDS[now.password]
    value = getattr(now.settings, name)
    if SETTINGS[name].secret or SETTINGS[name].widget is Widget.AREA:
        return "set" if value else None
    return value


def say_mailbox(now: InForce) -> None:
    """Say whether the mailbox of each relay that needs it is connected."""
    for relay, one in now.each.items():
        if (told := told_of_mailbox(state_of(), one)) is not None:
            say(f"Mailbox{f' of {relay}' if now.others else ''}: {told}.")


def _as_plain(now: InForce) -> dict[str, object]:
    return {
        "revision": now.revision,
        "configured": now.settings.configured,
        "password": now.password,
        "settings": {name: _value(name, now) for name in SETTINGS},
        "relays": [
            {
                "name": relay,
                "password": one.password,
                "mailbox": told_of_mailbox(state_of(), one),
                "settings": {name: _value(name, one) for name in RELAY_SETTINGS},
            }
            for relay, one in now.each.items()
        ],
        "problems": now.problems,
    }


def _value(name: str, now: InForce) -> dict[str, object]:
    value = None if name in SECRETS else getattr(now.settings, name)
    return {"value": value, "origin": now.origins[name]}


@settings.command("set")
@setting_options
@as_json
def set_(as_json: bool, **options: Any) -> None:
    """Change settings, all of them or none, by the rules of the panel.

    Where there are several relays, those of a server are of "default"; 'relays' changes others.
    What is not named stays as it is. The password is asked for or read from standard input:
    the arguments of a command can be seen by others.
    """
    state = state_of()
    now = state.settings.current()
    changes = changes_of(options)
    if not changes:
        raise click.UsageError("Nothing to change: name at least one setting. See --help.")
    refuse_overridden(changes, now)
    saved = operations.save_settings(state, changes, base=now.revision, changed_by=operator())
    say_saved(saved, as_json)


def say_saved(saved: InForce, as_json: bool) -> None:
    """Say which revision is in force now, and whether its mailboxes are connected."""
    if as_json:
        dump({"revision": saved.revision})
        return
    say(f"Saved as revision {saved.revision}.")
    say_mailbox(saved)


@settings.command()
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1))
@as_json
def history(limit: int, as_json: bool) -> None:
    """List the revisions, newest first."""
    revisions = state_of().settings.history(limit)
    if as_json:
        dump(
            [
                {"revision": row.revision, "at": row.at, "by": row.by, "changed": row.changed}
                for row in revisions
            ]
        )
        return
    table(
        ("revision", "when", "by", "changed"),
        [(row.revision, row.at, row.by, row.changed) for row in revisions],
    )


@settings.command()
@click.argument("revision", type=int)
@as_json
def restore(revision: int, as_json: bool) -> None:
    """Make REVISION the newest one again."""
    restored = operations.restore_settings(state_of(), revision, changed_by=operator())
    if as_json:
        dump({"revision": restored.revision})
    else:
        say(f"Revision {revision} is in force again, as revision {restored.revision}.")
    for advice in login_advice(restored):
        warn(advice)


@main.command("rotate-keys")
@as_json
def rotate_keys(as_json: bool) -> None:
    """Encrypt the stored secrets with the newest key."""
    count = operations.rotate_keys(state_of())
    if as_json:
        dump({"encrypted": count})
        return
    say(f"{count} stored password(s) encrypted anew." if count else "Nothing to encrypt anew.")
