"""Mail providers, as far as DNS is concerned: what SPF includes, and the usual DKIM selectors.

A relay is recognised by its host name. Selectors are the names that a provider gives by default;
some make one up for each customer (Amazon SES, Postmark).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One provider. ``include`` is None if its mail has an envelope address of its own."""

    name: str
    hosts: tuple[str, ...]  # ends of the names of its relays
    include: str | None = None
    also: tuple[str, ...] = ()  # other includes that allow it
    selectors: tuple[str, ...] = ()


PROVIDERS: Final = (
    Provider(
        name="Microsoft 365",
        hosts=("office365.com", "outlook.com", "office365.us", "office.com"),
        include="spf.protection.outlook.com",
        also=("spf.protection.office365.us",),
        selectors=("selector1", "selector2"),
    ),
    Provider(
        name="Google Workspace",
        hosts=("gmail.com", "google.com", "googlemail.com"),
        include="_spf.google.com",
        selectors=("google",),
    ),
    Provider(name="Amazon SES", hosts=("amazonaws.com", "awsapps.com")),
    Provider(name="SendGrid", hosts=("sendgrid.net",), selectors=("s1", "s2")),
    Provider(
        name="Mailgun",
        hosts=("mailgun.org",),
        include="mailgun.org",
        also=("eu.mailgun.org",),
        selectors=("pdk1", "pdk2", "k1", "pic", "mx", "smtp"),
    ),
    Provider(name="Postmark", hosts=("postmarkapp.com",), selectors=("pm",)),
    Provider(
        name="Zoho",
        hosts=("zoho.com", "zoho.eu", "zoho.in", "zohocloud.ca", "zoho.com.au"),
        include="zohomail.com",
        also=("zoho.com", "spf.zoho.com", "zoho.eu", "zohomail.eu", "spf.zoho.eu", "zoho.in"),
        selectors=("zmail", "zoho"),
    ),
    Provider(
        name="Fastmail",
        hosts=("fastmail.com", "messagingengine.com"),
        include="spf.messagingengine.com",
        selectors=("fm1", "fm2", "fm3"),
    ),
)
_COMMON: Final = ("default", "dkim", "mail")  # of OpenDKIM, Rspamd and others


def provider_of(relay: str | None) -> Provider | None:
    """The provider whose server ``relay`` is, None if it is not known."""
    host = (relay or "").lower().rstrip(".")
    for provider in PROVIDERS:
        if any(host == end or host.endswith(f".{end}") for end in provider.hosts):
            return provider
    return None


def usual_selectors(provider: Provider | None) -> tuple[str, ...]:
    """The selectors worth trying: those of ``provider``, or everybody's if it is not known."""
    if provider is not None and provider.selectors:
        return provider.selectors
    each = (selector for known in PROVIDERS for selector in known.selectors)
    return tuple(dict.fromkeys((*_COMMON, *each)))
