"""The application that ``flask interaction-mail …`` runs in, on the database of a test."""

from __future__ import annotations

import json
import os

from flask import Flask

from tests.host import Host


def create_app() -> Flask:
    """The host's application on ``DATABASE``; ``OPTIONS`` are keys of its configuration."""
    return Host(os.environ["DATABASE"], **json.loads(os.environ.get("OPTIONS", "{}"))).app
