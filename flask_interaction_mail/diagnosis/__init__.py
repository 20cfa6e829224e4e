"""Test Settings: go the way of a message step by step, and say what each step came to.

``diagnose`` yields a ``Finding`` for every step as it happens and a ``Diagnosis`` at the end;
``run`` waits for that end. What to tell about them stands in ``advice`` and ``texts``.
"""

from __future__ import annotations

from .advice import Advice
from .course import DEADLINE, diagnose, probe, run
from .findings import Diagnosis, Finding, State, Verdict

__all__ = [
    "DEADLINE",
    "Advice",
    "Diagnosis",
    "Finding",
    "State",
    "Verdict",
    "diagnose",
    "probe",
    "run",
]
