"""The data of the example application."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from werkzeug.security import generate_password_hash

from example_app import create_app
from example_app.extensions import db
from example_app.seed import seed


def filled(folder: Path) -> Path:
    """A new database file with the demo's data; its passwords take little time at each login."""
    path = folder / "crm.sqlite"
    app = create_app({"SECRET_KEY": "k" * 32, "SQLALCHEMY_DATABASE_URI": f"sqlite:///{path}"})
    quick = partial(generate_password_hash, method="scrypt:1024:8:1")
    with app.app_context(), pytest.MonkeyPatch.context() as patch:
        patch.setitem(seed.__globals__, "generate_password_hash", quick)
        db.create_all()
        seed()
        db.session.remove()
        db.engine.dispose()
    return path
