"""Where mail is handed over, as one value: all that a transport has to know, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from ..config import TransportKind
from ..settings.model import Destination, Encryption, MessagingSettings, Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Relay:
    """What takes our mail; ``kind`` is how to speak with it, and decides the transport.

    ``secret`` belongs to ``login``, and both are used only with ``use_authentication``. ``helo``
    is the name to say in EHLO; without one this machine's own is said, and ``domain`` where it
    has none.
    """

    kind: TransportKind = TransportKind.SMTP
    server: str | None = None
    port: int = 25
    encryption: Encryption = Encryption.STARTTLS
    ca_certificate: str | None = None
    use_authentication: bool = False
    login: str | None = None
    secret: Secret | None = None
    allow_unencrypted_auth: bool = False
    helo: str | None = None
    domain: str | None = None

    def __str__(self) -> str:
        return self.kind.value if self.server is None else f"{self.server}:{self.port}"

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


def relay_of(settings: MessagingSettings, transport: TransportKind = TransportKind.SMTP) -> Relay:
    """The relay of ``settings``, unless the host has chosen a ``transport`` that stands in for it.

    What stands in is told nothing of the server, and no secret.
    """
    if transport.stands_in:
        return Relay(kind=transport)
    return Relay(
        server=settings.smtp_server,
        port=settings.smtp_port,
        encryption=settings.encryption,
        ca_certificate=settings.ca_certificate,
        use_authentication=settings.use_authentication,
        login=settings.login,
        secret=settings.password,
        allow_unencrypted_auth=settings.allow_unencrypted_auth,
        helo=settings.helo_name,
        domain=_own_domain(settings),
    )


def _own_domain(settings: MessagingSettings) -> str | None:
    local, at, domain = (settings.default_from or "").rpartition("@")
    return domain if at and local else settings.company_domain
