"""The host application that delivers: its database and where to count connections are named.

STAND_DATABASE=sqlite:///… STAND_CONNECTIONS=FILE flask --app tests.servers.stand.application
interaction-mail worker --once
"""

from __future__ import annotations

import atexit
import os
import sys
from pathlib import Path
from typing import Any

from flask import Flask

from tests.host import Host


def create_app() -> Flask:
    """The host; each connection that its process opens is counted."""
    opened = 0

    def count(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal opened
        if event == "socket.connect":
            opened += 1

    if file := os.environ.get("STAND_CONNECTIONS"):
        sys.addaudithook(count)
        atexit.register(lambda: Path(file).write_text(str(opened), encoding="ascii"))
    return Host(os.environ["STAND_DATABASE"]).app
