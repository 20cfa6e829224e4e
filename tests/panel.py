"""The panel as a browser without JavaScript sees it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lxml.html
from bs4 import BeautifulSoup, Tag
from flask_admin import Admin, AdminIndexView
from werkzeug.test import TestResponse

from flask_interaction_mail import send_notification
from tests import outbox_rows
from tests.host import ADA, Host

HOME = "/admin/messaging/"
TEST = "/admin/messaging/test"
EXPLAIN = "/admin/messaging/explain/"
COVERAGE = "/admin/messaging/coverage/"
ACTIVITY = "/admin/messaging/activity/"
HISTORY = "/admin/messaging/history/"
OUTBOX = "/admin/messaging/outbox/"
RETURNED = "/admin/messaging/returned/"
TEMPLATES = "/admin/messaging/templates/"
TYPED = {
    "company_domain": "firm.example",
    "smtp_server": "mail.firm.example",
    "smtp_port": "587",
    "default_to": "merge-desk",
    "default_from": "crm",
}

_FIELDS = (
    "(.//input | .//select | .//textarea)[@name][not(@disabled or ancestor::fieldset[@disabled])]"
)


class OpenIndex(AdminIndexView):
    """An index view that a host has thought about, and opened."""

    def is_accessible(self) -> bool:
        return True


class Panel:
    """A host with a panel, and a visitor's browser."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.client = host.app.test_client()

    def get(self, url: str = HOME, status: int = 200) -> BeautifulSoup:
        """The page at ``url``."""
        response = self.client.get(url)
        assert response.status_code == status, response.text
        return BeautifulSoup(response.text, "lxml")

    def fields(self, url: str = HOME) -> dict[str, str]:
        """What a browser would send for the POST form at ``url`` without any typing."""
        response = self.client.get(url)
        assert response.status_code == 200, response.text
        return _values(lxml.html.fromstring(response.text))

    def post(self, url: str = HOME, *, without: tuple[str, ...] = (), **typed: Any) -> TestResponse:
        """Open the form and send it to ``url`` with some values typed."""
        values: dict[str, Any] = self.fields() | typed
        for name in without:
            values.pop(name, None)
        data = {name: value for name, value in values.items() if value is not None}
        # Buffered: a result that is streamed is here as a whole.
        return self.client.post(url, data=data, buffered=True)

    def save(self, **typed: Any) -> TestResponse:
        """Fill the form rightly, change what is given, and press Save."""
        return self.post(**(TYPED | typed))

    def in_force(self) -> Any:
        """What is in force now."""
        with self.host.app.app_context():
            return self.host.state.settings.current()


def form_values(page: BeautifulSoup) -> dict[str, str]:
    """The values of the page's POST form, as a browser sends them."""
    return _values(lxml.html.fromstring(str(page)))


def _values(page: lxml.html.HtmlElement) -> dict[str, str]:
    form = page.xpath("//form[@method='post'][not(@data-im-apart)]")[0]
    values: dict[str, str] = {}
    for field in form.xpath(_FIELDS):
        if field.get("type") in ("checkbox", "radio"):
            if field.checked:
                values[field.name] = field.get("value", "on")
        elif field.tag == "textarea":
            values[field.name] = field.text_content().strip()
        else:
            values[field.name] = field.value or ""
    return values


def error_at(page: BeautifulSoup, name: str) -> str:
    """The error at a field, "" if there is none; it must be tied to the field for the ear."""
    error = page.find(id=f"im-{name}-error")
    if error is None:
        return ""
    field = page.find(id=f"im-{name}")
    assert isinstance(field, Tag)
    assert f"im-{name}-error" in str(field.get("aria-describedby"))
    return error.get_text(" ", strip=True)


@contextmanager
def opened_panel(
    folder: Path, *, access: Any = None, url: str = "", **config: Any
) -> Iterator[Panel]:
    """A host with a panel that is open to everybody, unless ``access`` says something else."""
    admin = Admin(name="CRM", index_view=OpenIndex())
    url = url or f"sqlite:///{folder}/crm.sqlite"
    host = Host(url, admin=admin, access=access, **config)
    try:
        yield Panel(host)
    finally:
        host.close()


def send(panel: Panel, subject: str, to: Any = ADA, **others: Any) -> uuid.UUID:
    """Queue a message and commit."""
    with panel.host.app.app_context():
        sent = send_notification(to, subject, **{"text": "Good day", **others})
        panel.host.db.session.commit()
        return sent.id


def change(panel: Panel, id: uuid.UUID, **values: Any) -> None:
    """Bring a message into another state, as delivery would."""
    with panel.host.app.app_context(), panel.host.state.database.writing() as connection:
        outbox_rows.change(connection, id, **values)
