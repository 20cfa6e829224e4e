"""The application of a test that wants to know who started, and which start is to fail."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from flask import Flask

from tests.crash import app

NOTES, BROKEN = "notes", "broken"  # files in the folder that ``NOTED`` names


def create_app() -> Flask:
    """The same application; each start leaves a line, and fails while there is a file for it."""
    folder = Path(os.environ["NOTED"])
    note = {"pid": os.getpid(), "x": sys._xoptions, "w": sys.warnoptions}
    with (folder / NOTES).open("a") as notes:
        notes.write(f"{json.dumps(note)}\n")
    if (folder / BROKEN).exists():
        raise RuntimeError("a configuration that does not work")
    return app.create_app()


def notes(folder: Path) -> list[Any]:
    return [json.loads(line) for line in (folder / NOTES).read_text("utf-8").splitlines()]
