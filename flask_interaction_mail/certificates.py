"""The one question about certificates that a setting raises: is this text any?"""

from __future__ import annotations


def count_certificates(pem: str) -> int:
    """How many X.509 certificates the PEM text ``pem`` holds; 0 where it cannot be read."""
    # Late: it takes a host 20 ms to start with it, and few have a CA of their own.
    from cryptography.x509 import load_pem_x509_certificates

    try:
        return len(load_pem_x509_certificates(pem.encode()))
    except ValueError:
        return 0
