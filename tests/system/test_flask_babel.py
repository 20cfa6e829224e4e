"""The real Flask-Babel, which would break the pages of the other tests if it were beside them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FLASK_BABEL = ROOT / ".stand" / "flask-babel"
FILES = ("tests/integration/test_languages.py", "tests/integration/test_locales.py")


def test_pages_and_mails_come_in_the_language_that_flask_babel_chooses() -> None:
    """What the two files prove with something that stands in for it, they prove with it."""
    if not (FLASK_BABEL / "flask_babel").is_dir():
        pytest.skip("Flask-Babel is missing: make .stand/flask-babel/.installed")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "0", *FILES],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(FLASK_BABEL)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "1 skipped" in done.stdout  # what is proved without it
