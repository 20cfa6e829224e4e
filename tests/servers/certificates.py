"""Certificates good and bad, made on the spot."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
import tempfile
from dataclasses import dataclass
from functools import cache

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


@dataclass(frozen=True)
class Pki:
    """A private CA: its certificate as PEM text, and servers' contexts by what is wrong."""

    ca: trustme.CA

    @property
    def pem(self) -> str:
        return self.ca.cert_pem.bytes().decode()

    def server(
        self,
        *names: str,
        not_after: datetime.datetime | None = None,
        not_before: datetime.datetime | None = None,
    ) -> ssl.SSLContext:
        """A server's context with a certificate for ``names``, by default 127.0.0.1."""
        names = names or ("127.0.0.1", "localhost")
        issued = self.ca.issue_cert(*names, not_after=not_after, not_before=not_before)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        issued.configure_cert(context)
        return context


@cache
def pki() -> Pki:
    """The CA of this test run: making one takes a while."""
    return Pki(trustme.CA())


@cache
def other_pki() -> Pki:
    """A CA that nobody trusts."""
    return Pki(trustme.CA())


def self_signed() -> ssl.SSLContext:
    """A server that nobody vouches for, under the right name."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _unsigned(key).issuer_name(_NAME)
    return _context(builder.sign(key, hashes.SHA256()), key)


def for_clients_only(issuer: Pki) -> ssl.SSLContext:
    """A server that shows a certificate with which one may log in, but not serve."""
    key = ec.generate_private_key(ec.SECP256R1())
    authority = x509.load_pem_x509_certificate(issuer.pem.encode())
    purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    builder = _unsigned(key).issuer_name(authority.subject).add_extension(purpose, critical=True)
    signer = serialization.load_pem_private_key(issuer.ca.private_key_pem.bytes(), None)
    return _context(builder.sign(signer, hashes.SHA256()), key)  # type: ignore[arg-type]


_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])


def _unsigned(key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    return x509.CertificateBuilder(
        subject_name=_NAME,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=now - datetime.timedelta(days=1),
        not_valid_after=now + datetime.timedelta(days=1),
    ).add_extension(x509.SubjectAlternativeName([address]), critical=False)


def _context(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile() as file:
        file.write(certificate.public_bytes(serialization.Encoding.PEM))
        file.write(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        file.flush()
        context.load_cert_chain(file.name)
    return context


def too_old(context: ssl.SSLContext) -> ssl.SSLContext:
    """The same server with nothing newer than TLS 1.1."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context
