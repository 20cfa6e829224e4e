"""Former states of this package as contenders, from this repository's own history."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path
from typing import Final

from .harness import ROOT, progress

AHEAD: Final = "254cbf4"  # still sent the next envelope behind the final dot
BEFORE_ROOMS: Final = "108da03"  # before the package got the folders that it has
_FOLDER: Final = ROOT / ".bench-earlier"


def checkout(commit: str) -> Path | None:
    """The files of ``commit``; None where there is no history, as in a source archive."""
    folder = _FOLDER / commit
    if folder.exists():
        return folder
    parts = ["benchmarks", "flask_interaction_mail"]
    archive = subprocess.run(
        ["git", "archive", commit, *parts], cwd=ROOT, capture_output=True, check=False
    )
    if archive.returncode:
        progress(f"without {commit}: {archive.stderr.decode(errors='replace').strip()}")
        return None
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")
    return folder
