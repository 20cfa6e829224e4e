"""The relay: what a transport is told, and what is remembered under its name."""

from __future__ import annotations

import dataclasses
import uuid

import pytest

from flask_interaction_mail.config import TransportKind
from flask_interaction_mail.outbox import breaker, server_limits
from flask_interaction_mail.settings.model import MessagingSettings, relay_of
from flask_interaction_mail.settings.relay import Encryption, Relay, RelayKind
from flask_interaction_mail.transport import registry
from flask_interaction_mail.transport.memory import MemoryTransport
from flask_interaction_mail.transport.registry import Transports
from flask_interaction_mail.transport.smtp.transport import SmtpTransport
from tests.canary import PASSWORD

SETTINGS = MessagingSettings(
    company_domain="firm.example",
    smtp_server="Mail.Firm.example",
    smtp_port=587,
    default_from="crm@firm.example",
    use_authentication=True,
    login="crm",
    password=PASSWORD,
    helo_name="crm.firm.example",
    divert_to="trap@firm.example",
)


def test_it_knows_the_connection_and_nothing_else() -> None:
    """No address, no policy of the messages."""
    relay = relay_of(SETTINGS)
    assert relay == Relay(
        kind=TransportKind.SMTP,
        server="Mail.Firm.example",
        port=587,
        encryption=Encryption.STARTTLS,
        use_authentication=True,
        login="crm",
        secret=SETTINGS.password,
        helo="crm.firm.example",
        domain="firm.example",
    )
    assert relay == relay_of(dataclasses.replace(SETTINGS, divert_to=None, default_to="desk"))
    assert relay.destination == SETTINGS.destination


def test_it_shows_no_secret_and_cannot_be_changed() -> None:
    """Whoever logs it, or looks at local variables."""
    relay = relay_of(SETTINGS)
    assert PASSWORD not in f"{relay!r} {relay}"
    with pytest.raises(dataclasses.FrozenInstanceError):
        relay.server = "elsewhere.example"  # type: ignore[misc]


def test_what_stands_in_is_told_nothing() -> None:
    """Neither the server nor the secret leaves the settings."""
    relay = relay_of(SETTINGS, TransportKind.MEMORY)
    assert relay == Relay(kind=TransportKind.MEMORY)
    assert str(relay) == "memory"


@pytest.mark.parametrize(
    ("changes", "rows"),
    [
        (
            {},
            (
                "18528f93-bac3-5412-9cdb-3eb380c1669a",
                "3f055acb-581b-56db-8327-7904790bf972",
                "0ba65440-8d01-56f1-9c2a-02f3be7143a2",
            ),
        ),
        (
            {
                "smtp_server": "127.0.0.1",
                "smtp_port": 25,
                "encryption": "none",
                "use_authentication": False,
                "login": "unused",
                "password": None,
                "helo_name": None,
            },
            (
                "9d262bf9-1bd4-5b11-8be9-5974e26cd9b2",
                "377a50af-b3d7-5c65-af3e-1ba362e16b54",
                "d6622434-54fb-5c68-83b8-87fec5a7d22b",
            ),
        ),
    ],
    ids=["with a login", "without"],
)
def test_workers_of_the_version_before_look_at_the_same_rows(
    changes: dict[str, object], rows: tuple[str, ...]
) -> None:
    """Breaker and limits of a server are found again after an update."""
    relay = relay_of(dataclasses.replace(SETTINGS, **changes))  # type: ignore[arg-type]
    limits = (server_limits.RECIPIENTS, server_limits.CONNECTIONS)
    found = (breaker._row(relay), *(one.row(relay) for one in limits))
    assert found == tuple(map(uuid.UUID, rows))


def test_what_stands_in_shares_nothing_with_a_server() -> None:
    """Its trouble stops no other process, and its success hides no trouble."""
    memory, nowhere = Relay(kind=TransportKind.MEMORY), Relay()
    assert breaker._row(memory) != breaker._row(nowhere)
    for limit in (server_limits.RECIPIENTS, server_limits.CONNECTIONS):
        assert limit.row(memory) != limit.row(nowhere)


def test_the_kind_decides_about_the_transport() -> None:
    """A new one for each connection to a server; in memory always the one of the application."""
    memory = MemoryTransport()
    transports = Transports(stand_in=memory)
    first, second = transports.open(relay_of(SETTINGS)), transports.open(relay_of(SETTINGS))
    assert isinstance(first, SmtpTransport)
    assert first is not second
    assert transports.open(Relay(kind=TransportKind.MEMORY)) is memory


def test_there_is_a_transport_for_every_kind() -> None:
    """What can be configured can be opened."""
    assert set(registry._OPENED) == {*RelayKind, *TransportKind}
