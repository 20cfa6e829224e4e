"""A second connection, for diagnosis only, that shows more about a failure.

It shows the certificate that is not accepted, and whether a silent server waits for encryption.
Nothing is sent beyond what leads to the handshake.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from cryptography import x509
from cryptography.x509.oid import NameOID

from ...errors import TransportError
from ...settings.certificates import canonical_pem
from ...settings.relay import Encryption
from .replies import safe_text
from .session import Session
from .tls import unverified_context


def certificate(session: Session) -> x509.Certificate | None:
    """The certificate that ``session`` refused; None if it cannot be fetched or read."""
    again = _again(session, session.relay.encryption)
    try:
        again.connect()
        if again.relay.encryption is Encryption.STARTTLS:
            again.greet()
        again.handshake_only()
        found = x509.load_der_x509_certificate(again.stream.certificate() or b"")
        facts(found)  # raises ValueError for nonsense: parts are parsed when they are read
        return found
    except (TransportError, ValueError):
        return None
    finally:
        again.close()


def speaks_tls(session: Session) -> bool:
    """Whether the server of ``session`` answers when encryption begins with the first byte."""
    again = _again(session, Encryption.TLS)
    try:
        again.connect()
        again.handshake_only()
        return True
    except TransportError:
        return False
    finally:
        again.close()


def _again(session: Session, encryption: Encryption) -> Session:
    return Session(
        relay=replace(session.relay, encryption=encryption, use_authentication=False),
        timeouts=session.timeouts,
        policy=session.policy,
        until=session.until,
        context=unverified_context(),
        endpoints=session.endpoints,
    )


def facts(found: x509.Certificate) -> Mapping[str, str]:
    """Names, issuer and expiry of a certificate."""
    issuer = (
        *found.issuer.get_attributes_for_oid(NameOID.ORGANIZATION_NAME),
        *found.issuer.get_attributes_for_oid(NameOID.COMMON_NAME),
    )
    return {
        "certificate": safe_text(", ".join(_names(found))),
        "issuer": safe_text(str(issuer[0].value)) if issuer else "",
        "expires": _end(found),
    }


def is_timely(found: x509.Certificate, now: datetime) -> bool:
    """Whether ``found`` is valid at ``now``, which is aware."""
    return found.not_valid_before_utc <= now <= found.not_valid_after_utc


def untimely(pem: str | None, now: datetime) -> str:
    """The CA certificates in ``pem`` that have expired or are not valid yet, as text.

    Empty, too, if they cannot be parsed.
    """
    try:
        found = x509.load_pem_x509_certificates(canonical_pem(pem).encode()) if pem else []
    except ValueError:
        return ""
    return safe_text(
        ", ".join(
            f"{certificate.subject.rfc4514_string()} ({_end(certificate)})"
            for certificate in found
            if not is_timely(certificate, now)
        )
    )


def ends(pem: str) -> list[datetime]:
    """When each of the CA certificates in ``pem`` ends, naive UTC; none if they are unreadable."""
    try:
        found = x509.load_pem_x509_certificates(canonical_pem(pem).encode())
    except ValueError:
        return []
    return [certificate.not_valid_after_utc.replace(tzinfo=None) for certificate in found]


def _end(found: x509.Certificate) -> str:
    return f"{found.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"


def _names(found: x509.Certificate) -> list[str]:
    try:
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension):
        common = found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return [str(name.value) for name in common]
    hosts = names.get_values_for_type(x509.DNSName)
    return [*hosts, *map(str, names.get_values_for_type(x509.IPAddress))]
