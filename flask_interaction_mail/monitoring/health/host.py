"""What the application brings along: access, headers, other mail extensions."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterable
from typing import Final

from flask import url_for

from ...config import AccessMode, unknown
from ...flask_mail import takeover
from ...state import State
from .look import Finding, Health


def configuration(state: State) -> Finding:
    """Whether a configuration key is misspelt, which leaves its default in force."""
    strange = unknown(state.app.config)
    return (Health.NOTE, "; ".join(strange)) if strange else (Health.OK, "each key is known")


def access(state: State) -> Finding:
    """Who may open the panel."""
    if state.admin is None:
        return Health.OK, "no panel: no Admin was given"
    if state.access is not None:
        return Health.OK, "decided by the access function"
    if state.config.access is AccessMode.HOST:
        return Health.NOTE, "left to the application (INTERACTION_MAIL_ACCESS = 'host')."
    from flask_admin import BaseView  # late: there is one

    if type(state.admin.index_view).is_accessible is BaseView.is_accessible:
        return Health.WRONG, (
            "the pages stay closed, because the admin's index view lets everybody in: override "
            "its is_accessible(), or give access= to InteractionMail."
        )
    return Health.OK, "follows the admin's index view"


_ALLOWED: Final = re.compile(r"'self'|'nonce-.*|\*|https?:", re.IGNORECASE)
# Directive -> what is lost without 'self' in it.
_NEEDED: Final = {
    "style-src": "the pages have no look",
    "script-src": "the pages work, but less conveniently",
    "connect-src": "the result of Test Settings opens in a tab of its own",
    "form-action": "no form can be sent",
}


def headers(state: State) -> Finding:
    """What the application's Content-Security-Policy lets the pages do."""
    if state.admin is None:
        return Health.OK, "no panel: no Admin was given"
    try:
        policies = _policies(state)
    except Exception as error:  # the application's own functions may do anything
        return Health.NOTE, f"could not be looked at: {type(error).__name__}: {error}"
    missing = [f"{name} ({loss})" for name, loss in _NEEDED.items() if _refused(name, policies)]
    if missing:
        return Health.NOTE, (
            "the application's Content-Security-Policy refuses the pages their own files: "
            f"add 'self' to {', '.join(missing)}."
        )
    return Health.OK, "the application's own let the pages work; they need no frame"


def _policies(state: State) -> list[dict[str, list[str]]]:
    """What the functions after each request add to an answer of the panel."""
    app = state.app
    with app.test_request_context():
        path = url_for("interaction_mail.index")
    with app.test_request_context(path):
        answer = app.process_response(app.make_response(""))
    return [_parsed(text) for text in answer.headers.getlist("Content-Security-Policy")]


def _parsed(policy: str) -> dict[str, list[str]]:
    directives = (part.split() for part in policy.split(";"))
    return {words[0].lower(): words[1:] for words in directives if words}


def _refused(name: str, policies: Iterable[dict[str, list[str]]]) -> bool:
    usual = "" if name == "form-action" else "default-src"  # CSP3 §6.1: what stands in for it
    found = (policy.get(name, policy.get(usual)) for policy in policies)
    return any(
        sources is not None and not any(map(_ALLOWED.fullmatch, sources)) for sources in found
    )


def flask_mail(state: State) -> Finding:
    """Whether Flask-Mail's callers go through the outbox."""
    if takeover.was_replaced(state.app):
        return Health.NOTE, (
            "a Mail object is made after InteractionMail.init_app; its messages go through the "
            "outbox all the same, and the server in its configuration has no effect."
        )
    return Health.OK, "its callers go through the outbox"


def flask_mailman(state: State) -> Finding:
    """Whether Flask-Mailman sends mail past the panel."""
    if "mailman" not in state.app.extensions:
        return Health.OK, "not in use"
    who = "Flask-Security and whoever else" if "security" in state.app.extensions else "Whoever"
    return Health.NOTE, (
        f"it is initialised. {who} sends with it sends past the panel and the outbox, to the "
        "server in MAIL_SERVER. Leave Flask-Mailman out, and Flask-Security sends with "
        "Flask-Mail, which goes through the outbox."
    )


def babel(state: State) -> Finding:
    """Whether Flask-Babel, where installed, is initialised."""
    installed = importlib.util.find_spec("flask_babel") is not None
    if installed and state.admin is not None and "babel" not in state.app.extensions:
        return Health.WRONG, (
            "installed but not initialised, which breaks every page of Flask-Admin: call "
            "Babel(app), or uninstall it."
        )
    return Health.OK, "in use" if installed else "not installed"
