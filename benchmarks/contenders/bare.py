"""A host that sends nothing, with and without the extension. Nothing is imported early here."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any


def _host(url: str = "sqlite:////tmp/none.sqlite") -> tuple[Any, Any, Any]:
    from flask import Flask
    from flask_admin import Admin
    from flask_sqlalchemy import SQLAlchemy

    app, db, admin = Flask("bare"), SQLAlchemy(), Admin(name="CRM")
    app.config.update(SECRET_KEY="k" * 32, SQLALCHEMY_DATABASE_URI=url)
    db.init_app(app)
    admin.init_app(app)

    @app.get("/nothing")
    def nothing() -> str:
        return "nothing"

    return app, db, admin


def _extended(app: Any, db: Any, admin: Any) -> None:
    from flask_interaction_mail import InteractionMail

    app.config["INTERACTION_MAIL_DELIVERY"] = "worker"
    InteractionMail(db=db, admin=admin).init_app(app)


def start_without() -> dict[str, float]:
    """ms from nothing to an application."""
    start = time.process_time()  # waiting for other programs does not count
    _host()
    return {"ms": (time.process_time() - start) * 1e3}


def start_with() -> dict[str, float]:
    """ms from nothing to an application with the extension."""
    start = time.process_time()
    _extended(*_host())
    return {"ms": (time.process_time() - start) * 1e3}


def connected_without(url: str) -> dict[str, float]:
    """Nothing but the memory that every contender tells: of a host that has used its database."""
    app, db, _ = _host(url)
    with app.app_context(), db.engine.connect() as connection:
        connection.exec_driver_sql("SELECT 1")
    return {}


def requests_without(count: int) -> dict[str, float]:
    """µs a request."""
    return {"us": _request(_host()[0], count)}


def requests_with(count: int) -> dict[str, float]:
    """µs a request, with the extension."""
    app, db, admin = _host()
    _extended(app, db, admin)
    return {"us": _request(app, count)}


def _request(app: Any, count: int) -> float:
    from werkzeug.test import EnvironBuilder

    environ = EnvironBuilder("/nothing").get_environ()

    def answer(status: str, headers: object, *_: object) -> Callable[[bytes], object]:
        del headers
        if not status.startswith("200"):
            raise SystemExit(status)
        return lambda data: data

    taken = []
    for _ in range(count):
        asked = environ.copy()
        start = time.perf_counter()
        response = app(asked, answer)
        b"".join(response)
        response.close()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken[count // 10 :]) * 1e6
