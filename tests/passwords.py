"""The SMTP password of the tests, for every process of theirs: see ``tests/canary.py``."""

from __future__ import annotations

STEM = "kanarie-Zq7-"
PASSWORD = f"{STEM}hunter2"
