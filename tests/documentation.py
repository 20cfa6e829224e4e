"""What the documentation shows, for tests that do it."""

from __future__ import annotations

import re
from pathlib import Path

_ROOT = Path(__file__).parents[1]


def shown(page: str, containing: str, language: str = "python") -> str:
    """The block of this page that has ``containing`` in it."""
    text = (_ROOT / page).read_text("utf-8")
    blocks = re.findall(rf"^```{re.escape(language)}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    (block,) = [block for block in blocks if containing in block]
    return str(block)
