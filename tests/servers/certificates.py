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
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID


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


def self_signed(*, odd: bool = False) -> ssl.SSLContext:
    """A server that nobody vouches for, under the right name; an ``odd`` one says nonsense."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _unsigned(key).issuer_name(_NAME)
    if odd:
        nonsense = x509.UnrecognizedExtension(ExtensionOID.CERTIFICATE_POLICIES, b"\xff\xff")
        builder = builder.add_extension(nonsense, critical=False)
    return _context(builder.sign(key, hashes.SHA256()), key)


def for_clients_only(issuer: Pki) -> ssl.SSLContext:
    """A server that shows a certificate with which one may log in, but not serve."""
    key = ec.generate_private_key(ec.SECP256R1())
    authority = x509.load_pem_x509_certificate(issuer.pem.encode())
    purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    builder = _unsigned(key).issuer_name(authority.subject).add_extension(purpose, critical=True)
    signer = serialization.load_pem_private_key(issuer.ca.private_key_pem.bytes(), None)
    return _context(builder.sign(signer, hashes.SHA256()), key)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Chain:
    """A server below an intermediate CA below a root; the CAs' certificates as PEM text."""

    root: str
    intermediate: str
    server: ssl.SSLContext


def chain(*, ended: str = "", lax: bool = False) -> Chain:
    """A chain in which ``ended`` (root, intermediate or server) is over since a minute.

    A ``lax`` one leaves out what RFC 5280 asks of CAs and few clients check: key usage, key
    identifiers, basic constraints that are critical.
    """
    keys = {name: ec.generate_private_key(ec.SECP256R1()) for name in ("root", "intermediate")}
    made: dict[str, x509.Certificate] = {}
    for name, issuer in (("root", "root"), ("intermediate", "root")):
        subject, key = _named(f"The {name} CA"), keys[name]
        builder = _unsigned(key, subject, ended=name == ended)
        builder = builder.issuer_name(_named(f"The {issuer} CA")).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=not lax
        )
        if not lax:
            builder = builder.add_extension(_SIGNS, critical=True).add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
        made[name] = builder.sign(keys[issuer], hashes.SHA256())
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = _unsigned(key, ended=ended == "server").issuer_name(_named("The intermediate CA"))
    signed = leaf.sign(keys["intermediate"], hashes.SHA256())
    texts = {n: one.public_bytes(serialization.Encoding.PEM).decode() for n, one in made.items()}
    context = _context(signed, key, made["intermediate"])
    return Chain(texts["root"], texts["intermediate"], context)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


_SIGNS = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)
_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])


def _unsigned(
    key: ec.EllipticCurvePrivateKey, subject: x509.Name = _NAME, *, ended: bool = False
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    minute = datetime.timedelta(minutes=1)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    return x509.CertificateBuilder(
        subject_name=subject,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=now - datetime.timedelta(days=1),
        not_valid_after=now - minute if ended else now + datetime.timedelta(days=1),
    ).add_extension(x509.SubjectAlternativeName([address]), critical=False)


def _context(
    certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey, *above: x509.Certificate
) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile() as file:
        for one in (certificate, *above):
            file.write(one.public_bytes(serialization.Encoding.PEM))
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
