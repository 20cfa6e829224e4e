"""The settings of the panel, as one value.

What they may be is in ``fields`` and ``rules``, where they come from in ``layers``.
"""

from __future__ import annotations

import enum
import hmac
from dataclasses import dataclass, fields
from typing import Final, NoReturn

from .certificates import canonical


class Encryption(enum.StrEnum):
    """How the connection is protected; once chosen, nothing less is accepted."""

    STARTTLS = "starttls"  # plain at first, encrypted before anything of worth (RFC 3207)
    TLS = "tls"  # encrypted from the first byte (RFC 8314 §3.3)
    NONE = "none"  # readable by everybody on the way


class FromPolicy(enum.StrEnum):
    """Whose address stands in From (R36)."""

    CURRENT_USER = "current_user"  # the user who caused the message, if one has an address
    DEFAULT_FROM = "default_from"  # always default From


class ForeignSender(enum.StrEnum):
    """What happens to a user whose address is in none of the own domains."""

    VIA = "via"  # "User via Company" <default From>, answers go to the user
    AS = "as"  # "User" <user>; passes DMARC only where the relay signs for that domain


class OnAmbiguous(enum.StrEnum):
    """What happens when the link dies after the final dot (RFC 1047)."""

    RETRY = "retry"  # sent again: rather twice than never
    HOLD = "hold"  # an administrator decides


class Origin(enum.StrEnum):
    """Where the value of a setting that is in force comes from, strongest first."""

    OVERRIDE = "override"  # INTERACTION_MAIL_OVERRIDES of this process
    STORED = "stored"  # saved in the panel or on the command line
    CONFIG = "config"  # the host's own MAIL_* keys
    DEFAULT = "default"  # nobody set it


class PasswordState(enum.StrEnum):
    """Whether there is a password, and whether it may be used where the mail goes now."""

    NONE = "none"  # no layer has one
    USABLE = "usable"  # set for exactly the connection that is in force
    UNBOUND = "unbound"  # set for another connection: never sent to this one
    UNREADABLE = "unreadable"  # encrypted under a key that is not configured


class Secret:
    """A text that shows itself to nobody who does not ask with ``reveal()``.

    Two are equal when their texts are. It cannot be pickled, and a copy of it is itself.
    """

    __slots__ = ("__text",)

    def __init__(self, text: str) -> None:
        self.__text = text

    def reveal(self) -> str:
        """The text itself; keep it out of variables that outlive the line."""
        return self.__text

    def __repr__(self) -> str:
        return "********"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        ours, theirs = (one.__text.encode("utf-8", "surrogatepass") for one in (self, other))
        return hmac.compare_digest(ours, theirs)

    def __hash__(self) -> int:
        return hash((Secret, self.__text))

    def __bool__(self) -> bool:
        return bool(self.__text)

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: object) -> Secret:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a Secret cannot be pickled")


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """What a password is bound to: where it may go, how protected, and for whom.

    ``server`` is in lower case without a trailing dot, ``ca_certificate`` has nothing but its
    certificates, so that two spellings of one place are equal.
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
        _set(self, "ca_certificate", canonical(self.ca_certificate or "") or None)
        _set(self, "login", self.login or None)


@dataclass(frozen=True, slots=True, kw_only=True)
class MessagingSettings:
    """All settings, in the order of the panel (R46); *Advanced* begins at ``ca_certificate``.

    Addresses are full, or the part before ``@`` alone. ``password`` is None unless it may be
    used with exactly this connection. Values are taken as they are: ``fields.clean``
    is what checks a text that somebody typed.

    Raises:
        ValueError: ``encryption`` or a policy is none of its words.
    """

    company_domain: str | None = None
    smtp_server: str | None = None
    smtp_port: int = 25
    encryption: Encryption = Encryption.STARTTLS
    use_authentication: bool = False
    login: str | None = None
    password: Secret | None = None
    default_to: str | None = None
    default_from: str | None = None
    default_from_name: str | None = None  # shown where the default From stands alone in From
    from_policy: FromPolicy = FromPolicy.CURRENT_USER
    ca_certificate: str | None = None  # PEM text of a private CA
    allow_unencrypted_auth: bool = False
    helo_name: str | None = None
    sender_name: str | None = None  # "via …" in From
    own_domains: tuple[str, ...] = ()
    foreign_sender: ForeignSender = ForeignSender.VIA
    on_ambiguous: OnAmbiguous = OnAmbiguous.RETRY
    divert_to: str | None = None  # all mail goes there
    paused: bool = False

    def __post_init__(self) -> None:
        _set = object.__setattr__
        # The password first: an error below shows this object to whoever logs local variables.
        given: object = self.password
        _set(self, "password", (Secret(given) if isinstance(given, str) else given) or None)
        for name, words in ENUMS.items():
            _set(self, name, words(getattr(self, name)))
        _set(self, "own_domains", tuple(self.own_domains))

    @property
    def configured(self) -> bool:
        """True when a server and a default From are there; before that nothing is sent (R3)."""
        return bool(self.smtp_server and self.default_from)

    @property
    def destination(self) -> Destination:
        """What the password has to be bound to."""
        return Destination(
            server=self.smtp_server,
            port=self.smtp_port,
            encryption=self.encryption,
            ca_certificate=self.ca_certificate,
            login=self.login,
        )


ENUMS: Final[dict[str, type[enum.StrEnum]]] = {
    "encryption": Encryption,
    "from_policy": FromPolicy,
    "foreign_sender": ForeignSender,
    "on_ambiguous": OnAmbiguous,
}
FIELDS: Final = tuple(field.name for field in fields(MessagingSettings))
BOOLEANS: Final = ("use_authentication", "allow_unencrypted_auth", "paused")
ADDRESSES: Final = ("default_to", "default_from", "divert_to")
# What a password is bound to: field of the settings -> field of Destination.
BOUND_TO: Final = {
    "smtp_server": "server",
    "smtp_port": "port",
    "encryption": "encryption",
    "ca_certificate": "ca_certificate",
    "login": "login",
}
CONNECTION_GROUP: Final = (*BOUND_TO, "password")
