"""Rules about several settings at once; ``fields`` checks each one alone."""

from __future__ import annotations

from collections.abc import Collection
from importlib.util import find_spec
from typing import Final

from .. import addresses, language
from ..errors import AddressError
from ..language import gettext, mark
from .certificates import canonical_pem, is_readable_pem
from .grant import MICROSOFT_SCOPE
from .model import ADDRESSES, SETTINGS, MessagingSettings, Origin, PasswordState
from .relay import SES, Encryption, SignIn

_NO_SIGNATURE: Final = mark(
    "Enter the secret that signs what is sent to this webhook. "
    "One that was stored for another URL is not used with this one."
)
_ENTER_TENANT: Final = mark(
    "Enter the tenant of Microsoft 365, or the token URL of another provider."
)
_ENTER_AUTHORIZATION: Final = mark(
    "Enter the authorization URL, where the person who has the mailbox agrees, or the tenant of "
    "Microsoft 365."
)
_ENTER_CLIENT: Final = mark("Enter the client ID of the application.")
_ENTER_SECRET: Final = mark("Enter the client secret, or paste a certificate with its key.")
_ENTER_KEY: Final = mark("Paste the key of the service account: all of the JSON file.")
_BOUND: Final = mark(
    "One that was stored for another token service, server, port, encryption or CA certificate is "
    "not used with this one, nor with another IMAP server."
)
_ENTER_SECRET_KEY: Final = mark(
    "Enter the secret access key that belongs to the access key ID. One that was stored for "
    "another key, region, endpoint or CA certificate is not used with this one."
)
_ENTER_ACCESS_KEY: Final = mark("Enter the ID of the access key that this secret belongs to.")
NO_BOTOCORE: Final = mark(
    "Amazon SES by HTTPS needs the Python package botocore: whoever runs this application has to "
    "install flask-interaction-mail[ses]."
)
_ONE_OF_BOTH: Final = mark("Enter a client secret or a certificate, and not both.")
_DEFAULT_SCOPE: Final = mark(
    "For Microsoft 365 the scope of an application ends with /.default: empty the field, or enter "
    "%(scope)s."
)
_ENTER_LOGIN_OF_MAILBOX: Final = mark("Enter the login of the mailbox.")
_ENTER_PASSWORD_OF_MAILBOX: Final = mark(
    "Enter the password of the mailbox. One that was stored for another IMAP server, port, "
    "encryption, CA certificate or login is not used with this one."
)
_NO_TOKEN_FOR_MAILBOX: Final = mark(
    "The mail server “default” does not sign in with OAuth 2: choose login and password here, or "
    "OAuth 2 there."
)
_SAME_FOLDER: Final = mark("Choose another folder than the one that is read, or leave it empty.")
_MAILBOX_UNENCRYPTED: Final = mark(
    "Choose TLS or STARTTLS: without encryption others could read the password. If the network "
    "is safe, allow authentication without encryption under Advanced."
)
_CA_OF_MAILBOX: Final = mark(
    "The CA certificate of the IMAP server cannot be read: paste the whole text again, or empty "
    "the field."
)
_PORTS: Final = {Encryption.NONE: 25, Encryption.STARTTLS: 587, Encryption.TLS: 465}


def suggested_port(encryption: Encryption) -> int:
    """The usual port for ``encryption`` (RFC 5321 §4.5.4.2, RFC 6409 §3.1, RFC 8314 §7.3)."""
    return _PORTS[encryption]


def problems(
    settings: MessagingSettings,
    *,
    password: PasswordState,
    origin: Origin = Origin.STORED,
    unbound: Collection[str] = (),
) -> dict[str, str]:
    """Why ``settings`` cannot be saved: field to text, empty if they can (R44).

    ``password``, ``origin`` (of the password) and ``unbound`` are as in ``InForce``.
    """
    found = {
        name: gettext(setting.required)
        for name, setting in SETTINGS.items()
        if setting.required and setting.fits(settings.kind) and not getattr(settings, name)
    }
    found |= _incomplete_addresses(settings)
    if settings.ca_certificate and not is_readable_pem(canonical_pem(settings.ca_certificate)):
        found["ca_certificate"] = gettext(
            "The CA certificate cannot be read, so nothing is sent: "
            "paste the whole text again, or empty the field."
        )
    if settings.alert_url and not settings.alert_secret:
        found["alert_secret"] = gettext(_NO_SIGNATURE)
    if settings.returns_server:
        found |= mailbox_problems(settings)
    if settings.kind is SES:
        found |= ses_problems(settings)
    if settings.by_token:
        found |= _encrypted(settings) | token_problems(settings)
    if settings.by_password:
        found |= _authentication(settings)
        if password is not PasswordState.USABLE:
            found["password"] = password_advice(password, origin=origin, unbound=unbound)
    return found


def password_advice(
    state: PasswordState, *, origin: Origin = Origin.STORED, unbound: Collection[str] = ()
) -> str:
    """Why the password cannot be used, and what to do; "" if it can."""
    match state, origin:
        case PasswordState.USABLE, _:
            return ""
        case PasswordState.NONE, _:
            return gettext("Enter the password that belongs to the login.")
        case PasswordState.UNREADABLE, _:
            return gettext(
                "The stored password cannot be read with the secret key of this application. "
                "Enter it again, or restore the former key."
            )
        case _, Origin.OVERRIDE:
            return gettext(
                "Password needed for this server: the password in INTERACTION_MAIL_OVERRIDES is "
                "used only with a connection that is set beside it. "
                "Set %(names)s there too.",
                names=", ".join(unbound) or gettext("the connection"),
            )
        case _, Origin.CONFIG:
            return gettext(
                "Password needed for this server: MAIL_PASSWORD is for another %(parts)s. "
                "Enter the password that belongs to this one.",
                parts=_parts(unbound),
            )
        case _:
            return gettext(
                "Password needed for this server: the stored one was entered for another "
                "%(parts)s. Enter the password that belongs to this one.",
                parts=_parts(unbound),
            )


