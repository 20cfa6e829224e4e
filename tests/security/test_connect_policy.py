"""Where a connection is made to, by delivery, Test Settings and ``test`` alike (T2).

``FIM_LONG=1`` tries each forbidden address in all three ways instead of one of them in turn.
"""

from __future__ import annotations

import itertools
import json
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from flask_interaction_mail import clock, send_notification
from flask_interaction_mail.models import SettingsRow
from tests.host import ADA, SETTINGS
from tests.length import LONG
from tests.panel import TEST, Panel, opened_panel
from tests.proofs import proved
from tests.servers.scripted import scripted
from tests.terminal import run

REAL = socket.getaddrinfo
METADATA = "169.254.169.254"
# Names, and what the name service answers: one answer after the other, the last one for ever.
NAMES: dict[str, list[list[str]]] = {
    "metadata.google.internal": [[METADATA]],
    "instance-data": [[METADATA]],
    "169.254.169.254.nip.example": [[METADATA]],
    "xn--mtadata-bya.example": [[METADATA]],
    "mapped.example": [["::ffff:169.254.169.254"]],
    "translated.example": [["64:ff9b::a9fe:a9fe"]],
    "tunnelled.example": [["2002:a9fe:a9fe::1"]],
    "everywhere.example": [["0.0.0.0", "::", "fe80::1"]],
    "alias.example": [[METADATA]],  # as another name of metadata.google.internal: a CNAME
    "localhost": [["127.0.0.1"]],
    "relay.example": [["10.0.0.5"]],
    "two-faced.example": [[METADATA, "10.0.0.5", "fe80::1"]],
    "rebinding.example": [["10.0.0.5"], [METADATA]],
    "late.example": [[METADATA], ["10.0.0.5"]],
}
FORBIDDEN = (
    # the metadata service of most clouds
    METADATA,
    "[169.254.169.254]",
    "169.254.169.254.",
    "169.254.43518",
    "169.16689662",
    "2852039166",
    "0xa9fea9fe",
    "0xA9FEA9FE",
    "0xa9.0xfe.0xa9.0xfe",
    "0251.0376.0251.0376",
    "025177524776",
    "0251.254.0xa9.254",
    "00000251.00000376.169.254",
    "169。254。169。254",
    "１６９.２５４.１６９.２５４",
    "①⑥⑨.②⑤④.①⑥⑨.②⑤④",
    "::ffff:169.254.169.254",
    "[::ffff:169.254.169.254]",
    "::ffff:a9fe:a9fe",
    "0:0:0:0:0:ffff:a9fe:a9fe",
    "::169.254.169.254",
    "::ffff:0:169.254.169.254",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::a9fe:a9fe",
    "2002:a9fe:a9fe::",
    "2001:0:a9fe:a9fe::1",
    "fd00:ec2::254",
    "fd00:c1::a9fe:a9fe",
    "fd20:ce::254",
    "100.100.100.200",
    "192.0.0.192",
    "168.63.129.16",
    # this host and network, all hosts, everybody
    "0",
    "0.0.0.0",
    "0.0.0.1",
    "000.0.0.0",
    "0x0",
    "::",
    "[::]",
    "::ffff:0.0.0.0",
    "255.255.255.255",
    "4294967295",
    "240.0.0.1",
    "224.0.0.1",
    "ff02::1",
    # link-local and site-local
    "169.254.1.1",
    "fe80::1",
    "fe80::1%1",
    "fe80::1%lo",
    "[fe80::1%25lo]",
    "FE80:0::0001",
    "fec0::1",
    # names
    "metadata.google.internal",
    "METADATA.google.internal.",
    "instance-data",
    "169.254.169.254.nip.example",
    "métadata.example",
    "mapped.example",
    "translated.example",
    "tunnelled.example",
    "everywhere.example",
    "alias.example",
    "late.example",
)
ALLOWED = {
    "127.0.0.1": "127.0.0.1",
    "::1": "::1",
    "localhost": "127.0.0.1",
    "10.1.2.3": "10.1.2.3",
    "172.16.0.1": "172.16.0.1",
    "192.168.1.1": "192.168.1.1",
    "100.64.0.1": "100.64.0.1",
    "fd12:3456::1": "fd12:3456::1",
    "192.0.2.25": "192.0.2.25",
    "[2001:db8::25]": "2001:db8::25",
    "relay.example": "10.0.0.5",
    "two-faced.example": "10.0.0.5",  # what is forbidden is left out
    "rebinding.example": "10.0.0.5",  # the address that was checked
}


@dataclass
class Network:
    """Who was asked for a name, and where connections were tried; nobody is there."""

    asked: list[str] = field(default_factory=list)
    connected: list[tuple[str, int]] = field(default_factory=list)

    def getaddrinfo(self, host: str, port: int, **options: Any) -> Any:
        if options.get("flags", 0) & socket.AI_NUMERICHOST or host not in NAMES:
            return REAL(host, port, **options | {"flags": socket.AI_NUMERICHOST})
        answers = NAMES[host]
        answer = answers[min(self.asked.count(host), len(answers) - 1)]
        self.asked.append(host)
        return [
            found
            for address in answer
            for found in REAL(address, port, **options | {"flags": socket.AI_NUMERICHOST})
        ]

    def connect(self, connecting: socket.socket, address: Any) -> None:
        self.connected.append(address[:2])
        raise ConnectionRefusedError


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    """The two seams: questions to the name service, and connections."""
    network = Network()
    monkeypatch.setattr(socket, "getaddrinfo", network.getaddrinfo)
    monkeypatch.setattr(socket.socket, "connect", lambda one, to: network.connect(one, to))
    return network


