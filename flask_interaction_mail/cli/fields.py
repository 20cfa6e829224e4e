"""One option for each setting, and the ways to give a password that nobody else can see."""

from __future__ import annotations

import codecs
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import click

from ..errors import SettingsError
from ..settings.layers import InForce
from ..settings.model import BOOLEANS, ENUMS, FIELDS, MessagingSettings, Secret
from .output import Function

_HELP: Final = {
    "company_domain": "The part after @ that short addresses get.",
    "smtp_server": "Name or IP address of the SMTP server.",
    "smtp_port": "1 to 65535; usual are 25, 587 and 465.",
    "encryption": "How the connection is protected.",
    "use_authentication": "Log in before sending.",
    "login": "Login name at the server.",
    "default_to": "Gets what has no other recipient.",
    "default_from": "Sends, and gets what cannot be delivered.",
    "default_from_name": "Shown with the default From.",
    "from_policy": "Who is named as the author.",
    "ca_certificate": "Certificate of a private authority: @FILE, or its PEM text.",
    "allow_unencrypted_auth": "Log in even without encryption.",
    "helo_name": "How this machine introduces itself.",
    "sender_name": "Stands after 'via' in From.",
    "own_domains": "Further domains of your own, with commas between them.",
    "foreign_sender": "How users in other domains are named.",
    "on_ambiguous": "What to do when the server's last answer is lost.",
    "divert_to": "Send everything there instead.",
    "paused": "Keep messages, send none.",
}
NAMES: Final = tuple(name for name in FIELDS if name != "password")


def setting_options(command: Function) -> Function:
    """Add an option for every setting but the password, and two ways to give that."""
    decorators = [
        *(_option(name) for name in NAMES),
        click.option(
            "--unset",
            multiple=True,
            type=click.Choice(NAMES),
            metavar="SETTING",
            help="Give this setting its first value again, e.g. smtp_port.",
        ),
        click.option("--password-prompt", is_flag=True, help="Ask for the password, twice."),
        click.option(
            "--password-stdin",
            is_flag=True,
            help="Read the password from the first line of standard input.",
        ),
    ]
    for decorate in reversed(decorators):
        command = decorate(command)
    return command


def _option(name: str) -> Callable[[Function], Function]:
    flag = "--" + name.replace("_", "-")
    if name in BOOLEANS:
        return click.option(f"{flag}/--no-{flag[2:]}", name, default=None, help=_HELP[name])
    kind = click.Choice([str(word) for word in ENUMS[name]]) if name in ENUMS else None
    return click.option(flag, name, type=kind, help=_HELP[name])


def changes_of(options: Mapping[str, Any]) -> dict[str, object]:
    """What the options ask for: field to value; asks for the password where that is wanted."""
    changes: dict[str, object] = {
        name: _from_file(name, options[name]) for name in NAMES if options[name] is not None
    }
    blank = MessagingSettings()
    for name in options["unset"]:
        if name in changes:
            raise click.UsageError(f"--unset {name} contradicts the option that sets it.")
        changes[name] = getattr(blank, name)
    if (password := _password(options)) is not None:
        changes["password"] = password
    return changes


def _from_file(name: str, value: object) -> object:
    if name != "ca_certificate" or not isinstance(value, str) or not value.startswith("@"):
        return value
    try:
        raw = Path(value[1:]).read_bytes()
    except OSError as error:
        raise SettingsError({name: f"{value[1:]} cannot be read: {error}"}) from error
    # Certificates are ASCII; what stands beside them may be in any encoding.
    wide = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return raw.decode("utf-16" if wide else "utf-8", "replace")


def _password(options: Mapping[str, Any]) -> Secret | None:
    if options["password_prompt"] and options["password_stdin"]:
        raise click.UsageError("Give --password-prompt or --password-stdin, but not both.")
    if options["password_prompt"]:
        return Secret(click.prompt("Password", hide_input=True, confirmation_prompt=True))
    if not options["password_stdin"]:
        return None
    password = Secret(sys.stdin.readline().rstrip("\r\n"))
    if not password:
        raise SettingsError({"password": "standard input is empty"})
    return password


def refuse_overridden(changes: Mapping[str, object], now: InForce) -> None:
    """Refuse what this process overrides: saving it would not change anything here.

    Raises:
        SettingsError: a field of ``changes`` is overridden.
    """
    text = "is overridden by INTERACTION_MAIL_OVERRIDES of this process: change it there"
    if overridden := [name for name in changes if name in now.overridden]:
        raise SettingsError(dict.fromkeys(overridden, text))
