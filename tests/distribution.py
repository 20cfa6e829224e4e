"""A copy of this repository as somebody who clones it has it, and what a release makes of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]


def clean() -> dict[str, str]:
    """The environment of a reader: none of this test run's Python, and none of its settings."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "PYTEST", "FLASK", "VIRTUAL_ENV", "COV_"))
    }
    own = str(Path(sys.prefix) / "bin")
    paths = kept.get("PATH", os.defpath).split(os.pathsep)
    return kept | {"PATH": os.pathsep.join(path for path in paths if path != own)}


def ran(command: Sequence[str | Path], folder: Path, **environ: str) -> str:
    """What a program writes; if it fails, the test shows what it said."""
    done = subprocess.run(
        command, cwd=folder, env=clean() | environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def cloned(folder: Path) -> Path:
    """A clone of what is here now, committed or not; made anew, so that no build is left in it."""
    listed = ran(["git", "ls-files", "-z", "-co", "--exclude-standard"], ROOT).split("\0")
    for name in filter(None, listed):
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    identity = ("-c", "user.name=Ann", "-c", "user.email=ann@firm.example")
    for step in (["init", "--quiet"], ["add", "--all"], [*identity, "commit", "-qm", "All of it"]):
        ran(["git", *step], folder)
    return folder
