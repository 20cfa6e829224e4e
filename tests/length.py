"""Whether the tests run in their long form: ``make long``, ``make celery`` and ``make torture``."""

from __future__ import annotations

import os

LONG = os.environ.get("FIM_LONG") == "1"
