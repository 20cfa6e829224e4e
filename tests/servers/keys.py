"""Keys for tests, made once: of a client with a certificate, and of a service account."""

from __future__ import annotations

import datetime
import functools
import json

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from tests.canary import learn

ACCOUNT = "crm@project.iam.gserviceaccount.com"


@functools.cache
def key(name: str) -> rsa.RSAPrivateKey:
    """A key for each ``name``."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def key_pem(name: str = "client", password: str | None = None, *, old: bool = False) -> str:
    """It as PEM text."""
    kind = PrivateFormat.TraditionalOpenSSL if old else PrivateFormat.PKCS8
    lock = BestAvailableEncryption(password.encode()) if password else NoEncryption()
    pem = key(name).private_bytes(Encoding.PEM, kind, lock).decode()
    learn(pem.splitlines()[-3])  # a whole line of it
    return pem


@functools.cache
def certificate_pem(name: str = "client", days: int = 365) -> str:
    """A certificate for it."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key(name).public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=400))
        .not_valid_after(now + datetime.timedelta(days=days))
        .sign(key(name), hashes.SHA256())
    )
    return made.public_bytes(Encoding.PEM).decode()


def service_account_json(token_uri: str, **changes: object) -> str:
    """The file that Google gives for a service account."""
    told = {
        "type": "service_account",
        "project_id": "project",
        "private_key_id": "abc123",
        "private_key": key_pem("account"),
        "client_email": ACCOUNT,
        "client_id": "1234567890",
        "token_uri": token_uri,
        "universe_domain": "googleapis.com",
    }
    return json.dumps({**told, **changes}, indent=2)
