"""An administrator who works in the Messaging panel, for the demo."""

from __future__ import annotations

from flask import Flask
from flask_login import FlaskLoginClient  # type: ignore[import-untyped]

from flask_interaction_mail import Notification

from .browser import Form, forms_of
from .database import db
from .models import User

PANEL = "/admin/messaging/"
SETTINGS = "smtp_server"  # a field of the form with the settings


class Administrator:
    """The user with that login, who is logged in to ``app``."""

    def __init__(self, app: Flask, login: str) -> None:
        with app.app_context():
            user = db.session.scalars(db.select(User).filter_by(login=login)).one()
            self.name = user.name
            self._client = FlaskLoginClient(app, app.response_class, user=user)

    def save(self, **changes: str | None) -> None:
        """Change settings; None clears a check box."""
        self._post("", self._filled(changes))

    def test(self, **changes: str | None) -> None:
        """Press Test Settings, with ``changes`` that are not saved."""
        self._post("test", self._filled(changes))

    def act(self, verb: str, message: Notification) -> None:
        """Press the button of a message that says so: resend, cancel or release."""
        token = self._form().values["csrf_token"]
        self._post(f"outbox/{message.id}/{verb}", {"csrf_token": token})

    def export(self, status: str) -> None:
        """Save the list of the messages with this status as a file."""
        self._client.get(f"{PANEL}outbox/export.csv?status={status}").get_data()

    def _filled(self, changes: dict[str, str | None]) -> dict[str, str]:
        values = {**self._form().values, **changes}
        return {name: value for name, value in values.items() if value is not None}

    def _form(self) -> Form:
        forms = forms_of(self._client.get(PANEL).text)
        return next(form for form in forms if SETTINGS in form.values)

    def _post(self, path: str, values: dict[str, str]) -> None:
        answer = self._client.post(PANEL + path, data=values)
        answer.get_data()  # a test goes on for as long as somebody reads
        if answer.status_code >= 400:
            raise RuntimeError(f"{PANEL}{path} answered {answer.status}")
