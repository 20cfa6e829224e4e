"""Which contacts look like the same one: rules on names alone, no database."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from typing import Protocol, TypeVar

# Words that two spellings of one name often differ in.
EMPTY_WORDS = frozenset(
    {"ag", "co", "company", "corp", "corporation", "gmbh", "inc", "incorporated"}
    | {"limited", "llc", "llp", "ltd", "plc", "sa"}
    | {"and", "the", "und"}
)


class Named(Protocol):
    """Anything with a name."""

    @property
    def name(self) -> str:
        """What people call it."""


N = TypeVar("N", bound=Named)


def name_key(name: str) -> str:
    """Reduce a name to what its spellings share: "ACME Limited" and "Acme, Ltd." are "acme".

    The order of words does not count, so "Smith, Jane" is "Jane Smith". A name made of empty
    words only keeps them.
    """
    plain = unicodedata.normalize("NFKD", name.casefold())
    letters = "".join(char for char in plain if not unicodedata.combining(char))
    words = sorted(re.findall(r"\w+", letters))
    return " ".join([word for word in words if word not in EMPTY_WORDS] or words)


def suggest(contacts: Iterable[N]) -> list[tuple[N, N]]:
    """Pair the contacts whose names mean the same, in the order given."""
    alike: dict[str, list[N]] = defaultdict(list)
    for contact in contacts:
        alike[name_key(contact.name)].append(contact)
    return [pair for group in alike.values() for pair in itertools.combinations(group, 2)]
