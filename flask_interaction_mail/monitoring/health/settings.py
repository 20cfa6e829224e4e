"""The settings, their password, and what encrypts it."""

from __future__ import annotations

from datetime import UTC

from ... import clock
from ...settings.model import MessagingSettings
from ...settings.relay import SES, SignIn
from ...state import State
from ..mailbox import told_of_mailbox
from .look import Finding, Health


def settings(state: State) -> Finding:
    """Whether the settings in force are complete and fit each other."""
    now = state.settings.current()
    if not now.settings.configured:
        return Health.WRONG, "e-mail is not configured: a server and a default From are needed."
    found = now.problems
    for name in ("password", "secret_key"):
        found.pop(name, None)  # has a line of its own
    if now.settings.by_token:
        found = {name: text for name, text in found.items() if not name.startswith("oauth_")}
    if found:
        return Health.WRONG, " ".join(f"{name}: {text}" for name, text in found.items())
    told = f"complete, revision {now.revision}"
    if ended := _ended(now.settings.ca_certificate):
        return Health.NOTE, f"{told}; the time of a CA certificate among them is not now: {ended}"
    return Health.OK, told


def _ended(ca_certificate: str | None) -> str:
    from ...transport.smtp import probe  # late: brings the wire, and few have a CA of their own

    now = clock.now().replace(tzinfo=UTC)
    return probe.untimely(ca_certificate, now) if ca_certificate else ""


def password(state: State) -> Finding:
    """Whether there is a password for this connection, or what an access token needs."""
    now = state.settings.current()
    if now.settings.kind is SES:
        advice = now.login_advice
        return (Health.WRONG, advice) if advice else (Health.OK, _ses_key(now.settings))
    if now.settings.by_token:
        advice = now.login_advice or _host_function(state, now.settings) or _consent(state)
        return (Health.WRONG, advice) if advice else (Health.OK, "not needed: OAuth 2")
    if not now.settings.by_password:
        return Health.OK, "not needed: no authentication"
    advice = now.password_advice
    return (Health.WRONG, advice) if advice else (Health.OK, "there, for this connection")


def _ses_key(settings: MessagingSettings) -> str:
    key = "that of the settings" if settings.access_key else "the credentials of this machine"
    return f"not needed: requests to Amazon SES are signed with {key}"


def _host_function(state: State, settings: MessagingSettings) -> str:
    if settings.sign_in is not SignIn.HOST or state.access_token is not None:
        return ""
    return "the sign-in is left to the application, which gives InteractionMail no access_token"


def _consent(state: State) -> str:
    told = told_of_mailbox(state)
    return "" if told is None or told.startswith("connected") else f"{told}; mail waits"


def keys(state: State) -> Finding:
    """Whether a password could be stored."""
    config = state.app.config
    if not (config.get("INTERACTION_MAIL_SECRET_KEYS") or config.get("SECRET_KEY")):
        return Health.NOTE, "none: set SECRET_KEY before a password is to be stored."
    return Health.OK, "there is a key to encrypt the password with"
