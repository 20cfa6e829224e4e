"""The page about security names a test for every promise, and each of them exists."""

from __future__ import annotations

import re
from functools import cache

import pytest

from tests.security.functions import ROOT, nodes

PAGE = ROOT / "docs" / "security.md"
# The requirements of OWASP ASVS 5.0, level 2, that apply; only their numbers, their text is theirs.
ASVS = [
    "1.1.2",
    "1.2.1",
    "1.3.6",
    "1.3.11",
    "2.1.1",
    "2.4.1",
    "3.2.2",
    "3.5.1",
    "3.5.3",
    "5.4.2",
    "6.2.6",
    "8.1.1",
    "8.1.2",
    "8.2.2",
    "8.2.3",
    "8.3.1",
    "11.2.1",
    "11.2.2",
    "11.3.3",
    "12.1.1",
    "12.3.1",
    "12.3.2",
    "13.2.4",
    "13.3.1",
    "13.3.2",
    "14.1.1",
    "14.2.1",
    "14.2.4",
    "14.3.2",
    "15.2.2",
    "16.2.1",
    "16.2.2",
    "16.2.5",
    "16.3.2",
    "16.3.3",
    "16.3.4",
    "16.4.1",
    "16.5.1",
    "16.5.2",
    "16.5.3",
]
THREATS = [f"T{number}" for number in range(1, 31)]


@cache
def rows() -> dict[str, list[str]]:
    """What each row of the page begins with, and its cells."""
    found = {}
    for line in PAGE.read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if re.fullmatch(r"[TV][\d.]+", cells[0]):
            assert cells[0] not in found
            found[cells[0]] = cells[1:]
    return found


def test_every_threat_and_every_requirement_has_its_row() -> None:
    """None is missing, and there is none that nobody asked for."""
    assert len(ASVS) == 40
    assert set(rows()) == {*THREATS, *(f"V{number}" for number in ASVS)}


@pytest.mark.parametrize("name", [*THREATS, *(f"V{number}" for number in ASVS)])
def test_every_row_names_tests_that_exist(name: str) -> None:
    """A promise without a proof is none."""
    *said, tests = rows()[name]
    assert all(said)
    named = re.findall(r"`(test_\w+)`", tests)
    assert named
    assert [test for test in named if test not in nodes()] == []
