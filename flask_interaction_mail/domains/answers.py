"""What a name service answered, as far as the rules have to tell answers apart."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass


class Found(enum.StrEnum):
    """What came of a question."""

    RECORDS = "records"
    NO_DATA = "no data"  # the name exists, without a record of this type (RFC 2308 §2.2)
    NO_NAME = "no name"  # NXDOMAIN: neither the name nor anything below it exists (RFC 8020)
    UNKNOWN = "unknown"  # no usable answer: nothing follows from it


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The answer about one name and type.

    ``records`` are texts: the joined strings of a TXT record, ``10 mail.firm.example`` for MX, an
    address for A and AAAA. A stranger wrote them. ``problem`` says why the answer is unknown.
    """

    name: str
    type: str
    found: Found
    records: tuple[str, ...] = ()
    problem: str = ""

    @property
    def unknown(self) -> bool:
        return self.found is Found.UNKNOWN

    @property
    def void(self) -> bool:
        """Whether it counts as a void look-up (RFC 7208 §4.6.4)."""
        return self.found in (Found.NO_DATA, Found.NO_NAME)


Ask = Callable[[str, str], Answer]  # name, type of record; never raises
