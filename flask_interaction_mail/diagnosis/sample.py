"""The message of a test, and how a test ends early."""

from __future__ import annotations

from dataclasses import dataclass

from ..transport.base import Envelope
from .results import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A message, with the full addresses of its recipient and of default From."""

    to: str
    sender: str
    message_id: str
    envelope: Envelope


class Stop(Exception):
    """A step of a test failed, and nothing after it makes sense."""

    def __init__(self, step: Step) -> None:
        super().__init__(step.code)
        self.step = step
