"""Test Settings: go the way of a message step by step, and say what each step came to.

What is found are the values here; ``runner`` is the way itself, and imported by who goes it,
because it brings the wire along. What to tell stands in ``advice`` and ``texts``.
"""

from __future__ import annotations

from .advice import Advice
from .results import Diagnosis, Finding, State, Verdict

__all__ = [
    "Advice",
    "Diagnosis",
    "Finding",
    "State",
    "Verdict",
]
