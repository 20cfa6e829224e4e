"""``flask interaction-mail``: what an operator does from a terminal."""

from __future__ import annotations

from flask import Flask

from .output import main

__all__ = ["register"]


def register(app: Flask) -> None:
    """Add the commands to ``app``."""
    app.cli.add_command(main)
