"""Settings by name: cleaned, written as JSON and read again, each by its entry in the table.

A name such as ``smtp_server`` is that of the relay "default", wherever that stands in the list.
What another relay has of its own is ``relays.NAME.smtp_server``, and ``relays`` is the list.

``rules`` checks the settings as a whole.
"""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Final, TypeVar

from ..errors import AddressError, SettingsError
from ..language import gettext, translated
from .cleaners import WrongValue
from .model import EITHER, RELAY_SETTINGS, SETTINGS
from .relay import DEFAULT
from .secret import Secret
from .setting import Setting

RELAYS: Final = "relays"  # the name of the list
ALONE: Final = (DEFAULT,)  # the list where there is one relay
MOST: Final = 20  # relays in the list
_LONGEST: Final = 40  # characters
_WORDS: Final = re.compile(r"[a-z0-9]+(?:[-_][a-z0-9]+)*")

T = TypeVar("T")


def of(relay: str, field: str) -> str:
    """The name of ``field`` of ``relay``."""
    own = relay != DEFAULT and SETTINGS[field].of_relay
    return f"{RELAYS}.{relay}.{field}" if own else field


def parts(name: str) -> tuple[str, str]:
    """The relay and the field that ``name`` means; the field is "" if no setting is called so."""
    first, _, rest = name.partition(".")
    if first != RELAYS or not rest:
        return DEFAULT, name if name in SETTINGS else ""
    relay, _, field = rest.partition(".")
    known = relay != DEFAULT and field in SETTINGS and SETTINGS[field].of_relay
    return relay, field if known else ""


def in_form(name: str) -> str:
    """How ``name`` is written in a form, such as ``relays-backup-login``."""
    return name.replace(".", "-")


def from_form(written: str) -> str:
    """The name that is written so in a form."""
    first, _, rest = written.partition("-")
    relay, _, field = rest.rpartition("-")
    return f"{RELAYS}.{relay}.{field}" if first == RELAYS and relay else written


def typed(relay: str, field: str) -> str:
    """The name that somebody means who says ``field`` of ``relay``, in whatever case."""
    relay, field = relay.strip().lower(), field.strip().lower()
    return field if relay == DEFAULT else f"{RELAYS}.{relay}.{field}"


def setting_of(name: str) -> Setting | None:
    """The entry of the setting ``name`` in the table; None if there is none."""
    return SETTINGS.get(parts(name)[1])


def is_secret(name: str) -> bool:
    """Whether ``name`` is that of a secret."""
    setting = setting_of(name)
    return setting is not None and setting.secret


def replaced_by(name: str) -> str | None:
    """The secret that is given up by who enters the secret ``name``; None if there is none."""
    relay, field = parts(name)
    return of(relay, EITHER[field]) if field in EITHER else None


def seen_by(relay: str, values: Mapping[str, T]) -> dict[str, T]:
    """``values`` as ``relay`` has them: what it has of its own and what all share, by field."""
    seen = {}
    for name, value in values.items():
        whose, field = parts(name)
        if field and whose == (relay if SETTINGS[field].of_relay else DEFAULT):
            seen[field] = value
    return seen


def all_of(relays: Iterable[str]) -> list[str]:
    """All names with ``relays``, in the order of the panel: what all share, and the list first."""
    own = [of(relay, field) for relay in relays for field in RELAY_SETTINGS if relay != DEFAULT]
    return [*SETTINGS, RELAYS, *own]


def value_of(name: str, values: Mapping[str, object]) -> object:
    """The value of ``name`` among ``values``, or its default."""
    setting = setting_of(name)
    return values.get(name, setting.default if setting else ALONE)


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
        if name == RELAYS:
            return clean_relays(raw)
        setting = setting_of(name)
        if setting is None:
            raise SettingsError({name: _unknown(name)})
        if clean_relay(relay := parts(name)[0]) != relay:
            raise SettingsError({name: _unknown(name)})
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


def clean_relay(raw: object) -> str:
    """The name of a relay: words of small letters and digits, with ``-`` or ``_`` between them.

    Raises:
        WrongValue: it cannot be one.
    """
    name = str(raw or "").strip().lower()
    if len(name) > _LONGEST or not _WORDS.fullmatch(name):
        raise WrongValue(
            gettext(
                "must have letters from a to z and digits, with - or _ between them, and at most "
                "%(most)s of them, such as backup-2",
                most=_LONGEST,
            )
        )
    return name


def clean_relays(raw: object) -> tuple[str, ...]:
    """The list of relays: different names in their order, with "default" among them.

    Raises:
        WrongValue: it is none.
    """
    typed = re.split(r"[\s,]+", raw.strip()) if isinstance(raw, str) else raw
    if not isinstance(typed, list | tuple):
        raise WrongValue(gettext("must be the names of the servers, in their order"))
    found = tuple(map(clean_relay, typed))
    if len({*found}) < len(found):
        raise WrongValue(gettext("must name each server once"))
    if DEFAULT not in found:
        raise WrongValue(gettext("must name the server “default”, which is always there"))
    if len(found) > MOST:
        raise WrongValue(gettext("must have at most %(most)s servers", most=MOST))
    return found


def to_json(values: Mapping[str, object]) -> str:
    """The JSON object of clean ``values``, always without secrets."""
    plain = {name: value for name, value in values.items() if not is_secret(name)}
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
        setting = setting_of(name)
        with suppress(ValueError):
            if name == RELAYS:
                values[name] = clean_relays(value)
            elif setting is not None and not setting.secret:
                values[name] = _stored(setting, value)
    return values, [name for name in plain if name not in values]


def _unknown(name: str) -> str:
    if name.startswith(f"{RELAYS}."):
        own = ", ".join(RELAY_SETTINGS)
        return f"is not a setting; a relay is set by relays.NAME.SETTING, with a SETTING of {own}"
    return f"is not a setting; the settings are {', '.join(SETTINGS)}"


def _shielded(name: str, raw: object) -> object:
    return Secret(raw) if is_secret(name) and isinstance(raw, str) else raw


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
