"""What administrators do in the panel, for the demo: the same use cases, without the pages."""

from __future__ import annotations

from flask import Flask

from flask_interaction_mail import Notification, clock, operations
from flask_interaction_mail.delivery import watch
from flask_interaction_mail.diagnosis.results import Diagnosis
from flask_interaction_mail.monitoring import test_history
from flask_interaction_mail.outbox import deeds
from flask_interaction_mail.state import state_of
from flask_interaction_mail.transport.registry import Transports


class Administration:
    """The Messaging panel of ``app``; ``by`` is the name of who uses it."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._state = state_of(app)
        self._transports = Transports(self._state.connect_policy, self._state.memory)

    def save(self, by: str, **changes: object) -> None:
        """Change settings."""
        with self._app.app_context():
            operations.save_settings(self._state, changes, base=None, changed_by=by)

    def test(self, by: str, **changes: object) -> None:
        """Press Test Settings, with ``changes`` that are not saved."""
        with self._app.app_context():
            tried = self._state.settings.draft(changes)
            for found in test_history.steps(self._state, tried):
                if isinstance(found, Diagnosis):
                    test_history.record(self._state, tried, by=by, end=found)

    def resend(self, by: str, notification: Notification) -> None:
        """Send a message again."""
        with self._app.app_context():
            operations.resend(self._state, notification.id, by=by)

    def cancel(self, by: str, notification: Notification) -> None:
        """Call a message back."""
        with self._app.app_context():
            operations.cancel(self._state, notification.id, by=by)

    def release(self, by: str, notification: Notification) -> None:
        """Let a message go that is held."""
        with self._app.app_context():
            operations.release(self._state, notification.id, by=by)

    def export(self, by: str, filters: str) -> None:
        """Save the list of messages as a file; ``filters`` are the arguments of its URL."""
        with self._app.app_context(), self._state.database.writing() as connection:
            deeds.note_export(connection, by, filters, clock.now())

    def watch(self) -> None:
        """Look whether mail is in trouble, as a process that delivers does each minute."""
        with self._app.app_context():
            watch.turn(self._state, self._transports)
