"""One option for each setting, and the ways to give a password that nobody else can see."""

from __future__ import annotations

import codecs
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from ..errors import SettingsError
from ..settings import fields
from ..settings.layers import InForce
from ..settings.model import RELAY_SETTINGS, SECRETS, SETTINGS
from ..settings.relay import DEFAULT
from ..settings.secret import Secret
from ..settings.setting import Widget
from .output import Function


def setting_options(command: Function) -> Function:
    """Add an option for every setting but secrets, and two ways to give each of those."""
    return _with_options(command, SETTINGS)


def relay_options(command: Function) -> Function:
    """As ``setting_options``, for what a relay has of its own."""
    return _with_options(command, RELAY_SETTINGS)


def _with_options(command: Function, names: Iterable[str]) -> Function:
    plain = [name for name in names if name not in SECRETS]
    decorators = [
        *(_option(name) for name in plain),
        click.option(
            "--unset",
            multiple=True,
            type=click.Choice(plain),
            metavar="SETTING",
            help="Give this setting its first value again, e.g. smtp_port.",
        ),
        *(option for name in names if name in SECRETS for option in _secret_options(name)),
    ]
    for decorate in reversed(decorators):
        command = decorate(command)
    return command


def _option(name: str) -> Callable[[Function], Function]:
    flag, setting = "--" + name.replace("_", "-"), SETTINGS[name]
    if setting.kind is bool:
        return click.option(f"{flag}/--no-{flag[2:]}", name, default=None, help=setting.command)
    kind = click.Choice([*map(str, setting.choices)]) if setting.choices else None
    return click.option(flag, name, type=kind, help=setting.command)


def _secret_options(name: str) -> tuple[Callable[[Function], Function], ...]:
    flag, label = "--" + name.replace("_", "-"), SETTINGS[name].label.lower()
    if SETTINGS[name].widget is Widget.SECRET_AREA:
        return (
            click.option(f"{flag}-file", metavar="FILE", help=f"Read the {label} from FILE."),
            click.option(f"{flag}-stdin", is_flag=True, help=f"Read the {label} from all input."),
        )
    read = f"Read the {label} from the first line of standard input."
    return (
        click.option(f"{flag}-prompt", is_flag=True, help=f"Ask for the {label}, twice."),
        click.option(f"{flag}-stdin", is_flag=True, help=read),
    )


def changes_of(options: Mapping[str, Any], relay: str = DEFAULT) -> dict[str, object]:
    """What the options ask for, of ``relay``: name to value; asks for secrets where it is to."""
    changes: dict[str, object] = {
        name: _from_file(name, options[name]) for name in SETTINGS if options.get(name) is not None
    }
    for name in options["unset"]:
        if name in changes:
            raise click.UsageError(f"--unset {name} contradicts the option that sets it.")
        changes[name] = SETTINGS[name].default
    secrets = {name: _secret(name, options) for name in SECRETS if f"{name}_stdin" in options}
    changes |= {name: secret for name, secret in secrets.items() if secret is not None}
    return {fields.of(relay, name): value for name, value in changes.items()}


def _from_file(name: str, value: object) -> object:
    if SETTINGS[name].widget not in (Widget.AREA, Widget.SECRET_AREA):
        return value
    if not isinstance(value, str) or not value.startswith("@"):
        return value
    try:
        raw = Path(value[1:]).read_bytes()
    except OSError as error:
        raise SettingsError({name: f"{value[1:]} cannot be read: {error}"}) from error
    # Certificates are ASCII; what stands beside them may be in any encoding.
    wide = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return raw.decode("utf-16" if wide else "utf-8", "replace")


def _secret(name: str, options: Mapping[str, Any]) -> Secret | None:
    flag = "--" + name.replace("_", "-")
    if SETTINGS[name].widget is Widget.SECRET_AREA:
        return _secret_lines(name, flag, options)
    if options[f"{name}_prompt"] and options[f"{name}_stdin"]:
        raise click.UsageError(f"Give {flag}-prompt or {flag}-stdin, but not both.")
    if options[f"{name}_prompt"]:
        label = SETTINGS[name].label
        return Secret(click.prompt(label, hide_input=True, confirmation_prompt=True))
    if not options[f"{name}_stdin"]:
        return None
    secret = Secret(sys.stdin.readline().rstrip("\r\n"))
    if not secret:
        raise SettingsError({name: "standard input is empty"})
    return secret


def _secret_lines(name: str, flag: str, options: Mapping[str, Any]) -> Secret | None:
    path, from_input = options[f"{name}_file"], options[f"{name}_stdin"]
    if path and from_input:
        raise click.UsageError(f"Give {flag}-file or {flag}-stdin, but not both.")
    if path:
        return Secret(str(_from_file(name, f"@{path}")))
    if not from_input:
        return None
    secret = Secret(sys.stdin.read())
    if not secret.reveal().strip():
        raise SettingsError({name: "standard input is empty"})
    return secret


def refuse_overridden(changes: Mapping[str, object], now: InForce) -> None:
    """Refuse what this process overrides: saving it would not change anything here.

    Raises:
        SettingsError: a field of ``changes`` is overridden.
    """
    text = "is overridden by INTERACTION_MAIL_OVERRIDES of this process: change it there"
    overridden = now.overridden
    if refused := [name for name in changes if name in overridden]:
        raise SettingsError(dict.fromkeys(refused, text))


def need_relay(now: InForce, relay: str) -> None:
    """Refuse a name that no relay has.

    Raises:
        SettingsError: there is no such relay.
    """
    if relay not in now.settings.relays:
        known = ", ".join(now.settings.relays)
        raise SettingsError({relay: f"is no relay; there are: {known}"})