def _parts(unbound: Collection[str]) -> str:
    """The parts of the connection that these settings are, as a list in words."""
    first, *others = [gettext(SETTINGS[name].part) for name in unbound] or [gettext("connection")]
    for other in others:
        first = gettext("%(first)s and %(other)s", first=first, other=other)
    return first


def _incomplete_addresses(settings: MessagingSettings) -> dict[str, str]:
    found = {}
    for name in ADDRESSES:
        if email := getattr(settings, name):
            try:
                addresses.complete(
                    email,
                    company_domain=settings.company_domain,
                    own_domains=settings.own_domains,
                )
            except AddressError as error:
                found[name] = language.translated(error)
            if name == "default_from" and addresses.needs_smtputf8(email):
                found[name] = gettext(addresses.ASCII_ONLY)
    return found


def _authentication(settings: MessagingSettings) -> dict[str, str]:
    missing = gettext("Enter the login, or switch SMTP authentication off.")
    return _encrypted(settings) | ({} if settings.login else {"login": missing})


def ses_problems(settings: MessagingSettings) -> dict[str, str]:
    """Why no request to Amazon SES can be signed: field to text."""
    if find_spec("botocore") is None:
        return {"kind": gettext(NO_BOTOCORE)}
    if settings.access_key and not settings.secret_key:
        return {"secret_key": gettext(_ENTER_SECRET_KEY)}
    if settings.secret_key and not settings.access_key:
        return {"access_key": gettext(_ENTER_ACCESS_KEY)}
    return {}


def mailbox_problems(settings: MessagingSettings) -> dict[str, str]:
    """Why the mailbox with returned mail cannot be read: field to text."""
    found: dict[str, str] = {}
    if settings.returns_by_token:
        if not settings.by_token:
            found["returns_sign_in"] = gettext(_NO_TOKEN_FOR_MAILBOX)
    else:
        if not settings.returns_login:
            found["returns_login"] = gettext(_ENTER_LOGIN_OF_MAILBOX)
        if not settings.returns_password:
            found["returns_password"] = gettext(_ENTER_PASSWORD_OF_MAILBOX)
    unencrypted = settings.returns_encryption is Encryption.NONE
    if unencrypted and not settings.allow_unencrypted_auth:
        found["returns_encryption"] = gettext(_MAILBOX_UNENCRYPTED)
    if settings.returns_moved_to == settings.returns_folder:
        found["returns_moved_to"] = gettext(_SAME_FOLDER)
    certificate = settings.returns_ca_certificate
    if certificate and not is_readable_pem(canonical_pem(certificate)):
        found["returns_ca_certificate"] = gettext(_CA_OF_MAILBOX)
    return found


def token_problems(settings: MessagingSettings) -> dict[str, str]:
    """Why no access token can be asked for: field to text."""
    match settings.sign_in:
        case SignIn.OAUTH_APPLICATION:
            return _application(settings)
        case SignIn.OAUTH_SERVICE_ACCOUNT if not settings.oauth_service_account:
            return {"oauth_service_account": gettext(_ENTER_KEY) + " " + gettext(_BOUND)}
        case SignIn.OAUTH_MAILBOX:
            return _consent(settings)
    return {}


def _client(settings: MessagingSettings) -> dict[str, str]:
    found = {}
    if not settings.token_url:
        found["oauth_tenant"] = gettext(_ENTER_TENANT)
    if not settings.oauth_client_id:
        found["oauth_client_id"] = gettext(_ENTER_CLIENT)
    return found


def _consent(settings: MessagingSettings) -> dict[str, str]:
    # Whether somebody has agreed is no rule: that can only be done once these are saved.
    found = _client(settings)
    if settings.token_url and not settings.authorization_url:
        found["oauth_authorization_url"] = gettext(_ENTER_AUTHORIZATION)
    return found


def _application(settings: MessagingSettings) -> dict[str, str]:
    found = _client(settings)
    if not (settings.oauth_client_secret or settings.oauth_certificate):
        found["oauth_client_secret"] = gettext(_ENTER_SECRET) + " " + gettext(_BOUND)
    if settings.oauth_client_secret and settings.oauth_certificate:
        found["oauth_certificate"] = gettext(_ONE_OF_BOTH)
    scope = settings.oauth_scope
    if settings.oauth_tenant and scope and not scope.endswith("/.default"):
        found["oauth_scope"] = gettext(_DEFAULT_SCOPE, scope=MICROSOFT_SCOPE)
    return found


def _encrypted(settings: MessagingSettings) -> dict[str, str]:
    found = {}
    if settings.encryption is Encryption.NONE and not settings.allow_unencrypted_auth:
        found["encryption"] = gettext(
            "Choose STARTTLS or TLS: without encryption others could read the password. "
            "If the network is safe, allow authentication without encryption under Advanced."
        )
    return found
