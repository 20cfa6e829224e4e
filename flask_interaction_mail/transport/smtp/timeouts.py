"""How long each step may take, and how much of that is left."""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Seconds for each step, each a total and not per read (RFC 5321 §4.5.3.2)."""

    connect: float = 30  # name service and all addresses together
    greeting: float = 300
    command: float = 300  # EHLO, STARTTLS, MAIL, RCPT, RSET
    auth: float = 300  # a login: some servers delay it because of bad ones before
    data: float = 120  # the answer to DATA
    block: float = 180  # each block of content
    final: float = 600  # the answer to the final dot: shorter ones make duplicates (§4.5.3.2.6)
    quit: float = 5


class Until(float):
    """A deadline: a point of the monotonic clock, in seconds."""

    __slots__ = ()

    @classmethod
    def within(cls, seconds: float) -> Until:
        return cls(monotonic() + seconds)

    def step(self, seconds: float) -> Until:
        """The deadline of a step of ``seconds`` that begins now, or this one if it is earlier."""
        end = monotonic() + seconds
        return Until(end) if end < self else self

    @property
    def left(self) -> float:
        """Seconds left, at least 0."""
        left = self - monotonic()
        return left if left > 0 else 0.0


FOREVER: Final = Until("inf")
