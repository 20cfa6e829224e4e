"""Where each test function is, by its name: tests may move, what they prove stays."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]


@cache
def nodes() -> dict[str, list[str]]:
    """Name of a test function to the nodes of pytest that have it, ``file::Class::name``."""
    found: dict[str, list[str]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        file = path.relative_to(ROOT).as_posix()
        for name, inner in _named(ast.parse(path.read_text("utf-8")), file):
            found.setdefault(name, []).append(inner)
    return found


def _named(tree: ast.AST, where: str) -> Iterator[tuple[str, str]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef):
            yield from _named(node, f"{where}::{node.name}")
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            yield node.name, f"{where}::{node.name}"
