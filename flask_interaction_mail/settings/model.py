"""The table of settings: ``MessagingSettings`` has one entry for each.

``rules`` holds what concerns several of them, ``layers`` where their values come from.
"""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Final, TypeVar

from .. import addresses
from ..errors import AddressError
from ..language import gettext, mark
from . import amazon, cleaners, grant, oauth
from .cleaners import WrongValue
from .grant import Grant
from .mailbox import Mailbox, ReturnsSignIn
from .relay import (
    ACCOUNT,
    APPLICATION,
    BY_TOKEN,
    DEFAULT,
    MAILBOX,
    SES,
    SMTP,
    Destination,
    Encryption,
    Relay,
    RelayKind,
    SignIn,
)
from .secret import Secret, signing_key
from .setting import Section, Setting, Widget

T = TypeVar("T")


class FromPolicy(enum.StrEnum):
    """Whose address the From header has (R36)."""

    CURRENT_USER = "current_user"  # the user who caused the message, if one has an address
    DEFAULT_FROM = "default_from"  # always default From


class ForeignSender(enum.StrEnum):
    """How a user is named whose address is in none of the own domains."""

    VIA = "via"  # "User via Company" <default From>, answers go to the user
    AS = "as"  # "User" <user>; passes DMARC only where the relay signs for that domain


class OnAmbiguous(enum.StrEnum):
    """What to do if the connection breaks after the final dot, before the answer (RFC 1047)."""

    RETRY = "retry"  # send it again: twice is better than never
    HOLD = "hold"  # wait for an administrator to decide


class Origin(enum.StrEnum):
    """Where a setting's value comes from, strongest first."""

    OVERRIDE = "override"  # INTERACTION_MAIL_OVERRIDES of this process
    STORED = "stored"  # saved in the panel or on the command line
    CONFIG = "config"  # the host's own MAIL_* keys
    DEFAULT = "default"  # set nowhere


class PasswordState(enum.StrEnum):
    """Whether there is a password that may be used with the connection in force."""

    NONE = "none"  # no layer has one
    USABLE = "usable"  # set for exactly the connection that is in force
    UNBOUND = "unbound"  # set for another connection: never sent to this one
    UNREADABLE = "unreadable"  # encrypted under a key that is not configured


def _password(raw: object) -> Secret | None:
    """The cleaner of the password, which takes a ``Secret``, so that no error can show it."""
    if raw is None:
        return None
    if not isinstance(raw, Secret):
        raise WrongValue(cleaners.not_text(raw, "…"))
    if re.search("[\0\r\n\ud800-\udfff]", raw.reveal()):
        raise WrongValue(gettext("must be one line of characters that can be typed"))
    return raw or None


def _service_account(raw: object) -> Secret | None:
    """The cleaner of a service account, whose own URL has to be one."""
    account = oauth.service_account(raw)
    if account is not None:
        cleaners.web_address(grant.account_in(account)["token_uri"])
    return account


def _webhook_secret(raw: object) -> Secret | None:
    """The cleaner of a webhook's secret, in which ``whsec_`` announces a key in base64."""
    secret = _password(raw)
    try:
        return secret if secret is None or signing_key(secret) else None
    except ValueError:
        # Without its cause, which may quote the secret.
        text = gettext("must have a key in base64 after whsec_: copy all of it again")
        raise WrongValue(text) from None


def _then(first: Callable[[object], T], second: Callable[[T], T]) -> Callable[[object], T]:
    """The cleaner that is ``first``, and then ``second``."""
    return lambda raw: second(first(raw))


def setting(default: T, **about: Any) -> T:
    """Return a field of ``MessagingSettings``; ``about`` are the fields of its ``Setting``.

    A boolean and an enumeration have a default cleaner and widget.
    """
    if isinstance(default, bool):
        about = {"clean": cleaners.boolean, "widget": Widget.CHECK} | about
    elif isinstance(default, enum.StrEnum):
        about = {"clean": cleaners.word(type(default)), "widget": Widget.RADIOS} | about
    return field(default=default, metadata={"setting": Setting(default=default, **about)})


