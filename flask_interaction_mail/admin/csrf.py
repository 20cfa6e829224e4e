"""CSRF tokens that work with and without the host's ``CSRFProtect``, and the base of forms."""

from __future__ import annotations

import hmac
import secrets
from typing import Any

from flask import current_app, request, session
from itsdangerous import URLSafeSerializer
from wtforms import Form, ValidationError
from wtforms.csrf.core import CSRF
from wtforms.meta import DefaultMeta

from ..language import gettext, mark
from ..logs import log

FIELD = "csrf_token"
_NONCE = "_interaction_mail_csrf"
_STALE = mark(
    "Your session has ended since this page was opened, or cookies are switched off. Nothing was "
    "done: try again."
)


class SessionToken(CSRF):
    """A token that is valid as long as the visitor's session."""

    def generate_csrf_token(self, csrf_token_field: Any) -> str:  # noqa: ARG002
        """The token of the present session."""
        return hmac.new(_key(), _nonce(), "sha256").hexdigest()

    def validate_csrf_token(self, form: Any, field: Any) -> None:  # noqa: ARG002
        """Raise ``ValidationError`` unless the token is that of the present session."""
        given = str(field.data or "").encode()
        if not hmac.compare_digest(given, str(field.current_token).encode()):
            raise _stale()


class HostToken(CSRF):
    """Flask-WTF's token, for hosts with ``CSRFProtect``."""

    def generate_csrf_token(self, csrf_token_field: Any) -> str:  # noqa: ARG002
        """The token that Flask-WTF expects in this session."""
        from flask_wtf.csrf import generate_csrf  # type: ignore[import-untyped]

        return str(generate_csrf())

    def validate_csrf_token(self, form: Any, field: Any) -> None:  # noqa: ARG002
        """Raise ``ValidationError`` unless Flask-WTF accepts the token."""
        from flask_wtf.csrf import CSRFError, validate_csrf

        try:
            validate_csrf(field.data)
            current_app.extensions["csrf"].protect()  # the rest, such as the referrer
        except (ValidationError, CSRFError) as error:
            raise _stale() from error


def exempt_from_host_check(_endpoint: str | None, _values: Any) -> None:
    """Keep the host's ``CSRFProtect`` from answering our POST requests with a bare "Bad Request".

    Our pages check the token in the same way, and explain in the panel what is wrong with it. A
    ``url_value_preprocessor``: runs before every ``before_request`` of the host.
    """
    if _host_protects() and (blueprint := current_app.blueprints.get(request.blueprint or "")):
        current_app.extensions["csrf"].exempt(blueprint)


class PanelForm(Form):
    """A form with a CSRF token; by itself the form of a page that has only buttons."""

    class Meta(DefaultMeta):
        """The kind of token depends on the app that serves the request."""

        csrf = True

        @property
        def csrf_class(self) -> type[CSRF]:  # type: ignore[override]  # WTForms only reads it
            """Flask-WTF's token where it protects the host, else our own."""
            return HostToken if _host_protects() else SessionToken

        @property
        def csrf_field_name(self) -> str:  # type: ignore[override]
            """``csrf_token``, unless the host has given its own forms another name."""
            if _host_protects():
                return str(current_app.config.get("WTF_CSRF_FIELD_NAME", FIELD))
            return FIELD

    @property
    def token(self) -> Any:
        """The token's field, whatever its name."""
        return self[self.meta.csrf_field_name]


def signer(purpose: str) -> URLSafeSerializer:
    """Signs what a page carries for ``purpose``, valid as long as the visitor's session."""
    return URLSafeSerializer(_key() + _nonce(), salt=f"interaction-mail {purpose}")


def of_session() -> str:
    """What only the visitor's session knows, to bind something to it."""
    return _nonce().decode()


def is_same_origin() -> bool:
    """Whether a page of this site sent the request; True for old browsers, which do not say.

    Values from another site must not fill a form that somebody might save (W3C, Fetch Metadata).
    """
    return request.headers.get("Sec-Fetch-Site", "none") in {"same-origin", "none"}


def _stale() -> ValidationError:
    # It may come from another site, through the visitor's browser.
    log.warning("access.token: no right token, so nothing was done: %r", request.path)
    return ValidationError(gettext(_STALE))


def _host_protects() -> bool:
    protection = current_app.extensions.get("csrf")
    return type(protection).__module__.partition(".")[0] == "flask_wtf"


def _nonce() -> bytes:
    """What only this session knows; made with the first page that needs it."""
    if not isinstance(session.get(_NONCE), str):
        session[_NONCE] = secrets.token_hex(32)
    return str(session[_NONCE]).encode()


def _key() -> bytes:
    # Without a key the session is stored on the server, and the nonce alone is secret.
    key = current_app.secret_key or ""
    return key.encode() if isinstance(key, str) else key
