"""The pages that programs write say what the package does."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(
    ("script", "command"),
    [("settings", "settings"), ("signatures", "signatures"), ("llms", "docs")],
)
def test_the_page_is_up_to_date(script: str, command: str) -> None:
    """It is what its generator would write now."""
    spec = importlib.util.spec_from_file_location(f"{script}_page", DOCS / f"{script}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.PAGE.read_text("utf-8") == module.page(), f"run: make {command}"
