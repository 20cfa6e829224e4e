"""What a single value may be: each function takes text as typed, or a typed value.

A clean value comes back unchanged. An empty text is None.
"""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Callable
from typing import Final

from .. import addresses
from ..errors import AddressError
from .certificates import are_readable, canonical
from .hostnames import clean_helo, clean_server

_TRUE: Final = frozenset({"1", "y", "yes", "on", "true"})
_FALSE: Final = frozenset({"", "0", "n", "no", "off", "false"})
_LONGEST: Final = 255  # characters of a name or a login


class WrongValue(ValueError):
    """The text says what is right, to the person who filled in the field."""


def line(raw: object) -> str | None:
    """One line of text."""
    text = _text(raw)
    if addresses.has_forbidden(text):
        raise WrongValue("must be one line without control characters")
    if len(text) > _LONGEST:
        raise WrongValue(f"must have at most {_LONGEST} characters, not {len(text)}")
    return text or None


def name(raw: object) -> str | None:
    """A name for people to read, with single blanks."""
    return " ".join((line(raw) or "").split()) or None


def domain(raw: object) -> str | None:
    """A domain, in A-labels."""
    text = _text(raw)
    return addresses.clean_domain(text) if text else None


def domains(raw: object) -> tuple[str, ...]:
    """Domains, from a sequence or from a text with blanks or commas between them."""
    items = raw if isinstance(raw, list | tuple) else re.split(r"[\s,;]+", _text(raw))
    names = [text for item in items if (text := _text(item))]
    return tuple(dict.fromkeys(map(addresses.clean_domain, names)))


def email(raw: object) -> str | None:
    """A full address, or the part before ``@`` alone."""
    text = _text(raw)
    if not text:
        return None
    # Any domain will do here; whether mail for it is ours to send is a matter of the whole.
    return addresses.clean_email(text, own_domains=_domain_of(text))


def server(raw: object) -> str | None:
    """The name or the address of a server."""
    text = _text(raw)
    return clean_server(text) if text else None


def helo(raw: object) -> str | None:
    """A name for EHLO."""
    text = _text(raw)
    return clean_helo(text) if text else None


def port(raw: object) -> int:
    """A port; an empty text is 25."""
    text = str(raw) if isinstance(raw, int) and not isinstance(raw, bool) else raw
    text = _text(text) if isinstance(text, str | None) else text
    if text == "":
        return 25
    number = re.fullmatch(r"0*([0-9]{1,5})", text) if isinstance(text, str) else None
    if number is None or not 1 <= int(number[1]) <= 65535:
        raise WrongValue("must be a whole number from 1 to 65535; usual are 25, 587 and 465")
    return int(number[1])


def boolean(raw: object) -> bool:
    """A yes or no; None is no."""
    if raw is None:
        return False
    word = str(raw).strip().lower() if isinstance(raw, str | bool | int) else "?"
    if word in _FALSE:
        return False
    if word in _TRUE:
        return True
    raise WrongValue("must be yes or no")


def word(words: type[enum.StrEnum]) -> Callable[[object], enum.StrEnum]:
    """A cleaner for one of ``words``."""

    def cleaner(raw: object) -> enum.StrEnum:
        try:
            return words(str(raw).strip().lower())
        except ValueError as error:
            raise WrongValue(f"must be one of {', '.join(words)}") from error

    return cleaner


def certificate(raw: object) -> str | None:
    """CA certificates, as PEM text."""
    text = canonical(given := _text(raw))
    if not text:
        return None
    if "PRIVATE KEY" in given:
        raise WrongValue("holds a private key, which must stay secret: paste certificates only")
    if not are_readable(text):
        raise WrongValue(
            "is no certificate: paste the whole text, "
            "from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----"
        )
    return text


def not_text(raw: object, spelled: str) -> str:
    """Why ``raw`` is refused where text is expected; ``spelled`` is how JSON writes it."""
    if not isinstance(raw, bool | int | float):
        return f"must be text, not {type(raw).__name__}"
    # What Flask's from_prefixed_env made of an environment variable.
    kind = "a yes or no" if isinstance(raw, bool) else "a number"
    return (
        f"must be text, but is {kind}: put it in quotes; "
        f"in an environment variable in both kinds of quotes, '\"{spelled}\"'"
    )


def _text(raw: object) -> str:
    if raw is None:
        return ""
    if not isinstance(raw, str):
        raise WrongValue(not_text(raw, json.dumps(raw, default=repr)))
    return raw.strip(addresses.PASTED)


def _domain_of(text: str) -> tuple[str, ...]:
    try:
        return (addresses.clean_domain(text.rpartition("@")[2]),) if "@" in text else ()
    except AddressError:
        return ()
