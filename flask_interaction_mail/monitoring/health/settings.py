"""The settings, their password, and what encrypts it."""

from __future__ import annotations

from datetime import UTC

from ... import clock
from ...settings import fields
from ...settings.layers import InForce
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
    found = {name: text for name, text in now.problems.items() if not _of_login(name, now)}
    if found:
        return Health.WRONG, " ".join(f"{name}: {text}" for name, text in found.items())
    told = f"complete, revision {now.revision}"
    each = (one.settings.ca_certificate for one in now.each.values())
    if ended := next(filter(None, map(_ended, each)), ""):
        return Health.NOTE, f"{told}; the time of a CA certificate among them is not now: {ended}"
    return Health.OK, told


def _of_login(name: str, now: InForce) -> bool:
    """Whether the line of passwords says what is wrong with ``name``."""
    relay, field = fields.parts(name)
    by_token = now.of(relay).settings.by_token
    return field in ("password", "secret_key") or (by_token and field.startswith("oauth_"))


def _ended(ca_certificate: str | None) -> str:
    from ...transport.smtp import probe  # late: brings the wire, and few have a CA of their own

    now = clock.now().replace(tzinfo=UTC)
    return probe.untimely(ca_certificate, now) if ca_certificate else ""


def password(state: State) -> Finding:
    """Whether there is a password for each connection, or what an access token needs."""
    now = state.settings.current()
    if not now.others:
        return _password(state, now)
    found = [(relay, *_password(state, one)) for relay, one in now.each.items()]
    worst = Health.WRONG if any(health is Health.WRONG for _, health, _ in found) else Health.OK
    return worst, "; ".join(f"{relay}: {text}" for relay, _, text in found)


def _password(state: State, now: InForce) -> Finding:
    if now.settings.kind is SES:
        advice = now.login_advice
        return (Health.WRONG, advice) if advice else (Health.OK, _ses_key(now.settings))
    if now.settings.by_token:
        advice = now.login_advice or _host_function(state, now.settings) or _consent(state, now)
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


def _consent(state: State, now: InForce) -> str:
    told = told_of_mailbox(state, now)
    return "" if told is None or told.startswith("connected") else f"{told}; mail waits"


def keys(state: State) -> Finding:
    """Whether a password could be stored."""
    config = state.app.config
    if not (config.get("INTERACTION_MAIL_SECRET_KEYS") or config.get("SECRET_KEY")):
        return Health.NOTE, "none: set SECRET_KEY before a password is to be stored."
    return Health.OK, "there is a key to encrypt the password with"
