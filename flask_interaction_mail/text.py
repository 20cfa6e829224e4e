"""Texts that hosts give: made plain at the call, and fit for a column of any database."""

from __future__ import annotations

import operator
import re
import uuid
from decimal import Decimal
from types import NoneType
from typing import SupportsIndex

# No encoding carries half a surrogate pair, and PostgreSQL stores no NUL.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_RESOLVED = frozenset({str, int, NoneType})  # most of what is looked at
_LARGEST = 1 << 128  # a UUID as a number is as large


def resolved(given: object) -> object:
    """``given`` as a plain ``str`` where it is a text of any kind, else as it is.

    A text is also what only looks like one: a lazy translation, a proxy, a subclass of ``str``.
    It is resolved now, since what is stored later must not ask anybody.
    """
    if type(given) in _RESOLVED:
        return given
    if issubclass(type(given), str):
        return str.__str__(given)
    if not isinstance(given, type) and hasattr(given, "casefold"):
        return str.__str__(str(given))
    return given


def storable(text: str) -> str:
    """``text`` with U+FFFD for each character that not every database can store."""
    return _UNSTORABLE.sub("\ufffd", text)


def identifier(field: str, given: object) -> str | int:
    """A host's id of something: a text, a number, or the text of a UUID.

    Raises:
        TypeError: it is something else; ``field`` names it.
        ValueError: it is a number beyond 128 bits.
    """
    text = resolved(given)
    if isinstance(text, str):
        return text
    if isinstance(given, (uuid.UUID, Decimal)):
        return str(given)
    if isinstance(given, (int, SupportsIndex)):  # a look at the protocol is slow
        number = operator.index(given)
        if abs(number) < _LARGEST:
            return number
        raise ValueError(f"{field} must be a number of at most 128 bits")
    raise TypeError(
        f"{field} must be a text, a number or a UUID, not {type(given).__name__}; "
        "of anything else give its text"
    )


def language(field: str, given: object) -> str | None:
    """A language as text, such as ``de`` or ``pt_BR``; of a ``babel.Locale`` its identifier.

    Raises:
        TypeError: it is none; ``field`` names it.
    """
    text = resolved(given)
    if text is None or isinstance(text, str):
        return text
    if hasattr(given, "language") and hasattr(given, "territory"):
        return str(given)
    raise TypeError(
        f"{field} must be a text such as 'de', a babel.Locale or None, not {type(given).__name__}"
    )
