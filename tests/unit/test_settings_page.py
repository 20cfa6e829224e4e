"""The reference of the settings says what the package does."""

from __future__ import annotations

import importlib.util
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "docs" / "settings.py"


def test_the_page_is_up_to_date() -> None:
    """docs/settings.md has the table that its generator would write now."""
    spec = importlib.util.spec_from_file_location("settings_page", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.PAGE.read_text("utf-8") == module.page(), "run: make settings"
