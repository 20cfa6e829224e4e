"""The application that ``flask interaction-mail worker`` runs in, on the database of a test."""

from __future__ import annotations

import os

from flask import Flask

from tests.host import Host


def create_app() -> Flask:
    """The host's application on ``DATABASE``."""
    return Host(os.environ["DATABASE"]).app