@dataclass(frozen=True, slots=True, kw_only=True)
class MessagingSettings:
    """All settings, in the order in which they are listed (R46).

    Addresses are full or short. ``password`` is None unless it may be used with exactly this
    connection, ``alert_secret`` unless it is for exactly this ``alert_url``. Values are not
    checked here: ``fields.clean`` checks what somebody typed.

    ``relays`` names all relays in their order; "default" is always among them. What a relay has
    of its own stands here for one of them, ``relay``, and for the others in ``others``: by name,
    a value for each of ``RELAY_SETTINGS``.

    Raises:
        ValueError: ``encryption`` or a policy is not one of its words.
    """

    company_domain: str | None = setting(
        None,
        clean=cleaners.domain,
        section=Section.DOMAIN,
        label=mark("Company domain"),
        help=mark(
            "The part after the @. Once it is set, people and groups need only the part before: "
            "ada becomes ada@example.com when a message is sent."
        ),
        attributes={"placeholder": "example.com"},
        command="Completes short addresses: the part after the @.",
        allowed="a domain; a leading `@`, spaces and a trailing dot are removed",
        tested=True,
    )
    kind: RelayKind = setting(
        RelayKind.SMTP,
        section=Section.SERVER,
        label=mark("Way of sending"),
        help=mark("Nearly every provider has an SMTP server. Amazon SES takes mail in both ways."),
        widget=Widget.SELECT,
        choices={
            RelayKind.SMTP: mark("SMTP server"),
            RelayKind.SES: mark("Amazon SES by HTTPS"),
        },
        command="How mail is handed over: to an SMTP server, or to Amazon SES over HTTPS.",
        allowed="`ses` needs the extra `ses`",
        of_relay=True,
    )
    region: str | None = setting(
        None,
        clean=_then(cleaners.line, amazon.region),
        section=Section.SERVER,
        label=mark("Region of Amazon SES"),
        help=mark(
            "The region in which your domain is verified, such as eu-west-1; the SES console shows "
            "it at the top."
        ),
        attributes={"placeholder": "eu-west-1", "autocapitalize": "none"},
        command="Region of Amazon SES, such as eu-west-1.",
        allowed="a region of AWS; required with `ses`",
        required=mark("Enter the region of Amazon SES, such as eu-west-1."),
        kinds=(SES,),
        of_relay=True,
    )
    access_key: str | None = setting(
        None,
        clean=_then(cleaners.line, amazon.access_key),
        section=Section.SERVER,
        label=mark("Access key ID"),
        help=mark(
            "Of an IAM user that may send by Amazon SES. Leave it empty if this machine has "
            "credentials of its own, such as a role of EC2 or ECS."
        ),
        attributes={"autocomplete": "off", "placeholder": "AKIA…"},
        command="ID of the access key; empty for the machine's own credentials.",
        allowed="letters and digits",
        unset="the credentials of the machine",
        kinds=(SES,),
        of_relay=True,
    )
    secret_key: Secret | None = setting(
        None,
        clean=_then(_password, amazon.secret_key),
        section=Section.SERVER,
        label=mark("Secret access key"),
        help=mark(
            "AWS shows it once, when the key is created. It signs requests and is never sent; it "
            "is used only with this key, region and endpoint."
        ),
        widget=Widget.PASSWORD,
        allowed="one word; required with `access_key`",
        kinds=(SES,),
        of_relay=True,
    )
    smtp_server: str | None = setting(
        None,
        clean=cleaners.server,
        section=Section.SERVER,
        label=mark("SMTP server"),
        help=mark(
            "The server that takes your mail: a name or an IP address. "
            "Your mail provider or your IT department knows it."
        ),
        attributes={"placeholder": "mail.example.com"},
        command="Name or IP address of the SMTP server.",
        allowed="a host name, a single label, an IPv4 or IPv6 address",
        required=mark(
            "Enter the name or the address of the SMTP server, such as mail.example.com."
        ),
        bound_to="server",
        part=mark("server"),
        mail_key="MAIL_SERVER",
        kinds=(SMTP,),
        of_relay=True,
    )
    smtp_port: int = setting(
        25,
        clean=cleaners.port(
            25, mark("must be a whole number from 1 to 65535; usual are 25, 587 and 465")
        ),
        section=Section.SERVER,
        label=mark("Port"),
        help=mark(
            "From 1 to 65535; 25 if left empty. "
            "Usual are 587 with STARTTLS, 465 with TLS, and 25 without."
        ),
        attributes={"inputmode": "numeric", "maxlength": "8"},
        beside="encryption",
        command="1 to 65535; usual are 25, 587 and 465.",
        allowed="1 to 65535; empty means 25",
        bound_to="port",
        part=mark("port"),
        mail_key="MAIL_PORT",
        kinds=(SMTP,),
        of_relay=True,
    )
    encryption: Encryption = setting(
        Encryption.STARTTLS,
        section=Section.SERVER,
        label=mark("Encryption"),
        help=mark("Once chosen, nothing less is accepted."),
        widget=Widget.SELECT,
        choices={
            Encryption.STARTTLS: mark("STARTTLS (usual)"),
            Encryption.TLS: mark("TLS from the start"),
            Encryption.NONE: mark("None: readable on its way"),
        },
        command="How the connection is protected.",
        bound_to="encryption",
        part=mark("encryption"),
        mail_key="MAIL_USE_TLS, MAIL_USE_SSL",
        kinds=(SMTP,),
        of_relay=True,
    )
    use_authentication: bool = setting(
        False,
        section=Section.AUTHENTICATION,
        label=mark("Use SMTP authentication"),
        help=mark("Tick this if the server wants a login before it takes mail."),
        command="Log in before sending.",
        allowed="while no, no login is sent, even if one is stored",
        tested=True,
        mail_key="MAIL_USERNAME",
        kinds=(SMTP,),
        of_relay=True,
    )
    sign_in: SignIn = setting(
        SignIn.PASSWORD,
        section=Section.AUTHENTICATION,
        label=mark("Sign-in"),
        help=mark("Microsoft 365 and Google want OAuth 2; most other servers take a password."),
        widget=Widget.SELECT,
        choices={
            SignIn.PASSWORD: mark("login and password"),
            SignIn.OAUTH_APPLICATION: mark("OAuth 2 (application)"),
            SignIn.OAUTH_SERVICE_ACCOUNT: mark("OAuth 2 (service account)"),
            SignIn.OAUTH_MAILBOX: mark("OAuth 2 (consent of a person)"),
            SignIn.HOST: mark("provided by this application"),
            SignIn.NONE: mark("none"),
        },
        command="How to log in; 'none' switches authentication off.",
        allowed="counts with authentication; `none` switches that off",
        kinds=(SMTP,),
        of_relay=True,
    )
    login: str | None = setting(
        None,
        clean=cleaners.line,
        section=Section.AUTHENTICATION,
        label=mark("Login"),
        help=mark("Often the full e-mail address of the mailbox."),
        attributes={"autocomplete": "off"},
        command="Login name at the server.",
        allowed="one line of text; required with authentication",
        bound_to="login",
        part=mark("login"),
        sign_ins=(SignIn.PASSWORD,),
        mail_key="MAIL_USERNAME",
        kinds=(SMTP,),
        of_relay=True,
    )
    password: Secret | None = setting(
        None,
        clean=_password,
        section=Section.AUTHENTICATION,
        label=mark("Password"),
        widget=Widget.PASSWORD,
        allowed="one line of text; required with authentication",
        sign_ins=(SignIn.PASSWORD,),
        mail_key="MAIL_PASSWORD",
        kinds=(SMTP,),
        of_relay=True,
    )
    oauth_mailbox: str | None = setting(
        None,
        clean=cleaners.email,
        section=Section.AUTHENTICATION,
        label=mark("Mailbox"),
        help=mark("The mailbox that mail is sent from. Empty: the default From."),
        command="Mailbox that OAuth 2 logs in for.",
        allowed="a full or short address",
        unset="the default From",
        sign_ins=BY_TOKEN,
        kinds=(SMTP,),
        of_relay=True,
    )
    oauth_tenant: str | None = setting(
        None,
        clean=oauth.tenant,
        section=Section.AUTHENTICATION,
        label=mark("Tenant of Microsoft 365"),
        help=mark("“Directory (tenant) ID” of the app registration. With other providers, empty."),
        attributes={"autocomplete": "off"},
        command="Tenant of Microsoft 365.",
        allowed="the ID of a tenant, or one of its domains",
        sign_ins=(APPLICATION, MAILBOX),
        kinds=(SMTP,),
        of_relay=True,
    )
    oauth_client_id: str | None = setting(
        None,
        clean=cleaners.line,
        section=Section.AUTHENTICATION,
        label=mark("Client ID"),
        help=mark("“Application (client) ID” of the app registration."),
        attributes={"autocomplete": "off"},
        command="Client ID of the application.",
        allowed="one line of text; required with `oauth_application` and `oauth_mailbox`",
        sign_ins=(APPLICATION, MAILBOX),
        kinds=(SMTP,),
        of_relay=True,
    )
    oauth_client_secret: Secret | None = setting(
        None,
        clean=oauth.client_secret,
        section=Section.AUTHENTICATION,
        label=mark("Client secret"),
        help=mark("Its value, not its ID. It is used only with this token service and server."),
        widget=Widget.PASSWORD,
        allowed="one line of text; this or a certificate is required with `oauth_application`",
        sign_ins=(APPLICATION, MAILBOX),
        kinds=(SMTP,),
        of_relay=True,
    )
    oauth_certificate: Secret | None = setting(
        None,
        clean=oauth.client_certificate,
        section=Section.AUTHENTICATION,
        label=mark("Certificate with its private key"),
        help=mark("Instead of a client secret: both as PEM text, the key without a password."),
        widget=Widget.SECRET_AREA,
        attributes={"rows": "3", "spellcheck": "false", "autocomplete": "off"},
        allowed="PEM text of a certificate and its RSA key",
        sign_ins=(APPLICATION,),
        kinds=(SMTP,),
        of_relay=True,
    )
    oauth_expires: str | None = setting(
        None,
        clean=oauth.expires,
        section=Section.AUTHENTICATION,
        label=mark("Client secret ends on"),
        help=mark(
            "The day that the provider shows beside the secret, such as 2027-06-30. There is an "
            "alert 30, 14 and 3 days before. The end of a certificate is known without it."
        ),
        attributes={"placeholder": "2027-06-30", "autocomplete": "off"},
        command="Day on which the client secret ends.",
        allowed="a day as `YYYY-MM-DD`",
        sign_ins=(APPLICATION, MAILBOX),
        kinds=(SMTP,),
        of_relay=True,
    )
    oauth_service_account: Secret | None = setting(
        None,
        clean=_service_account,
        section=Section.AUTHENTICATION,
        label=mark("Key of the service account"),
        help=mark("The JSON file that Google gave: paste all of it."),
        widget=Widget.SECRET_AREA,
        attributes={"rows": "3", "spellcheck": "false", "autocomplete": "off"},
        allowed="JSON of a key; required with `oauth_service_account`",
        sign_ins=(ACCOUNT,),
        kinds=(SMTP,),
        of_relay=True,
    )
    oauth_authorization_url: str | None = setting(
        None,
        clean=cleaners.web_address,
        section=Section.AUTHENTICATION,
        label=mark("Authorization URL"),
        help=mark(
            "Where the person who has the mailbox agrees. Leave it empty for Microsoft 365, where "
            "it follows from the tenant."
        ),
        attributes={"inputmode": "url", "placeholder": "https://"},
        command="URL at which a person agrees.",
        allowed="an `https` URL, or an `http` URL of this machine; required with `oauth_mailbox`",
        unset="that of Microsoft 365 with a tenant",
        sign_ins=(MAILBOX,),
        kinds=(SMTP,),
        of_relay=True,
    )
    oauth_token_url: str | None = setting(
        None,
        clean=cleaners.web_address,
        section=Section.AUTHENTICATION,
        label=mark("Token URL"),
        help=mark(
            "Where the token service of another provider is. Leave it empty for Microsoft 365, "
            "where it follows from the tenant, and for Google, where it is in the key."
        ),
        attributes={"inputmode": "url", "placeholder": "https://"},
        command="URL of the token service.",
        allowed="an `https` URL, or an `http` URL of this machine",
        unset="that of Microsoft 365 with a tenant, of the key with a service account",
        sign_ins=(APPLICATION, ACCOUNT, MAILBOX),
        kinds=(SMTP,),
        of_relay=True,
    )
    oauth_scope: str | None = setting(
        None,
        clean=oauth.scope,
        section=Section.AUTHENTICATION,
        label=mark("Scope"),
        help=mark("Empty: what Microsoft 365 or Google want."),
        attributes={"autocomplete": "off"},
        command="Scope to ask for.",
        allowed="words with spaces between them",
        unset="what Microsoft 365 with a tenant, and Google want",
        sign_ins=(APPLICATION, ACCOUNT, MAILBOX),
        kinds=(SMTP,),
        of_relay=True,
    )
    default_to: str | None = setting(
        None,
        clean=cleaners.email,
        section=Section.ADDRESSES,
        label=mark("Default To"),
        help=mark(
            "Gets every message whose recipient has no address, and the test message. "
            "It should be read by somebody who can act on them."
        ),
        command="Gets what has no other recipient.",
        allowed="a full or short address",
        required=mark("Enter the address for mail whose recipient has no address."),
        tested=True,
    )
    default_from: str | None = setting(
        None,
        clean=cleaners.email,
        section=Section.ADDRESSES,
        label=mark("Default From"),
        help=mark(
            "The address that your mail is sent from. Somebody must read this mailbox: "
            "messages that cannot be delivered (bounces) come back to it."
        ),
        command="Sends the mail, and gets what cannot be delivered.",
        allowed="a full or short address",
        required=mark("Enter the address that mail comes from. Somebody must read that mailbox."),
        tested=True,
        mail_key="MAIL_DEFAULT_SENDER",
    )
    default_from_name: str | None = setting(
        None,
        clean=cleaners.name,
        section=Section.ADDRESSES,
        label=mark("Name of the default From"),
        help=mark(
            "Shown with that address when a message comes from no user, such as “Acme Support”. "
            "Leave it empty to show only the address."
        ),
        command="Shown with the default From.",
        allowed="a name; shown when From is the default From itself",
        unset="the name in `MAIL_DEFAULT_SENDER`, else none",
        mail_key="MAIL_DEFAULT_SENDER",
    )
    from_policy: FromPolicy = setting(
        FromPolicy.CURRENT_USER,
        section=Section.FROM,
        label=mark("Messages come from"),
        help=mark("Who is named as the author of a message."),
        choices={
            FromPolicy.CURRENT_USER: mark("the user who caused the message"),
            FromPolicy.DEFAULT_FROM: mark("always the default From address"),
        },
        command="Who is named as the author.",
    )
    returns_server: str | None = setting(
        None,
        clean=cleaners.server,
        section=Section.RETURNS,
        label=mark("IMAP server"),
        help=mark(
            "The server with the mailbox of the default From, in which reports about returned "
            "mail arrive. Empty: no mailbox is read."
        ),
        attributes={"placeholder": "imap.example.com"},
        command="Name or IP address of the IMAP server with returned mail.",
        allowed="a host name, a single label, an IPv4 or IPv6 address",
        unset="no mailbox is read",
    )
    returns_port: int = setting(
        993,
        clean=cleaners.port(
            993, mark("must be a whole number from 1 to 65535; usual are 993 and 143")
        ),
        section=Section.RETURNS,
        label=mark("Port of the IMAP server"),
        help=mark("993 with TLS, 143 with STARTTLS."),
        attributes={"inputmode": "numeric", "maxlength": "5"},
        command="Port of the IMAP server.",
        allowed="1 to 65535; empty means 993",
    )
    returns_encryption: Encryption = setting(
        Encryption.TLS,
        section=Section.RETURNS,
        label=mark("Encryption to the IMAP server"),
        help=mark("Once chosen, nothing less is accepted."),
        widget=Widget.SELECT,
        choices={
            Encryption.TLS: mark("TLS from the start"),
            Encryption.STARTTLS: mark("STARTTLS"),
            Encryption.NONE: mark("None: readable on its way"),
        },
        beside="returns_port",
        command="How the connection to the IMAP server is protected.",
    )
    returns_sign_in: ReturnsSignIn = setting(
        ReturnsSignIn.PASSWORD,
        section=Section.RETURNS,
        label=mark("Sign-in at the mailbox"),
        help=mark(
            "With OAuth 2, mail is read with the access token of the mail server “default”, for "
            "the mailbox that mail is sent from."
        ),
        widget=Widget.SELECT,
        choices={
            ReturnsSignIn.PASSWORD: mark("login and password"),
            ReturnsSignIn.RELAY: mark("OAuth 2, as at the mail server"),
        },
        command="How to log in at the mailbox with returned mail.",
        allowed="`relay` needs OAuth 2 at the relay `default`",
    )
    returns_login: str | None = setting(
        None,
        clean=cleaners.line,
        section=Section.RETURNS,
        label=mark("Login at the mailbox"),
        help=mark("Often the full e-mail address of the mailbox. Not needed with OAuth 2."),
        attributes={"autocomplete": "off"},
        command="Login name at the IMAP server.",
        allowed="one line of text; required with `password`",
    )
    returns_password: Secret | None = setting(
        None,
        clean=_password,
        section=Section.RETURNS,
        label=mark("Password of the mailbox"),
        help=mark("It is used only with this IMAP server and this login."),
        widget=Widget.PASSWORD,
        allowed="one line of text; required with `password`",
    )
    returns_folder: str = setting(
        "INBOX",
        clean=cleaners.folder("INBOX"),
        section=Section.RETURNS,
        label=mark("Folder with reports"),
        help=mark("INBOX, unless a rule in the mailbox puts reports elsewhere."),
        command="Folder of the mailbox that is read.",
        allowed="the name of a folder; empty means INBOX",
    )
    returns_moved_to: str | None = setting(
        "Returned",
        clean=cleaners.folder(""),
        section=Section.RETURNS,
        label=mark("Move noted reports to"),
        help=mark(
            "A folder of the mailbox; it is made if it is missing. Empty: reports stay where they "
            "are."
        ),
        beside="returns_folder",
        command="Folder to which reports are moved that were noted.",
        allowed="the name of a folder; empty: reports stay where they are",
    )
    returns_ca_certificate: str | None = setting(
        None,
        clean=cleaners.certificate,
        section=Section.RETURNS,
        label=mark("CA certificate of the IMAP server"),
        help=mark("Only for a server with a certificate of your own authority."),
        widget=Widget.AREA,
        attributes={"rows": "3", "spellcheck": "false"},
        command="Certificate of a private authority of the IMAP server: @FILE, or its PEM text.",
        allowed="PEM text of a private certificate authority, or of several",
    )
    alert_url: str | None = setting(
        None,
        clean=cleaners.web_address,
        section=Section.ALERTS,
        label=mark("Webhook for alerts"),
        help=mark(
            "A web address that is told when mail is in trouble and when that is over: of a chat, "
            "a pager or a monitor, which must not depend on this mail."
        ),
        attributes={"inputmode": "url", "placeholder": "https://"},
        key_in_path=True,
        command="URL that is told of alerts.",
        allowed="an `https` URL, or an `http` URL of this machine",
    )
    alert_secret: Secret | None = setting(
        None,
        clean=_webhook_secret,
        section=Section.ALERTS,
        label=mark("Secret of the webhook"),
        help=mark(
            "Signs what is sent there, so that the receiver can tell it from a forgery. "
            "It is used with this URL alone."
        ),
        widget=Widget.PASSWORD,
        allowed="one line of text; required with `alert_url`",
    )
    alert_waiting: int = setting(
        15,
        clean=cleaners.number(15, 10_080),
        section=Section.ALERTS,
        label=mark("Minutes that a message may wait"),
        help=mark("There is an alert if one waits longer than that. 0 means never."),
        attributes={"inputmode": "numeric", "maxlength": "6"},
        command="Minutes that a message may be overdue before there is an alert.",
        allowed="minutes, up to 10080; 0: no such alert",
    )
    alert_failures: int = setting(
        10,
        clean=cleaners.number(10, 100),
        section=Section.ALERTS,
        label=mark("Percent of failed messages"),
        help=mark(
            "There is an alert if so many of an hour's messages fail, or more. 0 means never."
        ),
        attributes={"inputmode": "numeric", "maxlength": "3"},
        command="Percent of an hour's messages that fail when there is an alert.",
        allowed="1 to 100 percent; 0: no such alert",
    )
    alert_failures_of: int = setting(
        20,
        clean=cleaners.number(20, 100_000),
        section=Section.ALERTS,
        label=mark("Of how many messages at least"),
        help=mark("With fewer in an hour there is no alert: their share says little."),
        attributes={"inputmode": "numeric", "maxlength": "6"},
        beside="alert_failures",
        command="Messages in an hour below which their share of failures is no alert.",
        allowed="a number of messages, up to 100000",
    )
    alert_expiry: int = setting(
        14,
        clean=cleaners.number(14, 365),
        section=Section.ALERTS,
        label=mark("Days before a certificate ends"),
        help=mark("There is an alert from then on, until it is renewed. 0 means never."),
        attributes={"inputmode": "numeric", "maxlength": "3"},
        command="Days before the end of a certificate when there is an alert.",
        allowed="days, up to 365; 0: no such alert",
    )
    probe_every: int = setting(
        15,
        clean=cleaners.number(15, 1_440),
        section=Section.ALERTS,
        label=mark("Minutes between two probes"),
        help=mark(
            "If no mail has gone for so long, this application connects to the mail server and "
            "logs in, without sending anything. 0 means never."
        ),
        attributes={"inputmode": "numeric", "maxlength": "4"},
        command="Minutes without mail after which the server is tried.",
        allowed="minutes, up to 1440; 0: no probes",
    )
    ca_certificate: str | None = setting(
        None,
        clean=cleaners.certificate,
        section=Section.ADVANCED,
        label=mark("CA certificate"),
        help=mark(
            "Only for a server with a certificate of your own authority: paste the authority's "
            "certificate, from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----."
        ),
        widget=Widget.AREA,
        attributes={"rows": "4", "spellcheck": "false"},
        command="Certificate of a private authority: @FILE, or its PEM text.",
        allowed="PEM text of a private certificate authority, or of several; "
        "only the certificates are kept",
        bound_to="ca_certificate",
        part=mark("CA certificate"),
        of_relay=True,
    )
    endpoint: str | None = setting(
        None,
        clean=_then(cleaners.web_address, amazon.endpoint),
        section=Section.ADVANCED,
        label=mark("Endpoint of Amazon SES"),
        help=mark(
            "Only for an endpoint of your own, such as one of AWS PrivateLink. Otherwise it "
            "follows from the region."
        ),
        attributes={"inputmode": "url", "placeholder": "https://"},
        command="URL of another endpoint of Amazon SES.",
        allowed="an `https` URL, or an `http` URL of this machine, without a path",
        unset="`https://email.REGION.amazonaws.com`",
        kinds=(SES,),
        of_relay=True,
    )
    allow_unencrypted_auth: bool = setting(
        False,
        section=Section.ADVANCED,
        label=mark("Allow authentication without encryption"),
        help=mark("Careful: without encryption, everybody on the way can read the password."),
        command="Log in even without encryption.",
        tested=True,
        kinds=(SMTP,),
        of_relay=True,
    )
    helo_name: str | None = setting(
        None,
        clean=cleaners.helo,
        section=Section.ADVANCED,
        label=mark("Name of this machine"),
        help=mark(
            "How this machine introduces itself to the server. Leave it empty unless the server "
            "complains about HELO or EHLO."
        ),
        command="How this machine introduces itself.",
        allowed="a host name",
        unset="this machine's full name, else the default From's domain",
        tested=True,
        kinds=(SMTP,),
        of_relay=True,
    )
    sender_name: str | None = setting(
        None,
        clean=cleaners.name,
        section=Section.ADVANCED,
        label=mark("Name of the sender"),
        help=mark("Follows “via” when a message is sent on behalf of a user."),
        command="Follows 'via' in From.",
        allowed='a name, for "Ada via …"',
        unset="the name of the Flask-Admin object",
        mail_key="MAIL_DEFAULT_SENDER",
    )
    own_domains: tuple[str, ...] = setting(
        (),
        clean=cleaners.domains,
        section=Section.ADVANCED,
        label=mark("Other domains of your own"),
        help=mark(
            "Further domains that your server may send for, separated by commas. "
            "The company domain and the default From's domain count anyway."
        ),
        widget=Widget.LIST,
        command="Further domains of your own, separated by commas.",
        allowed="domains, separated by spaces or commas",
        unset="none",
    )
    foreign_sender: ForeignSender = setting(
        ForeignSender.VIA,
        section=Section.ADVANCED,
        label=mark("Users with an address elsewhere"),
        help=mark("How to send for a user whose address is in none of your own domains."),
        choices={
            ForeignSender.VIA: mark("send via the default From address; answers go to the user"),
            ForeignSender.AS: mark("send as the user; the server must be allowed to do so"),
        },
        command="How users in other domains are named.",
    )
    on_ambiguous: OnAmbiguous = setting(
        OnAmbiguous.RETRY,
        section=Section.ADVANCED,
        label=mark("When nobody knows whether a message arrived"),
        help=mark(
            "What to do if the connection breaks after the whole message was handed over, "
            "but before the server confirmed it."
        ),
        choices={
            OnAmbiguous.RETRY: mark("send it again: twice is better than never"),
            OnAmbiguous.HOLD: mark("hold it until an administrator decides"),
        },
        command="What to do when the server's last answer is lost.",
    )
    ask_for_success: bool = setting(
        False,
        section=Section.ADVANCED,
        label=mark("Ask for reports of success"),
        help=mark(
            "Servers that can are asked to report when a message has arrived, too, and not only "
            "when it has not. Each report is a mail to the default From."
        ),
        command="Ask servers to report what has arrived, too.",
    )
    skip_dead_addresses: bool = setting(
        False,
        section=Section.ADVANCED,
        label=mark("Pass over addresses that do not exist any more"),
        help=mark(
            "A request for an address that servers report as dead goes to the next one who may "
            "act, or to the default To. The Coverage page shows these addresses."
        ),
        command="Send no request to an address that servers report as dead.",
    )
    divert_to: str | None = setting(
        None,
        clean=cleaners.email,
        section=Section.OPERATION,
        label=mark("Divert all mail to"),
        help=mark(
            "For trying things out: every message goes to this address instead of its recipients."
        ),
        command="Send everything there instead.",
        allowed="a full or short address; all mail goes there",
    )
    mail_header: str | None = setting(
        None,
        clean=cleaners.name,
        section=Section.LOOK,
        label=mark("Header of messages"),
        help=mark(
            "Stands at the top of each message, such as the name of your company. "
            "If it is empty, the name of the sender stands there."
        ),
        command="Stands at the top of each message with HTML.",
        allowed="one line of text",
        unset="the name of the sender",
    )
    mail_footer: str | None = setting(
        None,
        clean=cleaners.name,
        section=Section.LOOK,
        label=mark("Footer of messages"),
        help=mark(
            "Stands at the end of each message, such as the address of your company, or whom to "
            "ask."
        ),
        command="Stands at the end of each message.",
        allowed="one line of text",
    )
    mail_colour: str | None = setting(
        None,
        clean=cleaners.colour,
        section=Section.LOOK,
        label=mark("Colour of messages"),
        help=mark(
            "The colour of buttons, and of the line at the top: a # and six digits or letters "
            "from a to f."
        ),
        attributes={"placeholder": "#1f5fae"},
        command="Colour of buttons and of the line at the top.",
        allowed="`#` and six hexadecimal digits",
        unset="`#1f5fae`",
    )
    paused: bool = setting(
        False,
        section=Section.OPERATION,
        label=mark("Pause sending"),
        help=mark("Messages are kept, and are sent once you switch this off."),
        command="Keep messages, send none.",
        allowed="mail waits in the outbox",
    )

    from_domains: tuple[str, ...] = setting(
        (),
        clean=cleaners.domains,
        section=Section.RELAY,
        label=mark("Only for mail from"),
        help=mark(
            "Domains, separated by commas. Mail whose From is in another domain goes by another "
            "server, or waits. Empty: mail from all domains."
        ),
        widget=Widget.LIST,
        command="Domains of From that go by this relay, separated by commas.",
        allowed="domains, separated by spaces or commas",
        unset="all domains",
        of_relay=True,
    )
    max_connections: int = setting(
        0,
        clean=cleaners.number(0, 100),
        section=Section.RELAY,
        label=mark("Connections at a time"),
        help=mark("How many each worker may open at most. 0: as many as the server takes."),
        attributes={"inputmode": "numeric", "maxlength": "3"},
        command="Connections that each worker may open at a time.",
        allowed="1 to 100; 0: as `INTERACTION_MAIL_CONNECTIONS` says",
        of_relay=True,
    )
    max_messages_per_connection: int = setting(
        0,
        clean=cleaners.number(0, 100_000),
        section=Section.RELAY,
        label=mark("Messages in one connection"),
        help=mark("After so many it is closed, and another opened. 0: as the server takes them."),
        attributes={"inputmode": "numeric", "maxlength": "6"},
        beside="max_connections",
        command="Messages after which a connection is closed.",
        allowed="1 to 100000; 0: as the server takes them",
        of_relay=True,
    )
    max_per_minute: int = setting(
        0,
        clean=cleaners.number(0, 1_000_000),
        section=Section.RELAY,
        label=mark("Messages in a minute"),
        help=mark("What is more waits for the next minute. 0: no limit."),
        attributes={"inputmode": "numeric", "maxlength": "7"},
        command="Messages that all workers together may hand over in a minute.",
        allowed="1 to 1000000; 0: no limit",
        of_relay=True,
    )

    relays: tuple[str, ...] = (DEFAULT,)
    relay: str = DEFAULT
    others: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        _set = object.__setattr__
        # Secrets first: an error below may put this object into a log of local variables.
        for name in SECRETS:
            given: object = getattr(self, name)
            _set(self, name, (Secret(given) if isinstance(given, str) else given) or None)
        _set(self, "others", {relay: _shielded(own) for relay, own in self.others.items()})
        _set(self, "relays", tuple(self.relays))
        for name, words in _WORDS.items():
            _set(self, name, words(getattr(self, name)))
        for name in _TUPLES:
            _set(self, name, tuple(getattr(self, name)))

    def with_relay(self, name: str) -> MessagingSettings:
        """These settings with what the relay ``name`` has of its own in place of ``relay``'s.

        Raises:
            KeyError: there is no such relay.
        """
        if name == self.relay:
            return self
        others = {**self.others, self.relay: {n: getattr(self, n) for n in RELAY_SETTINGS}}
        return replace(self, **others.pop(name), relay=name, others=others)

    @property
    def without_secrets(self) -> MessagingSettings:
        """These settings as others may see them."""
        hidden: dict[str, Any] = dict.fromkeys(SECRETS)
        others = {
            relay: {name: None if name in SECRETS else value for name, value in own.items()}
            for relay, own in self.others.items()
        }
        return replace(self, **hidden, others=others)

    @property
    def configured(self) -> bool:
        """Whether a server and a default From are set; until then nothing is sent (R3)."""
        return bool(self.server and self.default_from)

    @property
    def server(self) -> str | None:
        """The name of the server that takes the mail, None if none is set."""
        return self.smtp_server if self.kind is SMTP else amazon.host(self.region, self.endpoint)

    @property
    def by_token(self) -> bool:
        """Whether the server is shown an access token, instead of a password."""
        return self._logs_in and self.sign_in in BY_TOKEN

    @property
    def by_password(self) -> bool:
        """Whether login and password are shown."""
        return self._logs_in and self.sign_in is SignIn.PASSWORD

    @property
    def _logs_in(self) -> bool:
        return self.use_authentication and self.kind is SMTP

    @property
    def mailbox(self) -> str | None:
        """The mailbox that a token is for, in full; None if there is none."""
        try:
            return addresses.complete(
                self.oauth_mailbox or self.default_from or "",
                company_domain=self.company_domain,
                own_domains=self.own_domains,
            )
        except AddressError:
            return None

    @property
    def token_url(self) -> str | None:
        """Where an application asks for tokens; a service account may know better."""
        if self.oauth_token_url or not self.oauth_tenant:
            return self.oauth_token_url
        return grant.MICROSOFT.format(tenant=self.oauth_tenant)

    @property
    def authorization_url(self) -> str | None:
        """Where the person who has the mailbox agrees."""
        if self.oauth_authorization_url or not self.oauth_tenant:
            return self.oauth_authorization_url
        return grant.MICROSOFT_CONSENT.format(tenant=self.oauth_tenant)

    @property
    def returns_by_token(self) -> bool:
        """Whether the IMAP server is shown the access token of the relay "default"."""
        return bool(self.returns_server) and self.returns_sign_in is ReturnsSignIn.RELAY

    @property
    def returns_destination(self) -> Destination:
        """What the secret of the mailbox must be bound to; without a login where a token is."""
        return Destination(
            server=self.returns_server,
            port=self.returns_port,
            encryption=self.returns_encryption,
            ca_certificate=self.returns_ca_certificate,
            login=None if self.returns_by_token else self.returns_login,
        )

    @property
    def destination(self) -> Destination:
        """What the password must be bound to."""
        parts: dict[str, Any] = {part: getattr(self, name) for name, part in BOUND_TO.items()}
        return Destination(**parts)


