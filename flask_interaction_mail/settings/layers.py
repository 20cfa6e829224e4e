"""Where the settings in force come from, and whether the password may be used with them.

Each field has the value of the strongest layer that sets it. The password comes from the
strongest layer that has one. It is used only if every other field of the connection is what it
was when that password was set, so nobody learns a password by changing the server's name.

Each relay has layers of its own, in which its fields stand beside those that all relays share.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from ..errors import SettingsError
from ..language import labelled
from . import fields, rules
from .cleaners import FALSE
from .fields import clean
from .model import (
    BINDINGS,
    BOUND_TO,
    RELAY_SETTINGS,
    SECRETS,
    SETTINGS,
    MessagingSettings,
    Origin,
    PasswordState,
)
from .relay import DEFAULT, SES, SMTP, Destination, Encryption, SignIn
from .secret import BoundSecret, Secret

_NAMED: Final = re.compile(r'\s*"?(?P<name>[^<>"]*?)"?\s*<(?P<address>[^<>]+)>\s*')


class Layer(NamedTuple):
    """Clean values of some fields, and the destination of a password among them.

    ``values`` has the key ``password`` if the layer has a password. ``bound_to`` is None if that
    password cannot be read. Other secrets are a ``BoundSecret``, None if they cannot be read.
    """

    origin: Origin
    values: Mapping[str, object]
    bound_to: Destination | None = None


class InForce(NamedTuple):
    """The settings in force, and where they come from.

    ``settings.password`` is None unless the state ``password`` is usable. ``unbound`` names the
    fields in which the connection differs from the one that the password was set for.
    ``revision`` is that of the stored layer, 0 if nothing was ever saved.

    ``others`` is the same for each relay but ``settings.relay``, by its name. ``fixed`` are the
    relays that only the overrides know.
    """

    settings: MessagingSettings
    revision: int
    origins: Mapping[str, Origin]
    password: PasswordState
    unbound: tuple[str, ...] = ()
    others: Mapping[str, InForce] = MappingProxyType({})
    fixed: frozenset[str] = frozenset()

    def of(self, relay: str) -> InForce:
        """These settings with what ``relay`` has of its own.

        Raises:
            KeyError: there is no such relay.
        """
        return self if relay == self.settings.relay else self.others[relay]

    @property
    def each(self) -> dict[str, InForce]:
        """These settings as each relay has them, by its name, in their order."""
        return {relay: self.of(relay) for relay in self.settings.relays}

    @property
    def stored(self) -> tuple[str, ...]:
        """The relays that are stored, in their order."""
        return tuple(relay for relay in self.settings.relays if relay not in self.fixed)

    @property
    def overridden(self) -> frozenset[str]:
        """The names that this process overrides; the panel shows them read-only (R23)."""
        ours = [name for name, origin in self.origins.items() if origin is Origin.OVERRIDE]
        theirs = [
            fields.of(relay, name)
            for relay, other in self.others.items()
            for name in other.overridden
        ]
        return frozenset((*ours, *theirs))

    @property
    def problems(self) -> dict[str, str]:
        """Why these settings cannot be saved: name to text, empty if they can (R44)."""
        found = rules.problems(
            self.settings,
            password=self.password,
            origin=self.origins["password"],
            unbound=self.unbound,
        )
        for relay, other in self.others.items():
            found |= {
                fields.of(relay, name): text
                for name, text in other.problems.items()
                if SETTINGS[name].of_relay
            }
        return found

    @property
    def password_advice(self) -> str:
        """Why the password cannot be used, and what to do; "" if it can."""
        return rules.password_advice(
            self.password, origin=self.origins["password"], unbound=self.unbound
        )

    @property
    def login_advice(self) -> str:
        """Why the secret of the sign-in cannot be used, and what to do; "" if it can, or if
        nobody logs in."""
        if self.settings.kind is SES:
            return " ".join(rules.ses_problems(self.settings).values())
        if self.settings.by_token:
            return " ".join(rules.token_problems(self.settings).values())
        return self.password_advice if self.settings.by_password else ""


def login_advice(found: InForce) -> list[str]:
    """``login_advice`` of each relay that has one; with its name where there are several."""
    said = [(relay, one.login_advice) for relay, one in found.each.items()]
    return [labelled(relay, text) if len(said) > 1 else text for relay, text in said if text]


def together(found: Mapping[str, InForce], fixed: Collection[str]) -> InForce:
    """The settings in force of several relays, in their order, as those of "default".

    ``found`` are those of each, ``fixed`` the relays that only the overrides know.
    """
    others = {
        relay: {name: getattr(other.settings, name) for name in RELAY_SETTINGS}
        for relay, other in found.items()
        if relay != DEFAULT
    }
    settings = replace(found[DEFAULT].settings, relays=tuple(found), others=others)
    return found[DEFAULT]._replace(
        settings=settings,
        others={
            relay: found[relay]._replace(settings=settings.with_relay(relay)) for relay in others
        },
        fixed=frozenset(fixed),
    )


def configured_layer(origin: Origin, values: Mapping[str, object], relay: str = DEFAULT) -> Layer:
    """A layer of the configuration as ``relay`` has it; its password is for its own connection.

    Fields of the connection that are left out have their defaults, so a password without a
    server beside it is never used.
    """
    values = fitting(values)
    if origin is Origin.OVERRIDE and values.get("use_authentication"):
        values = {"sign_in": SignIn.PASSWORD, **values}  # what it has always meant
    if origin is Origin.OVERRIDE and values.get("smtp_server"):
        values = {"kind": SMTP, **values}  # a copy of a site must not send by its Amazon SES
    settings = _settings(values, relay)
    values = {**values, **bound(values, settings)}
    return Layer(origin=origin, values=values, bound_to=settings.destination)


def from_mail_config(config: Mapping[str, Any]) -> dict[str, object]:
    """The settings from the host's ``MAIL_*`` keys; {} unless it sets ``MAIL_SERVER``.

    Raises:
        SettingsError: with a text for each key that is wrong, by its name.
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


