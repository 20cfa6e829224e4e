"""The test data that others wrote, as the proofs read it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parents[1] / "corpora"


def _read(name: str) -> Any:
    return json.loads((_FOLDER / name).read_text("utf-8"))


FALSE_ADDRESSES: list[str] = [
    one for group in _read("attack/addresses.json").values() for one in group
]
SMUGGLERS: list[str] = [one["body"] for one in _read("attack/smuggling_bodies.json")]
NAUGHTY: list[str] = [*_read("blns/blns.json")]
