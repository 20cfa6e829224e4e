"""The test data that others wrote, as the proofs read it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.length import LONG

_FOLDER = Path(__file__).parents[1] / "corpora"


def _read(name: str) -> Any:
    return json.loads((_FOLDER / name).read_text("utf-8"))


FALSE_ADDRESSES: list[str] = [
    one for group in _read("attack/addresses.json").values() for one in group
]
SMUGGLERS: list[str] = [one["body"] for one in _read("attack/smuggling_bodies.json")]
# One in four in the short form; MARKUP has what a page could take for its own in either.
NAUGHTY: list[str] = _read("blns/blns.json")[:: 1 if LONG else 4]