SETTINGS: Final[dict[str, Setting]] = {
    entry.name: entry.metadata["setting"]
    for entry in fields(MessagingSettings)
    if "setting" in entry.metadata
}
# What each relay has of its own.
RELAY_SETTINGS: Final = tuple(name for name, entry in SETTINGS.items() if entry.of_relay)
# What is stored encrypted, and shown nowhere.
SECRETS: Final = tuple(name for name, entry in SETTINGS.items() if entry.secret)
ADDRESSES: Final = tuple(name for name, entry in SETTINGS.items() if entry.clean is cleaners.email)
# What a password is bound to: field of the settings -> field of Destination.
BOUND_TO: Final = {name: entry.bound_to for name, entry in SETTINGS.items() if entry.bound_to}
_WORDS: Final = {name: entry.kind for name, entry in SETTINGS.items() if entry.choices}
_TUPLES: Final = tuple(name for name, entry in SETTINGS.items() if entry.kind is tuple)


def _shielded(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: Secret(value) if name in SECRETS and isinstance(value, str) else value
        for name, value in values.items()
    }


def _of_application(settings: MessagingSettings) -> str:
    return _with_server(settings, settings.token_url)


def _of_account(settings: MessagingSettings) -> str:
    # Without a URL it goes where its own JSON says, and nowhere else.
    return _with_server(settings, settings.oauth_token_url)


