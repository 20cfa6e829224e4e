"""A password in memory, which no log, traceback or pickle shows."""

from __future__ import annotations

import base64
import hmac
from typing import Final, NamedTuple, NoReturn

_CODED: Final = "whsec_"  # before a key in base64


class Secret:
    """A text that only ``reveal()`` shows; ``repr`` and ``str`` hide it.

    Two secrets are equal if their texts are. A secret cannot be pickled, and copying returns the
    same object.
    """

    __slots__ = ("__text",)

    def __init__(self, text: str) -> None:
        self.__text = text

    def reveal(self) -> str:
        """Return the text; do not keep it in a variable."""
        return self.__text

    def __repr__(self) -> str:
        return "********"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        ours, theirs = (secret.__text.encode("utf-8", "surrogatepass") for secret in (self, other))
        return hmac.compare_digest(ours, theirs)

    def __hash__(self) -> int:
        return hash((Secret, self.__text))

    def __bool__(self) -> bool:
        return bool(self.__text)

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: object) -> Secret:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a Secret cannot be pickled")


class BoundSecret(NamedTuple):
    """A secret together with the one URL that it is for; it is used with no other."""

    secret: Secret
    to: str | None


def signing_key(secret: Secret) -> bytes:
    """The key with which ``secret`` signs: what follows ``whsec_`` in base64, else its UTF-8.

    Raises:
        ValueError: there is ``whsec_`` and no key behind it.
    """
    text = secret.reveal()
    if not text.startswith(_CODED):
        return text.encode("utf-8", "surrogatepass")
    key = base64.b64decode(text.removeprefix(_CODED), validate=True)
    if not key:
        raise ValueError("no key")
    return key
