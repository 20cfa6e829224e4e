"""The names under which settings are typed and stored, where there are several relays.

A name such as ``smtp_server`` is that of the relay "default", wherever that stands in the list.
What another relay has of its own is ``relays.NAME.smtp_server``, and ``relays`` is the list.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final, TypeVar

from ..language import gettext
from .model import EITHER, RELAY_SETTINGS, SETTINGS
from .relay import DEFAULT
from .setting import Setting, WrongValue

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
        raise WrongValue(gettext("must be the names of the relays, in their order"))
    found = tuple(map(clean_relay, typed))
    if len({*found}) < len(found):
        raise WrongValue(gettext("must name each relay once"))
    if DEFAULT not in found:
        raise WrongValue(gettext("must name the relay “default”, which is always there"))
    if len(found) > MOST:
        raise WrongValue(gettext("must have at most %(most)s relays", most=MOST))
    return found