@pytest.fixture
def panel(tmp_path: Path) -> Iterator[Panel]:
    with opened_panel(tmp_path, MAIL_SUPPRESS_SEND=False) as opened:
        yield opened


@pytest.fixture(scope="module")
def tally() -> Iterator[dict[str, int]]:
    """What came of it, for the record."""
    counts = {"forbidden": 0, "connected there": 0, "allowed": 0, "reached": 0}
    yield counts
    for name, number in counts.items():
        proved("T2", "{} times " + name, number)


def in_the_panel(panel: Panel, server: str, port: int) -> None:
    """Press Test Settings with the server typed into the form."""
    panel.post(TEST, **SETTINGS | {"smtp_server": server, "smtp_port": str(port)})


def in_the_terminal(panel: Panel, server: str, port: int) -> None:
    """Give the command ``test`` with the server as an option."""
    panel.host.configure()
    run(panel.host, "test", "--smtp-server", server, "--smtp-port", str(port))


def by_delivery(panel: Panel, server: str, port: int) -> None:
    """Deliver a message by settings that somebody has put into the database by hand."""
    fields = json.dumps(SETTINGS | {"smtp_server": server, "smtp_port": port})
    with panel.host.app.app_context():
        with panel.host.state.database.writing() as connection:
            connection.execute(
                sa.insert(SettingsRow).values(
                    revision=1, created_at=clock.now(), created_by="?", fields=fields
                )
            )
        send_notification(ADA, "Hello", text="x")
        panel.host.db.session.commit()
    run(panel.host, "worker", "--once")


WAYS = (in_the_panel, in_the_terminal, by_delivery)
Way = Callable[[Panel, str, int], None]
ASKED = itertools.product(FORBIDDEN, WAYS) if LONG else zip(FORBIDDEN, itertools.cycle(WAYS))


@pytest.mark.parametrize(("server", "way"), list(ASKED))
def test_nobody_connects_there(
    panel: Panel, network: Network, tally: dict[str, int], server: str, way: Way
) -> None:
    """However it is spelled, and whoever asks."""
    way(panel, server, 25)
    tally["forbidden"] += 1
    tally["connected there"] += len(network.connected)
    assert network.connected == []
    assert [row.status for row in panel.host.rows() if row.status == "sent"] == []


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("server", ALLOWED)
def test_relays_are_connected_to(
    panel: Panel, network: Network, tally: dict[str, int], server: str, way: Way
) -> None:
    """Loopback, private networks and the world, at any port; only where it is allowed."""
    way(panel, server, 2525)
    tally["allowed"] += 1
    tally["reached"] += bool(network.connected)
    assert set(network.connected) == {(ALLOWED[server], 2525)}


DENIED = {
    "the network": {"INTERACTION_MAIL_DENY_NETWORKS": ("127.0.0.0/8",)},
    "one address": {"INTERACTION_MAIL_DENY_NETWORKS": "127.0.0.1, 10.0.0.0/8"},
    "the port": {"INTERACTION_MAIL_DENY_PORTS": "the server's"},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("denied", DENIED)
def test_an_installation_may_deny_more(tmp_path: Path, denied: str, way: Way) -> None:
    """A listening server sees nobody; without the list, the same way leads to it."""
    with scripted() as server:
        config = {
            key: [server.port] if value == "the server's" else value
            for key, value in DENIED[denied].items()
        }
        with opened_panel(tmp_path, MAIL_SUPPRESS_SEND=False, **config) as panel:
            way(panel, "127.0.0.1", server.port)
        assert server.connections == 0


@pytest.mark.parametrize("way", WAYS)
def test_every_way_leads_to_the_server(panel: Panel, way: Way) -> None:
    """Without such a list each of them makes a connection: the tests above test something."""
    with scripted() as server:
        way(panel, "127.0.0.1", server.port)
        assert server.connections == 1


@pytest.mark.parametrize(
    "spelled", ["10.0.0.5", "::ffff:10.0.0.5", "64:ff9b::a00:5", "2002:a00:5::"]
)
@pytest.mark.parametrize("way", WAYS)
def test_a_denied_network_is_denied_in_every_spelling(
    tmp_path: Path, network: Network, spelled: str, way: Way
) -> None:
    """Also where IPv6 stands for it."""
    denied = {"INTERACTION_MAIL_DENY_NETWORKS": ["10.0.0.0/8"]}
    with opened_panel(tmp_path, MAIL_SUPPRESS_SEND=False, **denied) as panel:
        way(panel, spelled, 25)
    assert network.connected == []


def test_the_administrator_reads_why(tmp_path: Path) -> None:
    """The result names the server, says that it is forbidden, and whom to ask."""
    denied = {"INTERACTION_MAIL_DENY_PORTS": [2525]}
    with opened_panel(tmp_path, MAIL_SUPPRESS_SEND=False, **denied) as panel:
        typed = SETTINGS | {"smtp_server": "127.0.0.1", "smtp_port": "2525"}
        page = panel.post(TEST, **typed).text
    assert "This address is not allowed" in page
    assert "which networks and ports are forbidden" in page
