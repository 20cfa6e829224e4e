"""Certificates good and bad, made on the spot."""

from __future__ import annotations

import datetime
import ssl
from dataclasses import dataclass
from functools import cache

import trustme


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


def too_old(context: ssl.SSLContext) -> ssl.SSLContext:
    """The same server with nothing newer than TLS 1.1."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context
