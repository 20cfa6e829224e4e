"""Settings by name: cleaned, written as JSON and read again, by their entries in the table.

Each is looked at alone here; ``rules`` looks at the settings as a whole.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping
from contextlib import suppress

from ..errors import AddressError, SettingsError
from .cleaners import WrongValue
from .model import SETTINGS, Secret
from .setting import Setting


def shielded(raw: Mapping[str, object]) -> dict[str, object]:
    """``raw`` with the password wrapped, so that no later error can show it."""
    return {name: _shielded(name, value) for name, value in raw.items()}


def clean(name: str, raw: object) -> object:
    """The value of the field ``name`` that ``raw`` means: text as typed, or a typed value.

    What is already clean comes back unchanged. An empty text is None, and an empty port 25.

    Raises:
        SettingsError: it means none; the text says what is right.
    """
    raw = _shielded(name, raw)
    if name not in SETTINGS:
        raise SettingsError({name: f"is no setting; the settings are {', '.join(SETTINGS)}"})
    try:
        return SETTINGS[name].clean(raw)
    except (WrongValue, AddressError) as error:
        raise SettingsError({name: str(error)}) from error


def clean_all(raw: Mapping[str, object]) -> dict[str, object]:
    """``clean`` for every field of ``raw``.

    Raises:
        SettingsError: with the texts of all fields that are wrong.
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
    """Cleaned ``values`` as they are stored; never the password."""
    plain = {name: values[name] for name in SETTINGS if name in values and name != "password"}
    return json.dumps(plain)  # in ASCII, as some databases lack letters


def from_json(text: str) -> tuple[dict[str, object], list[str]]:
    """What ``to_json`` wrote, and the names that cannot be read and count as unset.

    A row of a newer version, or one that was edited by hand, must not take the panel away
    with which it could be put right.
    """
    try:
        plain = json.loads(text)
    except ValueError:
        return {}, ["everything"]
    if not isinstance(plain, dict):
        return {}, ["everything"]
    values: dict[str, object] = {}
    for name, setting in SETTINGS.items():
        if name in plain and name != "password":
            with suppress(ValueError):
                values[name] = _stored(setting, plain[name])
    return values, [name for name in plain if name not in values]


def _shielded(name: str, raw: object) -> object:
    return Secret(raw) if name == "password" and isinstance(raw, str) else raw


def _stored(setting: Setting, value: object) -> object:
    """The value that was stored as ``value``.

    Looks at the type alone: to clean each address anew would cost every process that sends.

    Raises:
        ValueError: it is none of this setting.
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
