"""Whether a provider has signed something. Pure; brings cryptography, so it is loaded late."""

from __future__ import annotations

import base64
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, HashAlgorithm
from cryptography.hazmat.primitives.serialization import load_der_public_key

_WRONG: Final = (ValueError, InvalidSignature, UnsupportedAlgorithm)
_HASHES: Final[dict[str, HashAlgorithm]] = {"1": SHA1(), "2": SHA256()}  # noqa: S303 - of SNS


def public_key(text: str) -> bytes:
    """The public key for ECDSA (DER) that ``text`` is in base64.

    Raises:
        ValueError: it is none.
    """
    der = base64.b64decode(text, validate=True)
    try:
        if isinstance(load_der_public_key(der), EllipticCurvePublicKey):
            return der
    except UnsupportedAlgorithm as error:
        raise ValueError("an unknown kind of key") from error
    raise ValueError("another kind of key")


def is_signed(key: bytes, signature: str, content: bytes) -> bool:
    """Whether ``signature`` (base64) is that of ``key`` (DER) over ``content``: ECDSA, SHA-256."""
    opened = load_der_public_key(key)
    assert isinstance(opened, EllipticCurvePublicKey)  # noqa: S101 - see public_key
    try:
        opened.verify(base64.b64decode(signature, validate=True), content, ECDSA(SHA256()))
    except _WRONG:
        return False
    return True


def is_signed_by_certificate(
    pem: bytes, version: str, signature: str, content: bytes, now: datetime
) -> bool:
    """Whether ``signature`` (base64) is that of the certificate ``pem``, valid ``now``: RSA.

    ``version`` is that of SNS: "1" with SHA-1, "2" with SHA-256.
    """
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        key, method = certificate.public_key(), _HASHES.get(version)
        valid = certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc
        if not valid or method is None or not isinstance(key, RSAPublicKey):
            return False
        key.verify(base64.b64decode(signature, validate=True), content, PKCS1v15(), method)
    except _WRONG:
        return False
    return True
