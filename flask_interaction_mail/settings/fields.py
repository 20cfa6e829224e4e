"""What each setting may be: one set of rules for form, command line, overrides and import.

A field is looked at alone here; ``rules`` looks at the settings as a whole.
"""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from .. import addresses
from ..errors import AddressError, SettingsError
from .certificates import are_readable, canonical
from .hostnames import clean_helo, clean_server
from .model import ADDRESSES, BOOLEANS, ENUMS, FIELDS, Secret

_TRUE: Final = frozenset({"1", "y", "yes", "on", "true"})
_FALSE: Final = frozenset({"", "0", "n", "no", "off", "false"})
_LONGEST: Final = 255  # characters of a name or a login


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
    if name not in _CLEANERS:
        raise SettingsError({name: f"is no setting; the settings are {', '.join(FIELDS)}"})
    try:
        return _CLEANERS[name](raw)
    except (_WrongValue, AddressError) as error:
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
    plain = {name: values[name] for name in FIELDS if name in values and name != "password"}
    return json.dumps(plain, ensure_ascii=False)


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
    known = [name for name in FIELDS if name in plain and name != "password"]
    values = {name: _stored(name, plain[name]) for name in known if _fits(name, plain[name])}
    return values, [name for name in plain if name not in values]


class _WrongValue(ValueError):
    """A field is wrong; the text is for the person who filled it in."""


def _shielded(name: str, raw: object) -> object:
    return Secret(raw) if name == "password" and isinstance(raw, str) else raw


def _text(raw: object) -> str:
    if raw is None:
        return ""
    if not isinstance(raw, str):
        raise _WrongValue(_not_text(raw, json.dumps(raw, default=repr)))
    return raw.strip(addresses.PASTED)


def _not_text(raw: object, spelled: str) -> str:
    if not isinstance(raw, bool | int | float):
        return f"must be text, not {type(raw).__name__}"
    # What Flask's from_prefixed_env made of an environment variable.
    kind = "a yes or no" if isinstance(raw, bool) else "a number"
    return (
        f"must be text, but is {kind}: put it in quotes; "
        f"in an environment variable in both kinds of quotes, '\"{spelled}\"'"
    )


def _line(raw: object) -> str | None:
    text = _text(raw)
    if addresses.has_forbidden(text):
        raise _WrongValue("must be one line without control characters")
    if len(text) > _LONGEST:
        raise _WrongValue(f"must have at most {_LONGEST} characters, not {len(text)}")
    return text or None


def _name(raw: object) -> str | None:
    return " ".join((_line(raw) or "").split()) or None


def _domain(raw: object) -> str | None:
    text = _text(raw)
    return addresses.clean_domain(text) if text else None


def _domains(raw: object) -> tuple[str, ...]:
    if isinstance(raw, list | tuple):
        names = [text for item in raw if (text := _text(item))]
    else:
        names = [text for text in re.split(r"[\s,;]+", _text(raw)) if text]
    return tuple(dict.fromkeys(map(addresses.clean_domain, names)))


def _email(raw: object) -> str | None:
    text = _text(raw)
    if not text:
        return None
    # Any domain will do here; whether mail for it is ours to send is a matter of the whole.
    return addresses.clean_email(text, own_domains=_domain_of(text))


def _domain_of(text: str) -> tuple[str, ...]:
    try:
        return (addresses.clean_domain(text.rpartition("@")[2]),) if "@" in text else ()
    except AddressError:
        return ()


def _port(raw: object) -> int:
    text = str(raw) if isinstance(raw, int) and not isinstance(raw, bool) else raw
    if text is None or (isinstance(text, str) and not text.strip()):
        return 25
    number = re.fullmatch(r"\s*0*([0-9]{1,5})\s*", text) if isinstance(text, str) else None
    if number is None or not 1 <= int(number[1]) <= 65535:
        raise _WrongValue("must be a whole number from 1 to 65535; usual are 25, 587 and 465")
    return int(number[1])


def _boolean(raw: object) -> bool:
    if raw is None:
        return False
    word = str(raw).strip().lower() if isinstance(raw, str | bool | int) else "?"
    if word in _FALSE:
        return False
    if word in _TRUE:
        return True
    raise _WrongValue("must be yes or no")


def _stored(name: str, value: Any) -> object:
    if name in ENUMS:
        return ENUMS[name](value)
    return tuple(value) if name == "own_domains" else value


def _fits(name: str, value: object) -> bool:
    """Whether ``value``, read from JSON, is of the type that the field ``name`` has."""
    if name in BOOLEANS:
        return isinstance(value, bool)
    if name == "smtp_port":
        return type(value) is int and 1 <= value <= 65535
    if name in ENUMS:
        return value in list(ENUMS[name])
    if name == "own_domains":
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    return value is None or isinstance(value, str)


def _enum(words: type[enum.StrEnum]) -> Callable[[object], enum.StrEnum]:
    def cleaner(raw: object) -> enum.StrEnum:
        try:
            return words(str(raw).strip().lower())
        except ValueError as error:
            raise _WrongValue(f"must be one of {', '.join(words)}") from error

    return cleaner


def _server(raw: object) -> str | None:
    text = _text(raw)
    return clean_server(text) if text else None


def _helo(raw: object) -> str | None:
    text = _text(raw)
    return clean_helo(text) if text else None


def _certificate(raw: object) -> str | None:
    text = canonical(given := _text(raw))
    if not text:
        return None
    if "PRIVATE KEY" in given:
        raise _WrongValue("holds a private key, which must stay secret: paste certificates only")
    if not are_readable(text):
        raise _WrongValue(
            "is no certificate: paste the whole text, "
            "from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----"
        )
    return text


def _password(raw: object) -> Secret | None:
    if raw is None:
        return None
    if not isinstance(raw, Secret):
        raise _WrongValue(_not_text(raw, "…"))
    if any(char in "\0\r\n" or "\ud800" <= char <= "\udfff" for char in raw.reveal()):
        raise _WrongValue("must be one line of characters that can be typed")
    return raw or None


_CLEANERS: Final[dict[str, Callable[[object], object]]] = {
    "company_domain": _domain,
    "smtp_server": _server,
    "smtp_port": _port,
    "login": _line,
    "password": _password,
    "ca_certificate": _certificate,
    "helo_name": _helo,
    "default_from_name": _name,
    "sender_name": _name,
    "own_domains": _domains,
    **dict.fromkeys(ADDRESSES, _email),
    **dict.fromkeys(BOOLEANS, _boolean),
    **{name: _enum(words) for name, words in ENUMS.items()},
}
