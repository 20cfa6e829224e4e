"""The list of guards that ``make mutants`` takes away fits the code and the tests."""

from __future__ import annotations

import ast

import pytest

from tests.security.functions import ROOT, nodes
from tests.security.mutants import PACKAGE, occurrences
from tests.security.mutations import MUTATIONS, Mutation

THREATS = {f"T{number}" for number in range(1, 31)}


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda one: f"{one.threat}: {one.guard}")
def test_every_mutation_still_applies(mutation: Mutation) -> None:
    """What it takes away stands once in its file, what is left is a program, the tests exist."""
    assert occurrences(mutation) == 1
    text = (ROOT / PACKAGE / mutation.file).read_text("utf-8")
    if mutation.file.endswith(".py"):
        ast.parse(text.replace(mutation.old, mutation.new))
    assert mutation.tests
    for test in mutation.tests:
        assert len(nodes()[test]) == 1


def test_every_threat_has_a_mutation() -> None:
    """At least one guard of each threat is taken away, and none twice in the same way."""
    assert {one.threat for one in MUTATIONS} == THREATS
    assert len({(one.file, one.old, one.new) for one in MUTATIONS}) == len(MUTATIONS) >= 25
