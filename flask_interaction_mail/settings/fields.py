"""Settings by name: cleaned, written as JSON and read again, each by its entry in the table.

``rules`` checks the settings as a whole.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping
from contextlib import suppress

from ..errors import AddressError, SettingsError
from ..language import translated
from . import names
from .cleaners import WrongValue
from .model import RELAY_SETTINGS, SETTINGS
from .secret import Secret
from .setting import Setting


def shielded(raw: Mapping[str, object]) -> dict[str, object]:
    """``raw`` with secrets wrapped in ``Secret``, so that no later error can show them."""
    return {name: _shielded(name, value) for name, value in raw.items()}


def clean(name: str, raw: object) -> object:
    """The value of the setting ``name`` that ``raw`` means: text as typed, or a typed value.

    A clean value comes back unchanged. An empty text becomes None, an empty port 25.

    Raises:
        SettingsError: there is no such setting, or ``raw`` is not allowed; the text says what is.
    """
    raw = _shielded(name, raw)
    try:
        if name == names.RELAYS:
            return names.clean_relays(raw)
        setting = names.setting_of(name)
        if setting is None:
            raise SettingsError({name: _unknown(name)})
        names.clean_relay(names.parts(name)[0])
        return setting.clean(raw)
    except (WrongValue, AddressError) as error:
        raise SettingsError({name: translated(error)}) from error


def clean_all(raw: Mapping[str, object]) -> dict[str, object]:
    """``clean`` for every field of ``raw``.

    Raises:
        SettingsError: with a text for each field that is wrong.
    """
    raw = shielded(raw)
    values: dict[str, object] = {}
    errors: dict[str, str] = {}
    for name, value in raw.items():
        try:
            values[name] = clean(name, value)
        except SettingsError as error:
            errors |= error.errors
    if errors:
        raise SettingsError(errors)
    return values


def to_json(values: Mapping[str, object]) -> str:
    """The JSON object of clean ``values``, always without secrets."""
    plain = {name: value for name, value in values.items() if not names.is_secret(name)}
    return json.dumps(plain)  # in ASCII, since not every database stores all letters


def from_json(text: str) -> tuple[dict[str, object], list[str]]:
    """The values that ``to_json`` wrote, and the names that cannot be read and count as unset.

    No error: a row of a newer version, or one edited by hand, must not break the panel, where it
    can be corrected.
    """
    try:
        plain = json.loads(text)
    except ValueError:
        return {}, ["everything"]
    if not isinstance(plain, dict):
        return {}, ["everything"]
    values: dict[str, object] = {}
    for name, value in plain.items():
        setting = names.setting_of(name)
        with suppress(ValueError):
            if name == names.RELAYS:
                values[name] = names.clean_relays(value)
            elif setting is not None and not setting.secret:
                values[name] = _stored(setting, value)
    return values, [name for name in plain if name not in values]


def _unknown(name: str) -> str:
    if name.startswith(f"{names.RELAYS}."):
        own = ", ".join(RELAY_SETTINGS)
        return f"is not a setting; a relay is set by relays.NAME.SETTING, with a SETTING of {own}"
    return f"is not a setting; the settings are {', '.join(SETTINGS)}"


def _shielded(name: str, raw: object) -> object:
    return Secret(raw) if names.is_secret(name) and isinstance(raw, str) else raw


def _stored(setting: Setting, value: object) -> object:
    """The value that was stored as ``value``.

    Checks the type only: cleaning each address again would slow every process down that sends.

    Raises:
        ValueError: this setting cannot have it.
    """
    kind = setting.kind
    match value:
        case str() if issubclass(kind, enum.StrEnum):
            return kind(value)
        case list() if kind is tuple and all(isinstance(item, str) for item in value):
            return tuple(value)
        case int() if kind is int is type(value):
            return setting.clean(value)
        case bool() | str() if type(value) is kind:
            return value
        case None if kind is str:
            return None
    raise ValueError(value)
