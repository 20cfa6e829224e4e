"""Every requirement has a test, and the page that says so is up to date."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "docs" / "requirements.py"


@pytest.fixture(scope="module")
def requirements() -> ModuleType:
    """The generator of the page."""
    spec = importlib.util.spec_from_file_location("requirements_page", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_requirements_are_numbered_without_a_gap(requirements: ModuleType) -> None:
    """The page knows R1 to R57."""
    numbers = [number for section in requirements.SECTIONS.values() for number in section]
    assert numbers == list(range(1, 58))


def test_every_requirement_has_a_test(requirements: ModuleType) -> None:
    """No requirement is without a test that carries its number."""
    assert requirements.missing(requirements.tests_by_requirement()) == []


def test_the_page_is_up_to_date(requirements: ModuleType) -> None:
    """docs/requirements.md is what the generator would write now."""
    expected = requirements.page(requirements.tests_by_requirement())
    assert requirements.PAGE.read_text("utf-8") == expected, "run: make requirements"
