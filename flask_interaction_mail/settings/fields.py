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
from .cleaners import WrongValue
from .model import SECRETS, SETTINGS
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
    if name not in SETTINGS:
        raise SettingsError({name: f"is not a setting; the settings are {', '.join(SETTINGS)}"})
    try:
        return SETTINGS[name].clean(raw)
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
    plain = {n: values[n] for n in SETTINGS if n in values and n not in SECRETS}
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
    for name, setting in SETTINGS.items():
        if name in plain and name not in SECRETS:
            with suppress(ValueError):
                values[name] = _stored(setting, plain[name])
    return values, [name for name in plain if name not in values]


def _shielded(name: str, raw: object) -> object:
    return Secret(raw) if name in SECRETS and isinstance(raw, str) else raw


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
