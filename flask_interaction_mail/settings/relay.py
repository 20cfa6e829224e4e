"""Where mail is handed over, and what a password is bound to."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from .certificates import canonical_pem
from .grant import Grant
from .secret import Secret


class RelayKind(enum.StrEnum):
    """How mail is handed over."""

    SMTP = "smtp"  # to a mail server
    SES = "ses"  # to Amazon SES over HTTPS


SMTP: Final = RelayKind.SMTP
SES: Final = RelayKind.SES
OWN: Final = "own"  # the kind of what the application hands mail over to itself
DEFAULT: Final = "default"  # the name of the relay that is always there


class Encryption(enum.StrEnum):
    """How the connection is protected; a server that offers less is not used."""

    STARTTLS = "starttls"  # begins in plain text, encrypted before anything confidential (RFC 3207)
    TLS = "tls"  # encrypted from the first byte (RFC 8314 §3.3)
    NONE = "none"  # readable by everybody on the way


class SignIn(enum.StrEnum):
    """How to log in, where that is done at all."""

    NONE = "none"  # not: the same as to switch authentication off
    PASSWORD = "password"  # noqa: S105 - a word of the settings
    OAUTH_APPLICATION = "oauth_application"  # a client with a secret or a certificate
    OAUTH_SERVICE_ACCOUNT = "oauth_service_account"  # Google's, which acts for a mailbox
    OAUTH_MAILBOX = "oauth_mailbox"  # a person who has the mailbox has agreed
    HOST = "host"  # the application brings the access token


APPLICATION: Final = SignIn.OAUTH_APPLICATION
ACCOUNT: Final = SignIn.OAUTH_SERVICE_ACCOUNT
MAILBOX: Final = SignIn.OAUTH_MAILBOX
BY_TOKEN: Final = (APPLICATION, ACCOUNT, MAILBOX, SignIn.HOST)


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """What a password is bound to: the server, its protection and the login.

    Two spellings of one destination are equal: ``server`` is in lower case without a trailing
    dot, and ``ca_certificate`` is canonical PEM.
    """

    server: str | None = None
    port: int = 25
    encryption: Encryption = Encryption.STARTTLS
    ca_certificate: str | None = None
    login: str | None = None

    def __post_init__(self) -> None:
        _set = object.__setattr__
        _set(self, "server", (self.server or "").lower().rstrip(".") or None)
        _set(self, "encryption", Encryption(self.encryption))
        _set(self, "ca_certificate", canonical_pem(self.ca_certificate or "") or None)
        _set(self, "login", self.login or None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Relay:
    """What takes our mail: all that a transport has to know, and nothing else.

    ``kind`` is how to speak with it, and decides the transport.
    ``secret`` belongs to ``login``, and both are used only with ``use_authentication``. Where
    ``sign_in`` is by token, ``login`` is the mailbox, and there is no ``secret``;
    ``grant`` is how to ask for a token, None where the application brings one. ``helo``
    is the name to say in EHLO; without one this machine's own is said, and ``domain`` where it
    has none. Of Amazon SES, ``login`` is the ID of an access key and ``secret`` its secret, both
    None for the credentials of the machine; ``region`` is where requests are signed for.

    ``from_domains``, as A-labels, are the domains of From that it may carry, () for all. It takes
    at most ``max_connections`` at a time from each worker, ``max_messages_per_connection``, and
    ``max_per_minute`` messages from all workers together; None is no limit of ours. With
    ``ask_for_success`` it is asked to report what arrived, too.
    """

    name: str = DEFAULT
    kind: str = SMTP
    server: str | None = None
    port: int = 25
    encryption: Encryption = Encryption.STARTTLS
    ca_certificate: str | None = None
    use_authentication: bool = False
    sign_in: SignIn = SignIn.PASSWORD
    grant: Grant | None = None
    login: str | None = None
    secret: Secret | None = None
    allow_unencrypted_auth: bool = False
    helo: str | None = None
    domain: str | None = None
    region: str | None = None
    from_domains: tuple[str, ...] = ()
    max_connections: int | None = None
    max_messages_per_connection: int | None = None
    max_per_minute: int | None = None
    ask_for_success: bool = False

    @property
    def stands_in(self) -> bool:
        """Whether no server is asked: the host has put something in the place of all of them."""
        return self.kind not in (SMTP, SES)

    @property
    def stays_here(self) -> bool:
        """Whether mail stays on this machine, and nobody gets it."""
        return self.stands_in and self.kind != OWN

    @property
    def url(self) -> str:
        """Where requests go, of a relay that is spoken to by HTTP."""
        scheme = "http" if self.encryption is Encryption.NONE else "https"
        return f"{scheme}://{self.server}:{self.port}"

    @property
    def by_password(self) -> bool:
        """Whether it is a mail server that is logged in at with a password."""
        return self.kind == SMTP and self.use_authentication and bool(self.secret)

    @property
    def by_token(self) -> bool:
        """Whether it is logged in at with an access token, instead of a password."""
        return self.use_authentication and self.sign_in in BY_TOKEN

    @property
    def by_consent(self) -> bool:
        """Whether a person has to agree before there is an access token."""
        return self.use_authentication and self.sign_in is MAILBOX

    def is_not_for(self, account: str | None) -> bool:
        """Whether ``account``, if one is named, is another one than the mailbox."""
        return (account or "").casefold() not in ("", (self.login or "").casefold())

    def __str__(self) -> str:
        return self.kind if self.server is None else f"{self.server}:{self.port}"

    @property
    def destination(self) -> Destination:
        """What the secret is bound to."""
        return Destination(
            server=self.server,
            port=self.port,
            encryption=self.encryption,
            ca_certificate=self.ca_certificate,
            login=self.login,
        )