def _with_server(settings: MessagingSettings, token_url: str | None) -> str:
    servers = [replace(settings.destination, login=None), _also_shown(settings)]
    shown = [asdict(server) for server in servers if server]
    return json.dumps([token_url, *shown], sort_keys=True)


def _also_shown(settings: MessagingSettings) -> Destination | None:
    """The IMAP server, if the access token of this relay is shown there, too."""
    shown = settings.returns_by_token and settings.relay == DEFAULT
    return settings.returns_destination if shown else None


def _of_mailbox(settings: MessagingSettings) -> str:
    return json.dumps(["imap", asdict(settings.returns_destination)], sort_keys=True)


def _of_access_key(settings: MessagingSettings) -> str:
    where = [settings.region, settings.endpoint, settings.ca_certificate, settings.access_key]
    return json.dumps([SES, *where])


# The secrets but the password, and what each is bound to.
BINDINGS: Final[Mapping[str, Callable[[MessagingSettings], str | None]]] = {
    "alert_secret": lambda settings: settings.alert_url,
    "oauth_client_secret": _of_application,
    "oauth_certificate": _of_application,
    "oauth_service_account": _of_account,
    "secret_key": _of_access_key,
    "returns_password": _of_mailbox,
}
# Of these there is one: who enters it gives the other up.
EITHER: Final = {
    "oauth_client_secret": "oauth_certificate",
    "oauth_certificate": "oauth_client_secret",
}


