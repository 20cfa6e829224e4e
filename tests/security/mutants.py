"""Take each guard away, one at a time, and see that the tests named for it notice.

``python -m tests.security.mutants [T7 T9 …]`` works in a copy of the tree, prints a line for each
guard, and fails if a mutation does not apply any more or no test dies of it.
"""

# ruff: noqa: T201 - a program for a terminal

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.security.functions import ROOT, nodes
from tests.security.mutations import MUTATIONS, Mutation

PACKAGE = "flask_interaction_mail"
COPIED = (PACKAGE, "migrations", "example_app", "tests", "docs", "setup.cfg", "pyproject.toml",
          "README.md", "SECURITY.md", "LICENSE", "pytest_interaction_mail.py")  # fmt: skip
SECONDS = 900  # for the tests of one mutation, or of all of them before the first


def occurrences(mutation: Mutation, root: Path = ROOT) -> int:
    """How often the text that is to be taken away stands in its file."""
    return (root / PACKAGE / mutation.file).read_text("utf-8").count(mutation.old)


def main(wanted: Sequence[str]) -> int:
    """Try the mutations of the ``wanted`` threats, or all; 0 if each was noticed."""
    chosen = [one for one in MUTATIONS if not wanted or one.threat in wanted]
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        root = Path(folder)
        _copy_to(root)
        tests = {test for one in chosen for test in one.tests}
        if said := _failure(root, tests):
            print(f"The tests do not pass as they are:\n{said}")
            return 1
        results = [_tried(root, one) for one in chosen]
    print(f"{results.count(True)} of {len(results)} mutations were noticed.")
    return int(not all(results))


def _copy_to(root: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__", "_build")
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, root / name, ignore=ignored)
        elif source.exists():
            shutil.copy(source, root / name)


def _tried(root: Path, mutation: Mutation) -> bool:
    begun = time.monotonic()
    if occurrences(mutation, root) != 1:
        said = "DOES NOT APPLY"
    else:
        with _mutated(root / PACKAGE / mutation.file, mutation):
            said = _killer(_failure(root, mutation.tests))
    seconds = time.monotonic() - begun
    print(f"{mutation.threat:4} {mutation.guard:58} {seconds:4.0f} s  {said}", flush=True)
    return not said.isupper()


@contextmanager
def _mutated(path: Path, mutation: Mutation) -> Iterator[None]:
    text = path.read_text("utf-8")
    path.write_text(text.replace(mutation.old, mutation.new), "utf-8")
    try:
        yield
    finally:
        path.write_text(text, "utf-8")


def _failure(root: Path, tests: Iterable[str]) -> str:
    """What pytest said, if a test failed in ``root``; "" if all passed."""
    # Without bytecode: a file that is changed twice within a second looks unchanged to Python.
    run = [sys.executable, "-B", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
    run += sorted(node for test in tests for node in nodes()[test])
    done = subprocess.run(
        run, cwd=root, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    if done.returncode not in (0, 1):
        raise RuntimeError(f"pytest could not run {' '.join(tests)}:\n{done.stdout}{done.stderr}")
    return done.stdout if done.returncode else ""


def _killer(output: str) -> str:
    found = re.search(r"^(?:FAILED|ERROR) \S*::(test_\w+)", output, re.MULTILINE)
    return found[1] if found else "SURVIVED"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
