"""What ``make test`` leaves to the long form of the tests."""

from __future__ import annotations

from itertools import product
from types import SimpleNamespace
from typing import Any

import pytest

from tests.databases import DIALECTS, left_out

FILES = ("sqlite-wal", "sqlite-delete")
WAYS = ("memory", "wal", "delete")
SERVERS = ("postgresql", "mariadb")


def items(name: str, kinds: tuple[str, ...], *, numbers: int = 1) -> list[Any]:
    """The test of this ``name`` on each kind of database, with some numbers."""
    return [
        SimpleNamespace(
            nodeid=f"tests/{name}[{kind}-{number}]",
            callspec=SimpleNamespace(
                params={"kind": kind, "number": number}, indices={"kind": at, "number": number}
            ),
        )
        for (at, kind), number in product(enumerate(kinds), range(numbers))
    ]


def runs(*tests: list[Any]) -> dict[str, list[str]]:
    """The kinds that each test runs on."""
    every = [item for test in tests for item in test]
    out = [item.nodeid for item in left_out(every)]
    found: dict[str, list[str]] = {}
    for item in every:
        if item.nodeid not in out:
            test = f"{item.nodeid.partition('[')[0]}{item.callspec.params['number']}"
            found.setdefault(test, []).append(item.callspec.params["kind"])
    return found


@pytest.mark.parametrize("kinds", [DIALECTS, (*FILES, *SERVERS), (*WAYS, "postgresql")])
def test_each_runs_on_one_kind(kinds: tuple[str, ...]) -> None:
    """About as many of them on each; the first of a file runs on all."""
    tests = items("a.py::test", kinds, numbers=400)
    first, *others = runs(tests).values()
    assert first == [*kinds]
    assert all(len(ones) == 1 for ones in others)
    assert all(0.6 < others.count([kind]) * len(kinds) / 400 < 1.5 for kind in kinds)
    assert runs(tests) == runs(tests)


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("a.py::test_locks", SERVERS),
        ("a.py::test_files", FILES),
        ("a.py::test_ways", WAYS),
        ("a.py::test_one", ("mariadb",)),
        ("integration/test_queue.py::test_it", DIALECTS),
    ],
)
def test_what_says_something_of_each_runs_on_each(name: str, kinds: tuple[str, ...]) -> None:
    """On the servers alone, on the modes alone, and where statements differ."""
    found = runs(items("a.py::first", DIALECTS), items(name, kinds))
    assert [*found.values()][1] == [*kinds]