def relay_of(settings: MessagingSettings, kind: str = SMTP) -> Relay:
    """The relay of ``settings``, unless the host has chosen a ``kind`` that stands in for it.

    What stands in is told nothing of the server, and no secret.
    """
    if kind != SMTP:
        return Relay(kind=kind)
    return replace(
        _amazon(settings) if settings.kind is SES else _server(settings),
        name=settings.relay,
        from_domains=settings.from_domains,
        max_connections=settings.max_connections or None,
        max_messages_per_connection=settings.max_messages_per_connection or None,
        max_per_minute=settings.max_per_minute or None,
    )


def _amazon(settings: MessagingSettings) -> Relay:
    return amazon.relay(
        settings.region,
        settings.endpoint,
        ca_certificate=settings.ca_certificate,
        access_key=settings.access_key,
        secret_key=settings.secret_key,
    )


def _server(settings: MessagingSettings) -> Relay:
    by_token = settings.by_token
    return Relay(
        server=settings.smtp_server,
        port=settings.smtp_port,
        encryption=settings.encryption,
        ca_certificate=settings.ca_certificate,
        use_authentication=settings.by_password or by_token,
        sign_in=settings.sign_in,
        grant=_grant(settings) if by_token else None,
        login=settings.mailbox if by_token else settings.login,
        secret=None if by_token else settings.password,
        allow_unencrypted_auth=settings.allow_unencrypted_auth,
        helo=settings.helo_name,
        domain=_own_domain(settings),
        ask_for_success=settings.ask_for_success,
    )


