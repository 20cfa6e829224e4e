"""The list of guards that ``make mutants`` takes away fits the code and the tests."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.security.mutants import PACKAGE, ROOT, occurrences
from tests.security.mutations import MUTATIONS, Mutation

THREATS = {f"T{number}" for number in range(1, 20)}
PENDING = {"T6"}  # its guard comes with the export; its place in the list is marked


def names_in(file: Path) -> set[str]:
    """Functions and classes of a test file."""
    tree = ast.parse(file.read_text("utf-8"))
    return {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.ClassDef)}


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda one: f"{one.threat}: {one.guard}")
def test_every_mutation_still_applies(mutation: Mutation) -> None:
    """What it takes away stands once in its file, and what is left is still a program."""
    assert occurrences(mutation) == 1
    text = (ROOT / PACKAGE / mutation.file).read_text("utf-8")
    if mutation.file.endswith(".py"):
        ast.parse(text.replace(mutation.old, mutation.new))
    for test in mutation.tests:
        file, _, names = test.partition("::")
        assert {name for name in names.split("::") if name} <= names_in(ROOT / file)


def test_every_threat_has_a_mutation() -> None:
    """At least one guard of each threat is taken away, and none twice in the same way."""
    assert {one.threat for one in MUTATIONS} == THREATS - PENDING
    assert len({(one.file, one.old, one.new) for one in MUTATIONS}) == len(MUTATIONS) >= 25
