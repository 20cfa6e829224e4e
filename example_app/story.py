"""The demo's story, played over HTTP: set up e-mail, be denied a merge, get the request."""

from __future__ import annotations

import html
import re
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from flask import Flask

from flask_interaction_mail import Notification, Status, get_notification
from flask_interaction_mail.catcher import Catcher, Inbox, Letter

from .browser import Browser, Form, Page
from .database import db
from .models import Contact
from .seed import COMPANY_DOMAIN, PASSWORD

ADMINISTRATOR = "amoreau"
WITHOUT_RIGHT = "emroberts"
DUPLICATES = ("Acme Ltd", "ACME Limited")
REASON = "Two invoices went to the wrong one."
PATIENCE = 20  # seconds until the request must have arrived


class StoryError(Exception):
    """Something did not go as told; the text says what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """The end of the story."""

    denied: str  # what the page said to the user who may not merge
    route: Sequence[str]
    letter: Letter


def deliver_a_request(app: Flask, url: str, catcher: Catcher) -> Delivered:
    """Play the story at ``url``; StoryError if the request does not arrive in time."""
    _log_in(administrator := Browser(url), ADMINISTRATOR)
    configure(administrator, catcher)
    _log_in(user := Browser(url), WITHOUT_RIGHT)
    denied = _try_to_merge(user, _pair(app))
    letter = _await(app, _reference(denied), catcher.inbox)
    notification = _notification(app, _reference(denied))
    return Delivered(denied=_said(denied), route=notification.route, letter=letter)


def configure(browser: Browser, catcher: Catcher) -> None:
    """Fill in the Messaging panel and press Save, as an administrator."""
    panel = browser.get("admin/messaging/")
    settings = {
        "company_domain": COMPANY_DOMAIN,
        "smtp_server": catcher.host,
        "smtp_port": str(catcher.port),
        "encryption": "none",
        "default_to": "mailadmin",
        "default_from": "crm",
        "from_policy": "current_user",
    }
    answer = browser.submit(panel, _form(panel, "smtp_server"), **settings)
    saved = _form(browser.get("admin/messaging/"), "smtp_server").values
    if any(saved.get(name) != value for name, value in settings.items()):
        raise StoryError(f"the Messaging panel did not save the settings ({answer.status})")


def _log_in(browser: Browser, login: str) -> None:
    page = browser.get("login")
    answer = browser.submit(page, _form(page, "password"), login=login, password=PASSWORD)
    if answer.status != 200:
        raise StoryError(f"{login} could not log in ({answer.status})")


def _pair(app: Flask) -> tuple[int, int]:
    """Find the numbers of the two contacts that look alike."""
    with app.app_context():
        query = db.select(Contact.id).where(Contact.name.in_(DUPLICATES)).order_by(Contact.id)
        ids = db.session.scalars(query).all()
    if len(ids) != 2:
        raise StoryError(f"{' and '.join(DUPLICATES)} are merged already; run without --keep")
    return ids[0], ids[1]


def _try_to_merge(browser: Browser, pair: tuple[int, int]) -> Page:
    page = browser.get(f"merge/{pair[0]}/{pair[1]}")
    answer = browser.submit(page, _form(page, "survivor"), reason=REASON)
    if answer.status != 403:
        raise StoryError(f"the merge was answered with {answer.status} instead of 403")
    return answer


def _form(page: Page, field: str) -> Form:
    try:
        return page.form_with(field)
    except LookupError as error:
        raise StoryError(str(error)) from error


def _said(page: Page) -> str:
    """The text of the box on the denied page that says what became of the request."""
    return " ".join(re.sub(r"<[^>]*>", "", _element(page, "request")).split())


def _reference(page: Page) -> uuid.UUID:
    if 'id="reference"' not in page.html:
        raise StoryError(f"no request was made; the page said: {_said(page)}")
    return uuid.UUID(_element(page, "reference"))


def _element(page: Page, mark: str) -> str:
    found = re.search(rf'<(\w+)[^>]* id="{mark}">(.*?)</\1>', page.html, re.DOTALL)
    if found is None:
        raise StoryError(f"{page.url} answered {page.status}, without the element {mark!r}")
    return html.unescape(found[2])


def _notification(app: Flask, reference: uuid.UUID) -> Notification:
    with app.app_context():
        notification = get_notification(reference)
    if notification is None:
        raise StoryError(f"the outbox does not know the request {reference}")
    return notification


def _await(app: Flask, reference: uuid.UUID, inbox: Inbox) -> Letter:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        notification = _notification(app, reference)
        letter = inbox.find(notification.message_id) if notification.message_id else None
        # Wait until the outbox has recorded it: ending before that would deliver it again.
        if letter and notification.status is Status.SENT:
            return letter
        time.sleep(0.1)
    raise StoryError(f"nothing arrived within {PATIENCE} s: {_state(notification)}")


def _state(notification: Notification) -> str:
    replies = [recipient.reply for recipient in notification.recipients if recipient.reply]
    return " ".join(filter(None, [notification.status.value, notification.reason, *replies]))
