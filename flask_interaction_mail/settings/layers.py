"""Where the settings in force come from, and whether the password may be used with them.

Each field is decided by the strongest layer that sets it. The password is decided by the
strongest layer that has one, and is used only if every other field of the connection is what
it was where that password was set: nobody who may edit a server's name learns a password.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from ..errors import SettingsError
from . import rules
from .fields import clean
from .model import (
    BOUND_TO,
    SETTINGS,
    Destination,
    Encryption,
    MessagingSettings,
    Origin,
    PasswordState,
    Secret,
)

_NO: Final = frozenset({"", "0", "n", "no", "off", "false"})
_NAMED: Final = re.compile(r'\s*"?(?P<name>[^<>"]*?)"?\s*<(?P<address>[^<>]+)>\s*')


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """Some of the fields, all cleaned, and where a password among them may go.

    ``values`` has the key ``password`` where the layer has one. ``bound_to`` is None where
    that password cannot be read.
    """

    origin: Origin
    values: Mapping[str, object]
    bound_to: Destination | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InForce:
    """The settings in force, and where they come from.

    ``settings.password`` is None unless ``password`` is usable. ``unbound`` names the fields
    in which the connection differs from the one that the password was set for. ``revision``
    is that of the stored layer, 0 where nothing was ever saved.
    """

    settings: MessagingSettings
    revision: int
    origins: Mapping[str, Origin]
    password: PasswordState
    unbound: tuple[str, ...] = ()

    @property
    def overridden(self) -> frozenset[str]:
        """The fields that this process overrides, read-only in the panel (R23)."""
        return frozenset(name for name, origin in self.origins.items() if origin is Origin.OVERRIDE)

    @property
    def problems(self) -> dict[str, str]:
        """What keeps these settings from being saved: field to text (R44)."""
        return rules.problems(
            self.settings,
            password=self.password,
            origin=self.origins["password"],
            unbound=self.unbound,
        )

    @property
    def password_advice(self) -> str:
        """Why the password cannot be used, and what to do; "" if it can."""
        return rules.password_advice(
            self.password, origin=self.origins["password"], unbound=self.unbound
        )


def configured_layer(origin: Origin, values: Mapping[str, object]) -> Layer:
    """A layer of the configuration; its password goes where the layer itself says.

    Fields of the connection that the layer leaves out count with their defaults: a password
    without a server beside it fits nowhere.
    """
    return Layer(origin=origin, values=values, bound_to=_settings(values).destination)


def from_mail_config(config: Mapping[str, Any]) -> dict[str, object]:
    """The settings that the host's ``MAIL_*`` keys mean; {} unless it sets ``MAIL_SERVER``.

    Raises:
        SettingsError: with the text for each key that is wrong, by its name.
    """
    if not config.get("MAIL_SERVER"):
        return {}
    values: dict[str, object] = {}
    errors: dict[str, str] = {}
    for key, name, raw in _mail_values(config):
        try:
            values[name] = clean(name, raw)
        except SettingsError as error:
            errors[key] = error.errors[name]
    if errors:
        raise SettingsError(errors)
    return {name: value for name, value in values.items() if value is not None}


def in_force(layers: Sequence[Layer], *, revision: int) -> InForce:
    """What ``layers``, strongest first, come to."""
    values, origins = layered(layers)
    settings = _settings(values)
    holder = next((layer for layer in layers if layer.origin is origins["password"]), None)
    state, unbound = _password_state(holder, settings.destination)
    if holder is not None and state is PasswordState.USABLE:
        settings = replace(settings, password=_secret(holder))
    return InForce(
        settings=settings, revision=revision, origins=origins, password=state, unbound=unbound
    )


def layered(layers: Sequence[Layer]) -> tuple[dict[str, object], dict[str, Origin]]:
    """The value of each field that a layer sets, and the origin of every field."""
    values: dict[str, object] = {}
    origins = dict.fromkeys(SETTINGS, Origin.DEFAULT)
    for layer in reversed(layers):
        values |= layer.values
        origins |= dict.fromkeys(layer.values, layer.origin)
    return values, origins


def _settings(values: Mapping[str, object]) -> MessagingSettings:
    plain: dict[str, Any] = {name: value for name, value in values.items() if name != "password"}
    return MessagingSettings(**plain)


def _secret(layer: Layer) -> Secret | None:
    password = layer.values.get("password")
    return password if isinstance(password, Secret) else None


def _password_state(
    holder: Layer | None, destination: Destination
) -> tuple[PasswordState, tuple[str, ...]]:
    if holder is None:
        return PasswordState.NONE, ()
    if holder.bound_to is None:
        return PasswordState.UNREADABLE, ()
    if not _secret(holder):
        return PasswordState.NONE, ()
    unbound = _differences(holder.bound_to, destination)
    return (PasswordState.UNBOUND if unbound else PasswordState.USABLE), unbound


def _differences(one: Destination, other: Destination) -> tuple[str, ...]:
    return tuple(
        name for name, part in BOUND_TO.items() if getattr(one, part) != getattr(other, part)
    )


def _mail_values(config: Mapping[str, Any]) -> Iterator[tuple[str, str, object]]:
    """Key of the host, name of the setting, raw value; defaults are those of Flask-Mail."""
    name, address = _mail_sender(config.get("MAIL_DEFAULT_SENDER"))
    meant = {
        "encryption": _mail_encryption(config),
        "use_authentication": bool(config.get("MAIL_USERNAME")),
        "default_from": address,
        "default_from_name": name,
        "sender_name": name,
    }
    for setting, entry in SETTINGS.items():
        if key := entry.mail_key:
            yield key, setting, meant.get(setting, config.get(key))


def _mail_encryption(config: Mapping[str, Any]) -> Encryption:
    if _flag(config.get("MAIL_USE_SSL")):
        return Encryption.TLS
    return Encryption.STARTTLS if _flag(config.get("MAIL_USE_TLS")) else Encryption.NONE


def _flag(raw: object) -> bool:
    # Hosts pass on environment variables as they are, where "0" means no.
    return raw.strip().lower() not in _NO if isinstance(raw, str) else bool(raw)


def _mail_sender(sender: object) -> tuple[object, object]:
    if isinstance(sender, list | tuple) and len(sender) == 2:
        return sender[0], sender[1]
    if isinstance(sender, str) and (found := _NAMED.fullmatch(sender)):
        return found["name"], found["address"]
    return None, sender
