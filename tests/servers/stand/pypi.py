"""The server that PyPI brings: aiosmtpd."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from .running import Running, shelf


@contextlib.contextmanager
def aiosmtpd(folder: Path) -> Iterator[Running]:
    """aiosmtpd with its defaults."""
    with shelf(folder, refusing=True) as (port, stored):
        yield Running(port, metadata.version("aiosmtpd"), stored)
