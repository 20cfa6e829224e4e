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


def test_each_runs_on_sqlite_and_on_one_server() -> None:
    """About half of them on each; the first of a file runs on both."""
    first, *others = runs(items("a.py::test", DIALECTS, numbers=200)).values()
    assert first == [*DIALECTS]
    assert all(len(kinds) == 2 and kinds[0] == "sqlite" for kinds in others)
    assert 60 < sum("mariadb" in kinds for kinds in others) < 140
    assert runs(items("a.py::test", DIALECTS, numbers=200)) == runs(
        items("a.py::test", DIALECTS, numbers=200)
    )


@pytest.mark.parametrize("ways", [FILES, WAYS, WAYS[1:]])
def test_one_way_of_sqlite_is_enough_beside_a_server(ways: tuple[str, ...]) -> None:
    """It is chosen apart from the server."""
    found = runs(items("a.py::test", (*ways, *SERVERS), numbers=200))
    pairs = {tuple(kinds) for kinds in list(found.values())[1:]}
    assert pairs == set(product(ways, SERVERS))


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