def fitting(values: Mapping[str, object]) -> dict[str, object]:
    """``values`` in which how to log in agrees with whether to: either of them says both."""
    if "sign_in" not in values:
        return {**values}
    if values["sign_in"] is SignIn.NONE:
        others = {name: value for name, value in values.items() if name != "sign_in"}
        return {**others, "use_authentication": False}
    return {"use_authentication": True, **values}


def all_fitting(values: Mapping[str, object]) -> dict[str, object]:
    """``fitting`` for the values of each relay, by their names."""
    fit = {name: value for name, value in values.items() if name == fields.RELAYS}
    for relay in dict.fromkeys(fields.parts(name)[0] for name in values):
        for name, value in fitting(fields.seen_by(relay, values)).items():
            fit[fields.of(relay, name)] = value
    return fit


def bound(values: Mapping[str, object], settings: MessagingSettings) -> dict[str, BoundSecret]:
    """The secrets among ``values``, each for the place to which it belongs in ``settings``."""
    return {
        name: BoundSecret(secret, to(settings))
        for name, to in BINDINGS.items()
        if isinstance(secret := values.get(name), Secret)
    }


def in_force(layers: Sequence[Layer], *, revision: int, relay: str = DEFAULT) -> InForce:
    """The settings of ``relay`` that ``layers``, strongest first, result in."""
    values, origins = layered(layers)
    settings = _settings(values, relay)
    holder = next((layer for layer in layers if layer.origin is origins["password"]), None)
    state, unbound = _password_state(holder, settings.destination)
    if holder is not None and state is PasswordState.USABLE:
        settings = replace(settings, password=_secret(holder))
    usable: dict[str, Any] = {
        name: secret.secret
        for name, to in BINDINGS.items()
        if isinstance(secret := values.get(name), BoundSecret) and secret.to == to(settings)
    }
    settings = replace(settings, **usable)
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


def _settings(values: Mapping[str, object], relay: str) -> MessagingSettings:
    plain: dict[str, Any] = {n: value for n, value in values.items() if n not in SECRETS}
    return MessagingSettings(**plain, relay=relay)


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
    bound_to = holder.bound_to
    unbound = tuple(
        name
        for name, part in BOUND_TO.items()
        if getattr(bound_to, part) != getattr(destination, part)
    )
    return (PasswordState.UNBOUND if unbound else PasswordState.USABLE), unbound


def _mail_values(config: Mapping[str, Any]) -> Iterator[tuple[str, str, object]]:
    """Each key of the host with the setting's name and raw value; defaults are Flask-Mail's."""
    name, address = _mail_sender(config.get("MAIL_DEFAULT_SENDER"))
    computed = {
        "encryption": _mail_encryption(config),
        "use_authentication": bool(config.get("MAIL_USERNAME")),
        "default_from": address,
        "default_from_name": name,
        "sender_name": name,
    }
    for setting, entry in SETTINGS.items():
        if key := entry.mail_key:
            yield key, setting, computed.get(setting, config.get(key))


def _mail_encryption(config: Mapping[str, Any]) -> Encryption:
    if _flag(config.get("MAIL_USE_SSL")):
        return Encryption.TLS
    return Encryption.STARTTLS if _flag(config.get("MAIL_USE_TLS")) else Encryption.NONE


def _flag(raw: object) -> bool:
    # Hosts pass environment variables on as they are, in which "0" means no.
    return raw.strip().lower() not in FALSE if isinstance(raw, str) else bool(raw)


def _mail_sender(sender: object) -> tuple[object, object]:
    if isinstance(sender, list | tuple) and len(sender) == 2:
        return sender[0], sender[1]
    if isinstance(sender, str) and (found := _NAMED.fullmatch(sender)):
        return found["name"], found["address"]
    return None, sender
