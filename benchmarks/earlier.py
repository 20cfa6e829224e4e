"""Former states of this package as contenders, from this repository's own history."""

from __future__ import annotations

import compileall
import io
import shutil
import subprocess
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from .harness import ROOT, progress

TODAY: Final = "today's"
AHEAD: Final = "254cbf4"  # still sent the next envelope behind the final dot
BEFORE_REDESIGN: Final = "3d5236c"  # the last before new tables and a new delivery loop
_FOLDER: Final = ROOT / ".bench-earlier"
_NEWER: Final = Path("benchmarks", "contenders", "retention.py")  # is not in those commits


@dataclass(frozen=True)
class Build:
    """A state of this package: its name in the tables, its files, its drain's own arguments."""

    name: str
    root: Path
    drain: Mapping[str, int] = field(default_factory=dict)


def builds() -> list[Build]:
    """Today's build, and the earlier ones that the history has."""
    arguments = {AHEAD: {"connections": 4}}  # it did not find out by itself
    found = {commit: checkout(commit) for commit in (AHEAD, BEFORE_REDESIGN)}
    earlier = [Build(name, root, arguments.get(name, {})) for name, root in found.items() if root]
    return [Build(TODAY, ROOT), *earlier]


def checkout(commit: str) -> Path | None:
    """The files of ``commit``; None where there is no history, as in a source archive."""
    folder = _FOLDER / commit
    if not folder.exists() and not _extract(commit, folder):
        return None
    shutil.copy(ROOT / _NEWER, folder / _NEWER)
    # Compiled, as today's is.
    compileall.compile_dir(folder / "flask_interaction_mail", quiet=1)
    return folder


def _extract(commit: str, folder: Path) -> bool:
    parts = ["benchmarks", "flask_interaction_mail"]
    archive = subprocess.run(
        ["git", "archive", commit, *parts], cwd=ROOT, capture_output=True, check=False
    )
    if archive.returncode:
        progress(f"without {commit}: {archive.stderr.decode(errors='replace').strip()}")
        return False
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")
    return True
