"""A second look, for diagnosis only: what certificate is it that is not accepted? Does a silent
server wait for encryption? Nothing is sent beyond what leads to the handshake."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from cryptography import x509
from cryptography.x509.oid import NameOID

from ..errors import TransportError
from ..settings import Encryption
from .replies import safe_text
from .session import Session
from .tls import unverified_context


def certificate(session: Session) -> Mapping[str, str]:
    """Names, issuer and expiry of the certificate that ``session`` refused; empty if unknown."""
    again = _again(session, session.settings.encryption)
    try:
        again.connect()
        if again.settings.encryption is Encryption.STARTTLS:
            again.greet()
        again.handshake_only()
        return _facts(again.wire.certificate() or b"")
    except (TransportError, ValueError):
        return {}
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
        settings=replace(session.settings, encryption=encryption, use_authentication=False),
        timeouts=session.timeouts,
        policy=session.policy,
        until=session.until,
        context=unverified_context(),
        places=session.places,
    )


def _facts(der: bytes) -> dict[str, str]:
    found = x509.load_der_x509_certificate(der)
    issuer = (
        *found.issuer.get_attributes_for_oid(NameOID.ORGANIZATION_NAME),
        *found.issuer.get_attributes_for_oid(NameOID.COMMON_NAME),
    )
    return {
        "certificate": safe_text(", ".join(_names(found))),
        "issuer": safe_text(str(issuer[0].value)) if issuer else "",
        "expires": f"{found.not_valid_after_utc:%Y-%m-%d %H:%M} UTC",
    }


def _names(found: x509.Certificate) -> list[str]:
    try:
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        common = found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return [str(one.value) for one in common]
    hosts = names.get_values_for_type(x509.DNSName)
    return [*hosts, *map(str, names.get_values_for_type(x509.IPAddress))]
