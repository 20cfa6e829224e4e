"""The stored password, encrypted together with the only destination where it may go.

Fernet (AES-128-CBC with HMAC-SHA256), under keys that HKDF-SHA256 (RFC 5869) derives from the
host's keys, which may have any length. The newest key encrypts; all of them decrypt.

``cryptography`` is imported on first use: it takes 8 ms and 7 MB, which a process without a
password need not spend.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from ..errors import SecretUnreadable
from ..language import mark
from .model import SECRETS, SETTINGS, MessagingSettings
from .relay import SES, Destination
from .secret import BoundSecret, Secret

if TYPE_CHECKING:
    from cryptography.fernet import Fernet, MultiFernet

Keys = Sequence[str | bytes]

# What a sign-in by token depends on. The day on which a secret ends, and where a person agrees,
# change nothing of it.
_ASIDE: Final = ("oauth_expires", "oauth_authorization_url")
_OAUTH: Final = ("sign_in", *(n for n in SETTINGS if n[:6] == "oauth_" and n not in _ASIDE))
_AMAZON: Final = ("kind", "region", "endpoint", "access_key")
# The panel translates it; elsewhere it is English, as in the log.
_NO_KEY: Final = mark(
    "There is no key to encrypt the password with: set SECRET_KEY, "
    "or INTERACTION_MAIL_SECRET_KEYS, in the application's configuration"
)
_NO_FIT: Final = (
    "the stored password was encrypted under another key: put the former key into "
    "SECRET_KEY_FALLBACKS (or last in INTERACTION_MAIL_SECRET_KEYS), or type the password again"
)


class Keyring:
    """Seals and opens passwords. ``keys`` are newest first; a callable is asked at every use.

    A missing key is an error only when a password is to be stored or opened.
    """

    def __init__(self, keys: Keys | Callable[[], Keys]) -> None:
        self._keys = keys if callable(keys) else lambda: keys
        self._no_key = os.urandom(32)  # for fingerprints if no key is configured

    def seal(self, password: Secret, destination: Destination) -> str:
        """Encrypt ``password`` and the ``destination`` that it is for.

        Raises:
            SecretUnreadable: no key is configured.
        """
        return self._ring().encrypt(_payload(password, destination)).decode("ascii")

    def open(self, token: str) -> tuple[Secret, Destination]:
        """The password in ``token``, and its destination.

        Raises:
            SecretUnreadable: no key fits, or the token is damaged.
        """
        payload = _decrypted(self._ring(), token)
        opened = _parsed(payload) if payload is not None else None
        if opened is None:
            raise SecretUnreadable(_NO_FIT)
        return opened

    def seal_bound(self, bound: BoundSecret) -> str:
        """Encrypt a secret with the URL that it is for; raises as ``seal``."""
        payload = json.dumps({"secret": bound.secret.reveal(), "to": bound.to}).encode("ascii")
        return self._ring().encrypt(payload).decode("ascii")

    def open_bound(self, token: str) -> BoundSecret:
        """The secret in ``token`` with its URL; raises as ``open``."""
        payload = _decrypted(self._ring(), token)
        opened = _parsed_bound(payload) if payload is not None else None
        if opened is None:
            raise SecretUnreadable(_NO_FIT)
        return opened

    def rotate(self, token: str) -> str:
        """``token`` encrypted under the newest key; the same text if it is already.

        Raises:
            SecretUnreadable: no key fits, or the token is damaged.
        """
        newest, ring = self._fernets()[0], self._ring()
        if _decrypted(newest, token) is not None:
            return token
        if _decrypted(ring, token) is None:
            raise SecretUnreadable(_NO_FIT)
        return ring.rotate(token).decode("ascii")

    def fingerprint(self, settings: MessagingSettings) -> str:
        """64 hexadecimal digits that change with every setting that a test's result depends on.

        The password enters as a digest under a key, so that a fingerprint does not help anybody
        to guess it.
        """
        return self.fingerprints(settings)[0]

    def fingerprints(self, settings: MessagingSettings) -> tuple[str, ...]:
        """The fingerprint under each key, newest first.

        A fingerprint that was stored before the keys were rotated is among them.
        """
        material = [*self._material()] or [self._no_key]
        return tuple(_fingerprint(settings, _derived(key, b"fingerprint")) for key in material)

    def digest(self, *parts: object) -> str:
        """64 hexadecimal digits that change with ``parts``; secrets among them enter unreadably."""
        spelled = [part.reveal() if isinstance(part, Secret) else repr(part) for part in parts]
        keys = [*self._material()] or [self._no_key]
        text = json.dumps(spelled).encode("ascii")
        return hmac.digest(_derived(keys[0], b"digest"), text, "sha256").hex()

    def _material(self) -> list[bytes]:
        keys = self._keys()
        return [key.encode() if isinstance(key, str) else bytes(key) for key in keys if key]

    def _ring(self) -> MultiFernet:
        from cryptography.fernet import MultiFernet

        return MultiFernet(self._fernets())

    def _fernets(self) -> list[Fernet]:
        from cryptography.fernet import Fernet

        material = self._material()
        if not material:
            raise SecretUnreadable(_NO_KEY)
        return [Fernet(base64.urlsafe_b64encode(_derived(key, b"password"))) for key in material]


def keys_of(config: Mapping[str, Any]) -> tuple[str | bytes, ...]:
    """The keys in the application's configuration, newest first; () if there is none.

    ``INTERACTION_MAIL_SECRET_KEYS``, otherwise ``SECRET_KEY`` and ``SECRET_KEY_FALLBACKS``. To
    change to keys of one's own, put the former ``SECRET_KEY`` last among them.
    """
    keys = config.get("INTERACTION_MAIL_SECRET_KEYS")
    if keys is None:
        keys = [config.get("SECRET_KEY"), *(config.get("SECRET_KEY_FALLBACKS") or ())]
    if isinstance(keys, str | bytes):
        keys = [keys]
    return tuple(key for key in keys if key)


def _decrypted(ring: Fernet | MultiFernet, token: str) -> bytes | None:
    """The content of ``token``; None if no key of ``ring`` fits, or the token is damaged."""
    from cryptography.fernet import InvalidToken

    try:
        return ring.decrypt(token)
    except (InvalidToken, ValueError):
        return None


def _derived(key: bytes, purpose: bytes) -> bytes:
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    info = b"flask-interaction-mail " + purpose
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(key)


def _payload(password: Secret, destination: Destination) -> bytes:
    return json.dumps({"password": password.reveal(), **asdict(destination)}).encode("ascii")


def _parsed(payload: bytes) -> tuple[Secret, Destination] | None:
    # An error of json quotes the text that it could not read, so none may leave this function.
    try:
        values: dict[str, Any] = json.loads(payload)
        return Secret(str(values.pop("password"))), Destination(**values)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _parsed_bound(payload: bytes) -> BoundSecret | None:
    try:
        values: dict[str, Any] = json.loads(payload)
        return BoundSecret(Secret(str(values["secret"])), values["to"])
    except (ValueError, TypeError, KeyError):
        return None


def _fingerprint(settings: MessagingSettings, key: bytes) -> str:
    password = settings.password.reveal() if settings.password else ""
    tested = [name for name, setting in SETTINGS.items() if setting.tested]
    parts: dict[str, object] = {name: getattr(settings, name) for name in tested}
    parts |= asdict(settings.destination)
    if settings.by_token:
        # Only then, so that a test from before there were tokens counts on.
        parts |= {name: getattr(settings, name) for name in _OAUTH if name not in SECRETS}
        secrets = [getattr(settings, name) for name in _OAUTH if name in SECRETS]
        told = json.dumps([secret and secret.reveal() for secret in secrets])
        parts["oauth"] = hmac.digest(key, told.encode(), "sha256").hex()
    if settings.kind is SES:  # as above
        parts |= {name: getattr(settings, name) for name in _AMAZON}
        told = settings.secret_key.reveal() if settings.secret_key else ""
        parts["secret_key"] = hmac.digest(key, told.encode("utf-8", "replace"), "sha256").hex()
    parts["password"] = hmac.digest(key, password.encode("utf-8", "replace"), "sha256").hex()
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