def relays_of(settings: MessagingSettings, kind: str = SMTP) -> tuple[Relay, ...]:
    """The relays of ``settings`` in their order, at least one; ``kind`` as in ``relay_of``.

    One that stands in does so for all of them. A relay without a server is left out, unless it
    is the only one.
    """
    if kind != SMTP:
        return (relay_of(settings, kind),)
    relays = [relay_of(settings.with_relay(name)) for name in settings.relays]
    return tuple(relay for relay in relays if relay.server) or (relay_of(settings),)


def mailbox_of(settings: MessagingSettings) -> Mailbox | None:
    """The mailbox with returned mail of ``settings``; None if there is none."""
    settings = settings.with_relay(DEFAULT)
    if not settings.returns_server:
        return None
    relay = relay_of(settings) if settings.returns_by_token else None
    return Mailbox(
        server=settings.returns_server,
        port=settings.returns_port,
        encryption=settings.returns_encryption,
        ca_certificate=settings.returns_ca_certificate,
        login=relay.login if relay else settings.returns_login,
        secret=None if relay else settings.returns_password,
        relay=relay,
        folder=settings.returns_folder,
        moved_to=settings.returns_moved_to,
        allow_unencrypted_auth=settings.allow_unencrypted_auth,
    )


def _grant(settings: MessagingSettings) -> Grant | None:
    """How to ask for a token; None where the application brings it."""
    account = settings.oauth_service_account
    shown = _also_shown(settings)
    also = json.dumps(asdict(shown), sort_keys=True) if shown else None
    match settings.sign_in:
        case SignIn.OAUTH_APPLICATION:
            usual = grant.MICROSOFT_SCOPE if settings.oauth_tenant else None
            return Grant(
                token_url=settings.token_url,
                client_id=settings.oauth_client_id,
                client_secret=settings.oauth_client_secret,
                certificate=settings.oauth_certificate,
                scope=settings.oauth_scope or usual,
                ca_certificate=settings.ca_certificate,
                also=also,
            )
        case SignIn.OAUTH_SERVICE_ACCOUNT:
            own = grant.account_in(account)["token_uri"] if account else None
            return Grant(
                token_url=settings.oauth_token_url or own,
                account=account,
                mailbox=settings.mailbox,
                scope=settings.oauth_scope or grant.GOOGLE_SCOPE,
                ca_certificate=settings.ca_certificate,
                also=also,
            )
        case SignIn.OAUTH_MAILBOX:
            return Grant(
                token_url=settings.token_url,
                authorization_url=settings.authorization_url,
                client_id=settings.oauth_client_id,
                client_secret=settings.oauth_client_secret,
                mailbox=settings.mailbox,
                scope=settings.oauth_scope or _consent_scope(settings, reads=also is not None),
                ca_certificate=settings.ca_certificate,
                also=also,
            )
    return None


def _consent_scope(settings: MessagingSettings, *, reads: bool) -> str | None:
    """What a person agrees to; ``reads`` is whether the mailbox is read as well."""
    if settings.token_url == grant.GOOGLE:
        return grant.GOOGLE_CONSENT_SCOPE
    if not settings.oauth_tenant:
        return None
    own = grant.MICROSOFT_CONSENT_SCOPE
    return f"{grant.MICROSOFT_READ_SCOPE} {own}" if reads else own


def _own_domain(settings: MessagingSettings) -> str | None:
    local, at, domain = (settings.default_from or "").rpartition("@")
    return domain if at and local else settings.company_domain
