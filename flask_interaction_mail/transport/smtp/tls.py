"""TLS: which certificates to trust, the facts of a connection, and what went wrong."""

from __future__ import annotations

import functools
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from ...language import mark
from ...outcome import Fault
from ...settings.certificates import canonical_pem
from .replies import safe_text


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFacts:
    """An encrypted connection: protocol, cipher; the certificate's names, issuer and expiry.

    ``expires`` is the certificate's own text, in GMT.
    """

    protocol: str
    cipher: str
    names: tuple[str, ...]
    issuer: str
    expires: str

    @property
    def ends(self) -> datetime | None:
        """When the certificate ends, naive UTC; None if that cannot be read."""
        try:
            seconds = ssl.cert_time_to_seconds(self.expires)
        except ValueError:
            return None
        return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)


class CertificateUnreadable(ValueError):
    """The CA certificate of the settings is not a certificate."""


@functools.lru_cache(maxsize=8)
def context_for(ca_certificate: str | None) -> ssl.SSLContext:
    """A context that verifies, and trusts ``ca_certificate`` (PEM) beside the system's CAs.

    Creating one takes tens of milliseconds, so the last eight are kept.

    Raises:
        CertificateUnreadable: the text does not contain a certificate.
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # The same on every Python: 3.13 and later refuse certificates of many private CAs, which lack
    # key usage or key identifiers (RFC 5280 §4.2), and trust an intermediate that is given alone.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if ca_certificate:
        try:
            context.load_verify_locations(cadata=canonical_pem(ca_certificate))
        except (ssl.SSLError, ValueError, TypeError) as error:
            raise CertificateUnreadable(
                mark("The CA certificate of the settings cannot be read.")
            ) from error
    return context


def unverified_context() -> ssl.SSLContext:
    """A context without verification, to look at a certificate; nothing may be sent through it."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def facts(encrypted: ssl.SSLSocket) -> TlsFacts:
    """The facts of a verified connection."""
    certificate: dict[str, Any] = encrypted.getpeercert() or {}
    cipher = encrypted.cipher()
    names = [name for kind, name in certificate.get("subjectAltName", ()) if kind != "email"]
    issuer = _parts(certificate.get("issuer", ()))
    return TlsFacts(
        protocol=encrypted.version() or "",
        cipher=cipher[0] if cipher else "",
        names=tuple(map(safe_text, names)),
        issuer=safe_text(issuer.get("organizationName") or issuer.get("commonName") or ""),
        expires=safe_text(certificate.get("notAfter", "")),
    )


def _parts(name: tuple[tuple[tuple[str, str], ...], ...]) -> dict[str, str]:
    return {key: value for part in name for key, value in part}


# Numbers of OpenSSL's verification results (X509_V_ERR_…).
_CERTIFICATE: Final = {
    9: Fault.CERTIFICATE_NOT_YET,
    10: Fault.CERTIFICATE_EXPIRED,
    18: Fault.CERTIFICATE_UNKNOWN_CA,
    19: Fault.CERTIFICATE_UNKNOWN_CA,
    20: Fault.CERTIFICATE_UNKNOWN_CA,
    21: Fault.CERTIFICATE_UNKNOWN_CA,
    62: Fault.CERTIFICATE_OTHER_HOST,
    64: Fault.CERTIFICATE_OTHER_HOST,
}
# Parts of OpenSSL's error names.
_HANDSHAKE: Final = (
    ("UNSUPPORTED_PROTOCOL", Fault.TLS_TOO_OLD),
    ("PROTOCOL_VERSION", Fault.TLS_TOO_OLD),
    ("VERSION_TOO_LOW", Fault.TLS_TOO_OLD),
    ("WRONG_VERSION_NUMBER", Fault.TLS_NOT_SPOKEN),
    ("RECORD_LAYER_FAILURE", Fault.TLS_NOT_SPOKEN),
    ("PACKET_LENGTH_TOO_LONG", Fault.TLS_NOT_SPOKEN),
    ("HTTP_REQUEST", Fault.TLS_NOT_SPOKEN),
    ("UNKNOWN_PROTOCOL", Fault.TLS_NOT_SPOKEN),
)


def explain(error: Exception) -> tuple[Fault, str]:
    """The fault of a failed handshake, and one sentence about it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        fault = _CERTIFICATE.get(error.verify_code, Fault.CERTIFICATE_OTHER)
        # OpenSSL knows which certificate in the chain it is, but Python does not say.
        dated = fault in (Fault.CERTIFICATE_EXPIRED, Fault.CERTIFICATE_NOT_YET)
        why = safe_text(error.verify_message)
        if dated:
            return fault, mark(
                "The server's certificate, or one above it, is not accepted: %(why)s.", why=why
            )
        return fault, mark("The server's certificate is not accepted: %(why)s.", why=why)
    if isinstance(error, TimeoutError):
        text = mark("The server does not finish the start of the encryption in time.")
        return Fault.SILENT, text
    reason = str(getattr(error, "reason", None) or "").upper()
    fault = next((fault for word, fault in _HANDSHAKE if word in reason), Fault.TLS_FAILED)
    said = (
        reason.replace("_", " ").lower() or getattr(error, "strerror", "") or type(error).__name__
    )
    return fault, mark("The encryption could not be started: %(why)s.", why=safe_text(said))
