"""An outbox that keeps what it has sent. Runs with the packages of earlier commits, too."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from flask_interaction_mail import operations
from flask_interaction_mail.outbox.insert import insert

from .. import messages
from .ours import composed, copies, host


def fill(url: str, port: int, count: int) -> dict[str, float]:
    """Queue ``count`` messages beside those that are there."""
    state = host(url, port)
    message = replace(composed(state), content=messages.finished())
    for start in range(0, count, 1000):
        with state.database.writing() as connection:
            insert(connection, copies(message, min(1000, count - start)))
    return {}


def purge(url: str) -> dict[str, float]:
    """Remove the bodies of everything that was sent; how many those were."""
    state = host(url, 0, INTERACTION_MAIL_BODY_RETENTION=timedelta(microseconds=1))
    with state.app.app_context():
        return {"bodies": operations.purge(state).bodies}
