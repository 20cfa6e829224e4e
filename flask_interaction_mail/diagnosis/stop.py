"""How a test ends early."""

from __future__ import annotations

from .results import Step


class Stop(Exception):
    """A step failed, and nothing after it makes sense."""

    def __init__(self, step: Step) -> None:
        super().__init__(step.code)
        self.step = step
