"""The page about what the panel promises names a test for each promise, and each exists."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "panel-checklist.md"
TABS = ROOT / "flask_interaction_mail" / "admin"


def test_each_promise_names_tests_that_exist() -> None:
    """A promise without a proof is none."""
    rows = re.findall(r"^\| (?!promise)([^|]+) \| (.+) \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    assert len(rows) > 50
    for promise, proofs in rows:
        named = re.findall(r"`([\w/]+\.py)::(test_\w+)`", proofs)
        assert named, promise
        assert [pair for pair in named if pair[1] not in _tests_in(pair[0])] == [], promise


def test_each_tab_has_a_section() -> None:
    """A new tab brings its promises."""
    sections = set(re.findall(r"^## (.+)$", PAGE.read_text("utf-8"), re.MULTILINE))
    tabs = {
        tab
        for path in TABS.glob("*.py")
        for tab in re.findall(
            r'^    tab: \w+\[str\] = mark\("(.+)"\)$', path.read_text("utf-8"), re.MULTILINE
        )
    }
    assert "Settings" in tabs
    assert tabs <= sections


@cache
def _tests_in(path: str) -> set[str]:
    """The names of the tests in a file."""
    text = (ROOT / "tests" / path).read_text("utf-8")
    return set(re.findall(r"^def (test_\w+)", text, re.MULTILINE))
